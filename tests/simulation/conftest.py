import pytest
from markupsafe import Markup

from simulation.grid.page import alarms, lesions, panels
from simulation.report import sections, training


@pytest.fixture
def undrawn(monkeypatch):
    """Figures of pages are empty: to draw them takes three quarters of a page's time, and words need none."""

    def empty(title, *_, **__):
        return Markup('<svg role="img" aria-label="{}"></svg>').format(title)

    for module in (alarms, lesions, panels, sections, training):
        for name in {"dots", "curves"} & vars(module).keys():
            monkeypatch.setattr(module, name, empty)
