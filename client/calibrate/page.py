"""`calibration.html`: the card of a calibration, one page that needs no other file."""

from __future__ import annotations

from client.calibrate.outcome import NOTHING_SENT, WHAT, Outcome
from client.calibrate.picture import draw
from ra_core.pages import page_bytes, page_environment

__all__ = ["render_page"]


def render_page(outcome: Outcome) -> bytes:
    """The page. It holds numbers of the site's healthy patients, and no image and no name of a patient or file."""
    template = page_environment("client.calibrate").get_template("calibration.html.j2")
    return page_bytes(template.render(outcome=outcome, what=WHAT, picture=draw(outcome), nothing_sent=NOTHING_SENT))
