"""Whether patients who are kept back at a site without a calibration split have helped to choose the model."""

from __future__ import annotations

from ra_core.artifact import Card

__all__ = ["helped"]

_NO_SPLIT = "the site has no images of the split calibration: about every second patient of val was kept back for it"


def helped(card: Card, site: str) -> tuple[bool, str]:
    """Whether they have, as far as the card tells; and what a person should know of it.

    Args:
        card: of the model.
        site: without images of the split calibration.
    """
    if site not in card.sites:
        return False, f"{_NO_SPLIT}; the model's weights were chosen without this site"
    if card.calibration:
        return False, f"{_NO_SPLIT}; the same draw kept them out of the model's training"
    lack = "they helped to choose the model's weights, so that nothing is promised"
    return True, f"{_NO_SPLIT}; {lack}: give patients that split before a model is trained here"
