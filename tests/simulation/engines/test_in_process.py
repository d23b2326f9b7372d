import json

import pytest
from hospitals import model_digest, tiny_federation, write_hospitals

from ra_core.config import RuntimeConfig, StudyConfig
from ra_core.errors import QuorumError, ResumeError
from ra_core.settings import load_config
from simulation.engines import run_in_process

pytestmark = pytest.mark.slow

ONE_THREAD = RuntimeConfig(threads=1)


@pytest.fixture
def nodes(site_root, tmp_path):
    return write_hospitals(site_root, tmp_path / "hospitals")


def nothing(done, total):
    """No progress bar."""


def test_progress_counts_answers(nodes, tmp_path):
    told = []
    done = run_in_process(tiny_federation(), nodes, ONE_THREAD, tmp_path / "run", lambda *now: told.append(now))
    assert told == [(number, 6) for number in range(1, 7)]
    assert [record.answered for record in done.records] == [("anna", "berta")] * 3


def test_settings_are_written_so_that_they_can_be_read(nodes, tmp_path):
    study = tiny_federation(proximal_mu=1e-05)  # YAML 1.1 takes this for a text
    run_in_process(study, nodes, ONE_THREAD, tmp_path / "run", nothing)
    assert load_config(tmp_path / "run" / "study.json", StudyConfig).digest() == study.digest()
    first, _ = json.loads((tmp_path / "run" / "nodes.json").read_text())
    assert first["site-config"] == str(nodes[0].site_config)
    assert (first["threads"], first["device"]) == (1, "cpu")


class KilledError(Exception):
    pass


@pytest.mark.parametrize("answers", [1, 2, 5])
def test_a_run_goes_on_where_it_was_left(nodes, tmp_path, answers):
    def kill(done, total):
        if done == answers:
            raise KilledError

    study = tiny_federation(parts=["encoder"])
    with pytest.raises(KilledError):
        run_in_process(study, nodes, ONE_THREAD, tmp_path / "killed", kill)
    told = []
    resumed = run_in_process(study, nodes, ONE_THREAD, tmp_path / "killed", lambda *now: told.append(now))
    assert told[0] == ((answers - 1) // 2 * 2 + 1, 6)  # the exchange that was broken off is repeated
    assert told[-1] == (6, 6)
    whole = run_in_process(study, nodes, ONE_THREAD, tmp_path / "whole", nothing)
    assert model_digest(resumed.model) == model_digest(whole.model)
    assert resumed.records == whole.records


def test_a_failure_is_the_servers_own(nodes, tmp_path):
    nodes[1].site_config.write_text("name: nobody")
    with pytest.raises(QuorumError, match="ConfigError"):
        run_in_process(tiny_federation(), nodes, ONE_THREAD, tmp_path / "run", nothing)


def test_another_study_does_not_go_on(nodes, tmp_path):
    run_in_process(tiny_federation(rounds=3), nodes, ONE_THREAD, tmp_path / "run", nothing)
    with pytest.raises(ResumeError):
        run_in_process(tiny_federation(), nodes, ONE_THREAD, tmp_path / "run", nothing)
