from contextlib import contextmanager

import pytest

from ra_core.config import PerceptualConfig
from ra_core.console import TerminalReporter
from ra_core.errors import WeightsError
from ra_core.perceptual.weights import cache_file, hub_file
from simulation import weights
from simulation.weights import fetch_with_progress, load_or_fetch


class Bar:
    """A reporter that remembers."""

    def __init__(self):
        self.told = []

    @contextmanager
    def task(self, title, total, done=0):
        self.told.append(total)
        yield lambda done, detail: self.told.append((done, detail))
        self.told.append("closed")

    counted = TerminalReporter.counted


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Empty places to look in; the nets that were asked for."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("RA_CACHE", str(tmp_path / "cache"))
    nets = []

    def fetch(progress, net):
        progress("downloading", 0, 2)
        progress("done", 2, 2)
        nets.append(net)
        return []

    monkeypatch.setattr(weights, "fetch_weights", fetch)
    return nets


def test_the_bar_has_a_length_and_moves(fetched):
    bar = Bar()
    fetch_with_progress(bar)
    assert bar.told == [2, (0, "downloading"), (2, "done"), "closed"]


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_what_is_nowhere_is_fetched(fetched, net):
    with pytest.raises(WeightsError, match="no pretrained weights"):
        load_or_fetch(PerceptualConfig(net=net), "cpu", Bar())
    assert fetched == [net]


@pytest.mark.parametrize("place", [hub_file, cache_file])
def test_a_damaged_file_is_named_and_nothing_is_fetched(fetched, place):
    path = place("alex")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=path.name):
        load_or_fetch(PerceptualConfig(), "cpu", Bar())
    assert not fetched


@pytest.mark.parametrize("settings", [{"net": "squeeze"}, {"weights": "none.pth"}])
def test_what_the_index_does_not_have_is_not_fetched(fetched, settings):
    with pytest.raises(WeightsError):
        load_or_fetch(PerceptualConfig(**settings), "cpu", Bar())
    assert not fetched
