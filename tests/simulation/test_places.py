"""The sites of an experiment, opened."""

from contextlib import nullcontext
from types import SimpleNamespace

from ra_core.data.manifest import SPLITS
from simulation.places import read_images


class Images:
    def __init__(self, split, read):
        self.split, self.read = split, read

    def __len__(self):
        return 1

    def prepare(self, progress):
        self.read.append(self.split)
        progress(1, 1)


def test_images_of_every_split_are_read_before_anything_is_trained():
    """One that can't be read ends an experiment at its start."""
    read, moved = [], []
    images = SimpleNamespace(**{split: Images(split, read) for split in SPLITS})
    reporter = SimpleNamespace(task=lambda _title, _total: nullcontext(lambda done, _: moved.append(done)))
    read_images([SimpleNamespace(images=images)] * 2, reporter)
    assert sorted(read) == sorted([*SPLITS, *SPLITS])
    assert moved == list(range(1, 2 * len(SPLITS) + 1))
