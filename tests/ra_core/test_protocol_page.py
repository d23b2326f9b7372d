"""docs/protocol.md lists every field of every message, every metric that may leave, and every event."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from client.listed import ALLOWED_METRICS
from ra_core import messages

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
SENT = ("Order", "Reply", "Refusal", "Failure")
KINDS = [getattr(messages, name) for name in messages.__all__ if name.endswith(SENT)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_is_told(kind):
    assert {field.name for field in fields(kind)} <= set(re.findall(r"`(\w+)`", PAGE))


def test_every_metric_that_may_leave_is_told():
    assert set(re.findall(r"`(\w+)`", PAGE)) >= ALLOWED_METRICS


def test_every_event_of_a_run_is_told():
    sources = [ROOT / "server" / "app.py", *(ROOT / "server" / "rounds").glob("*.py")]
    texts = [source.read_text(encoding="utf-8") for source in sources]
    told = {event for text in texts for event in re.findall(r'tell\(\s*"(\w+)"', text)}
    assert {"run_started", "round_done", "run_ended"} <= told
    assert told <= set(re.findall(r"`(\w+)`", PAGE))
