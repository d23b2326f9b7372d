"""At any moment one checkpoint is whole; one that isn't is refused, and the one before it used."""

import pytest
from answering import SITES
from federating import KilledError, Told, federate
from hospitals import model_digest as digest

from ra_core.errors import ResumeError
from server.rounds.checkpoint import Checkpoints
from server.run_files import CHECKPOINT, PREVIOUS, REFUSED

STUDY = "d" * 64


def run(folder, on_round=lambda _: None, told=None):
    checkpoints = Checkpoints(folder, STUDY)
    progress = checkpoints.resume(Told() if told is None else told)

    def save(progress):
        checkpoints.save(progress)
        on_round(progress)

    return federate(progress=progress, on_round=save, optimizer={"name": "momentum"})


@pytest.fixture(scope="module")
def whole():
    return outcome(federate(optimizer={"name": "momentum"}))


def outcome(done):
    return digest(done.model), digest(done.best), done.records


@pytest.fixture
def after_two(tmp_path):
    """The folder of a run that was killed after two rounds."""

    def kill(progress):
        if progress.round == 2:
            raise KilledError

    with pytest.raises(KilledError):
        run(tmp_path, kill)
    return tmp_path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def empty(path):
    path.write_bytes(b"")


def make_foreign(path):
    Checkpoints(path.parent / "other", "e" * 64).save(Checkpoints(path.parent, STUDY).load())
    (path.parent / "other" / CHECKPOINT).replace(path)
    (path.parent / "other").rmdir()


def make_old(path):
    from ra_core.storage import load_tensors, save_tensors

    tensors, facts = load_tensors(path)
    save_tensors(path, tensors, {name: value for name, value in facts.items() if name != "format"})


HARMS = (truncate, empty, make_foreign, make_old)


@pytest.mark.parametrize("harm", HARMS)
def test_a_checkpoint_that_cannot_be_used_is_set_aside_and_the_one_before_it_used(after_two, whole, harm):
    harm(after_two / CHECKPOINT)
    told = Told()
    assert outcome(run(after_two, told=told)) == whole
    (event,) = told.of("checkpoint_refused")
    assert event["from_round"] == 1
    assert (after_two / REFUSED).exists()


@pytest.mark.parametrize("harm", HARMS)
def test_where_both_are_bad_nothing_is_touched(after_two, harm):
    kept = {}
    for name in (PREVIOUS, CHECKPOINT):
        harm(after_two / name)
        kept[name] = (after_two / name).read_bytes()
    with pytest.raises(ResumeError):
        run(after_two)
    assert {path.name: path.read_bytes() for path in after_two.iterdir()} == kept


def test_a_run_that_loses_its_last_checkpoint_goes_on_from_the_one_before_it(after_two, whole):
    (after_two / CHECKPOINT).unlink()
    assert outcome(run(after_two)) == whole


def test_a_checkpoint_of_another_bundle_is_foreign_where_both_are_known(after_two):
    progress = Checkpoints(after_two, STUDY, "a" * 64).load()
    Checkpoints(after_two, STUDY, "a" * 64).save(progress)
    (after_two / PREVIOUS).unlink()
    assert Checkpoints(after_two, STUDY).load().round == 2
    with pytest.raises(ResumeError, match="another app bundle"):
        Checkpoints(after_two, STUDY, "b" * 64).load()


def test_a_checkpoint_holds_what_the_sites_have_told_of_their_ledgers(after_two):
    found = Checkpoints(after_two, STUDY).load()
    head = (1, "e" * 64)
    assert found.ledgers == dict.fromkeys(SITES, head)
    assert [record.ledgers for record in found.records] == [dict.fromkeys(SITES, head)] * 2


def test_without_a_checkpoint_a_run_begins(tmp_path):
    assert Checkpoints(tmp_path, STUDY).resume(Told()) is None
