from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from ra_core.errors import ConfigError
from ra_core.settings import load_config
from simulation import commands
from simulation.cli import app, main
from simulation.config import ExperimentConfig
from simulation.grid.config import GridConfig


def test_a_cohort_larger_than_the_settings_allow_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(app, ["cohort", "--out", str(tmp_path / "out"), "--size", "1000"])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_preprocessed_images_go_where_the_option_or_the_environment_says(tmp_path, monkeypatch):
    site = tmp_path / "site.yaml"
    site.write_text("{name: x, anatomy: x, modality: CR, data: {site: x}}")
    seen = []

    def stop(sites, base, study, root, cache, *_):
        seen.append(cache)
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "open_places", stop)
    monkeypatch.setattr(commands.Runtime, "resolve", lambda config, precision: None)
    half_written = tmp_path / "a" / "images" / ".x.npy.01234567"
    half_written.parent.mkdir(parents=True)
    half_written.touch()
    command = ["train", str(site), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    CliRunner().invoke(app, [*command, "--cache", str(tmp_path / "a")], env={"RA_CACHE": str(tmp_path / "b")})
    CliRunner().invoke(app, command, env={"RA_CACHE": str(tmp_path / "b")})
    assert seen == [tmp_path / "a" / "images", tmp_path / "b" / "images"]
    assert not half_written.exists()


@pytest.mark.parametrize(("name", "kind"), [("experiment", ExperimentConfig), ("grid", GridConfig)])
def test_a_commented_default_is_one_and_what_is_wrong_in_a_file_names_its_command(tmp_path, name, kind):
    text = CliRunner().invoke(app, ["config", name]).stdout
    assert all("  # " in line for line in text.splitlines())
    kind.model_validate(yaml.safe_load(text))
    file = tmp_path / "bad.yaml"
    file.write_text("nonsense: 1")
    with pytest.raises(ConfigError) as caught:
        load_config(file, kind)
    assert f"`ra-simulate config {name}`" in caught.value.hint


def test_a_study_for_a_gpu_says_that_none_is_here_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    file = Path(commands.__file__).parent / "studies" / "grid_brain_paper.yaml"
    monkeypatch.setattr(
        "sys.argv", ["ra-simulate", "study", str(file), "--data", str(tmp_path), "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == ConfigError.exit_code
    assert "device 'cuda' is not available" in capsys.readouterr().err
