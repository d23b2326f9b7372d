"""Public sets as their authors give them: from each layout to a manifest beside the data; no pixel is copied."""

from simulation.importers.public_sets import PUBLIC_SETS

__all__ = ["PUBLIC_SETS"]
