from typer.testing import CliRunner

from simulation import cli
from simulation.cli import app


def test_a_cohort_larger_than_the_settings_allow_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(app, ["cohort", "--out", str(tmp_path / "out"), "--size", "1000"])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_preprocessed_images_go_where_the_option_or_the_environment_says(tmp_path, monkeypatch):
    site = tmp_path / "site.yaml"
    site.write_text("{name: x, anatomy: x, modality: CR, data: {site: x}}")
    seen = []

    def stop(sites, base, study, root, cache, reporter):
        seen.append(cache)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "open_places", stop)
    monkeypatch.setattr(cli.Runtime, "resolve", lambda config, precision: None)
    half_written = tmp_path / "a" / "images" / ".x.npy.01234567"
    half_written.parent.mkdir(parents=True)
    half_written.touch()
    command = ["train", str(site), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    CliRunner().invoke(app, [*command, "--cache", str(tmp_path / "a")], env={"RA_CACHE": str(tmp_path / "b")})
    CliRunner().invoke(app, command, env={"RA_CACHE": str(tmp_path / "b")})
    assert seen == [tmp_path / "a" / "images", tmp_path / "b" / "images"]
    assert not half_written.exists()
