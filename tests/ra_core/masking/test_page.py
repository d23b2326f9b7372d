"""docs/secure_aggregation.md names every message with all its fields."""

import re
from pathlib import Path

import pytest

from ra_core.masking import Announcement, Confirmation, Dealing, MaskedInput, Reveal
from ra_core.masking.figures import COUNTS

WORDS = set(
    re.findall(r"`(\w+)`", (Path(__file__).resolve().parents[3] / "docs/secure_aggregation.md").read_text("utf-8"))
)


@pytest.mark.parametrize("kind", [Announcement, Dealing, MaskedInput, Confirmation, Reveal])
def test_every_field_is_told(kind):
    assert {kind.__name__, *kind.model_fields} <= WORDS


def test_every_count_is_told():
    assert set(COUNTS) <= WORDS
