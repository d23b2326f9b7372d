"""Made-up scans: what the checks see of a site, without any file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ra_core.data.manifest import Row
from ra_core.data.readers.source import Facts
from ra_core.data.scan.records import THUMBNAIL, Entry, Picture, Scan


def anatomy(rng):
    """A 32 x 32 picture that has one upright pose: a bright body, a dark lung upper left, noise."""
    rows, columns = np.mgrid[:THUMBNAIL, :THUMBNAIL]
    body = np.hypot((rows - 18) / 13, (columns - 16) / 10) < 1
    lung = np.hypot((rows - 11) / 5, (columns - 11) / 3) < 1
    picture = 150.0 * body - 110 * (body & lung) + 60 * (rows > 24) * body
    noisy = picture * rng.normal(1, 0.08) + rng.normal(0, 12, picture.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def row(path, split="train", label="healthy", patient=None, site="a"):
    return Row(path, site, "chest", "CR", split, label, "", patient or path, "", "", "", 1)


@dataclass
class Made:
    """A site that grows picture by picture."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    entries: list = field(default_factory=list)
    rows: list = field(default_factory=list)

    def add(self, count=1, split="train", label="healthy", patient=None, thumbnail=None, key="", **facts):
        for _ in range(count):
            path = f"{split}/{label}/{len(self.entries):04}.png"
            chosen = anatomy(self.rng) if thumbnail is None else thumbnail
            self.entries.append(self.entry(path, chosen, key, **facts))
            self.rows.append(row(path, split, label, patient))
        return self

    def entry(self, path, thumbnail, key="", shape=(64, 64), text=0.0, digest=None, notes=(), skipped=(), **facts):
        grey = thumbnail / 255
        picture = Picture(
            frame=0,
            digest=digest or f"digest of {path}",
            thumbnail=thumbnail,
            mean=float(grey.mean()),
            spread=float(grey.std()),
            foreground=float((grey > 0.1).mean()),
            sharpness=float(np.hypot(*np.gradient(grey)).mean()),
            text=text,
        )
        told = Facts(**{"kind": "raster", "frames": 1, "shape": shape, "patient": key} | facts)
        return Entry(path, None, "", told, (picture,), skipped, notes, key)

    def refuse(self, count, reason, folder="refused"):
        for _ in range(count):
            path = f"{folder}/{len(self.entries):04}.dcm"
            self.entries.append(Entry(path, reason, "why; and what to do", lost=not reason.expected))
        return self

    @property
    def scan(self):
        return Scan(Path("root"), tuple(sorted(self.entries, key=lambda entry: entry.path)))

    @property
    def pictures(self):
        from ra_core.data.checks import Pictures

        return Pictures.of(self.scan, self.rows)


@pytest.fixture
def made():
    return Made()


@pytest.fixture
def site():
    """Enough of everything: nothing to complain about."""
    site = Made().add(40).add(20, "val").add(20, "test")
    return site.add(20, "test", "anomalous")


@pytest.fixture
def make_anatomy():
    return anatomy


@pytest.fixture
def make_site():
    def make(count, seed=0, lift=0):
        """Healthy images to train on, each brighter by `lift`."""
        site = Made(np.random.default_rng(seed))
        for number in range(count):
            brighter = (anatomy(site.rng).astype(int) + lift).clip(0, 255).astype(np.uint8)
            site.add(patient=f"{seed}/{number}", thumbnail=brighter)
        return site

    return make
