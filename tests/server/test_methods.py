"""What the server makes of studies of other methods than the usual one."""

import pytest
from answering import answering_app
from consortia import write_consortium
from flwr.app import Context, RecordDict

from ra_core.config import StudyConfig
from ra_core.errors import ConfigError, WeightsError
from ra_core.models import features
from server.app import app
from server.operation.operate import start_run
from simulation.engines import InProcessGrid

ONE_PASS = {"training": {"steps": 1}, "federation": {"rounds": 1, "local_steps": 1}}


def write_study(folder, name):
    study = StudyConfig.model_validate(ONE_PASS | {"method": {"name": name}})
    (folder / "study.json").write_text(study.model_dump_json())
    return folder / "study.json"


def run(folder, name):
    settings = {"study-file": str(write_study(folder, name)), "folder": str(folder), "sites": "anna"}
    app(grid=InProcessGrid(answering_app(), [{"name": "anna"}]), context=Context(1, 1, {}, RecordDict(), settings))


@pytest.mark.parametrize("name", ["nearest_neighbour", "patchcore"])
def test_a_method_that_holds_images_is_not_federated(tmp_path, name):
    with pytest.raises(ConfigError, match=f"no federation can train {name}: its bank holds"):
        run(tmp_path, name)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_the_operator_hears_so_before_anything_is_asked(tmp_path):
    with pytest.raises(ConfigError, match="no federation can train patchcore"):
        start_run(write_consortium(tmp_path / "consortium"), write_study(tmp_path, "patchcore"), "", ())


def test_a_run_whose_card_could_not_be_written_does_not_begin(tmp_path, monkeypatch):
    def nowhere(*_):
        raise WeightsError("no pretrained weights")

    monkeypatch.setattr(features, "pretrained", nowhere)
    with pytest.raises(WeightsError):
        run(tmp_path, "padim")
    assert not (tmp_path / "checkpoint.safetensors").exists()
