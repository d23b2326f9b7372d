"""What each metric means, in one line for people."""

from ra_core.glossary import METRICS as TERMS

__all__ = ["METRICS"]

METRICS = {name: (term.title, term.meaning) for name, term in TERMS.items()}
"""Title and meaning by name; the order of the page."""
