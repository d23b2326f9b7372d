import datetime as dt

import pytest
import yaml
from admissions import write_consortium
from artifacts import new_artifact
from typer.testing import CliRunner

from client.cli import app as client_app
from client.models import models
from ra_core.artifact import load_artifact, save_artifact
from ra_core.daemons.events import read_events
from ra_core.errors import ArtifactError, ConfigError
from ra_core.published import read_published
from server.cli import app as server_app
from server.provisioning.provision import provision
from server.provisioning.publish import publish

NOW = dt.datetime.now(dt.UTC)
SITE = {"name": "Far", "anatomy": "brain", "modality": "MR", "data": {"site": "far"}, "state": "state"}


@pytest.fixture
def consortium(tmp_path):
    """With a model in the run "first"."""
    consortium = write_consortium(tmp_path / "server")
    provision(consortium, False, NOW)
    save_artifact(consortium.run("first") / "model", new_artifact())
    return consortium


@pytest.fixture
def site(tmp_path):
    """A hospital's config, without a server."""
    path = tmp_path / "far" / "site.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(SITE))
    return path


def run(app, *arguments):
    """What a command printed; an error of it is raised."""
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False).stdout


def test_a_run_is_published_and_taken_in_elsewhere(consortium, site, tmp_path):
    file = tmp_path / "first.safetensors"
    told = run(server_app, "publish", "first", "--out", file, "--consortium", consortium.file)
    original = load_artifact(consortium.run("first") / "model")
    assert original.card.model_hash[:16] in told
    run(client_app, "import", file, site, "--ca", consortium.ca_certificate)
    folder = site.parent / "state" / "models" / original.card.model_hash[:16]
    assert load_artifact(folder).card == original.card
    assert [model.folder for model in models(site.parent / "state")] == [folder]


def test_a_member_needs_to_name_no_certificate(consortium, site, tmp_path):
    publish(consortium, "first", tmp_path / "file")
    server = {"address": "fed.example.org:443", "ca_certificate": str(consortium.ca_certificate)}
    site.write_text(yaml.safe_dump(SITE | {"server": server}))
    assert "signed" in run(client_app, "import", tmp_path / "file", site)


def test_a_file_of_others_leaves_nothing_behind(consortium, site, tmp_path):
    other = write_consortium(tmp_path / "other")
    provision(other, False, NOW)
    publish(consortium, "first", tmp_path / "file")
    with pytest.raises(ArtifactError, match="not signed"):
        run(client_app, "import", tmp_path / "file", site, "--ca", other.ca_certificate)
    assert not (site.parent / "state").exists()


def test_a_site_that_trusts_nobody_takes_nothing_in(consortium, site, tmp_path):
    publish(consortium, "first", tmp_path / "file")
    with pytest.raises(ConfigError, match="names no certificate"):
        run(client_app, "import", tmp_path / "file", site)
    site.write_text(yaml.safe_dump({name: value for name, value in SITE.items() if name != "state"}))
    with pytest.raises(ConfigError, match="state is not set"):
        run(client_app, "import", tmp_path / "file", site, "--ca", consortium.ca_certificate)


def test_the_certificate_of_the_server_signs_nothing(consortium, site, tmp_path):
    publish(consortium, "first", tmp_path / "file")
    with pytest.raises(ArtifactError, match="certificate authority"):
        read_published(tmp_path / "file", consortium.server_certificate, NOW)


def test_a_run_without_a_model_is_not_published(consortium, tmp_path):
    consortium.run("begun").mkdir()
    for name in ("begun", "never"):
        with pytest.raises(ConfigError, match=f"'{name}' has no model"):
            publish(consortium, name, tmp_path / "file")
    with pytest.raises(ConfigError, match="no name of a run"):
        publish(consortium, "../first", tmp_path / "file")


def test_a_damaged_model_is_not_published(consortium, tmp_path):
    (consortium.run("first") / "model" / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(ArtifactError):
        publish(consortium, "first", tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_a_model_from_which_a_site_withdrew_is_published_only_if_asked_and_says_so(consortium, site, tmp_path):
    save_artifact(consortium.run("first") / "model", new_artifact(withdrawn=("north",)))
    with pytest.raises(ConfigError, match="north withdrew") as refused:
        publish(consortium, "first", tmp_path / "file")
    assert "--despite-withdrawal" in refused.value.hint
    assert not (tmp_path / "file").exists()
    publish(consortium, "first", tmp_path / "file", despite_withdrawal=True)
    told = run(client_app, "import", tmp_path / "file", site, "--ca", consortium.ca_certificate)
    assert "north withdrew from it since" in told


def test_what_was_published_is_in_the_runs_events(consortium, tmp_path):
    publish(consortium, "first", tmp_path / "file")
    (event,) = read_events(consortium.run("first") / "events.jsonl")[0]
    assert (event["event"], event["file"]) == ("published", "file")


def test_nothing_is_written_over(consortium, tmp_path):
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="is there already"):
        publish(consortium, "first", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"precious"


def test_without_the_authoritys_key_nothing_is_published(consortium, tmp_path):
    consortium.ca_key.unlink()
    with pytest.raises(ConfigError, match="needed to sign"):
        publish(consortium, "first", tmp_path / "file")
