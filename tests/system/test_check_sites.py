"""`ra-client check` on every site config whose images are beside this checkout: its summary is true."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from client.cli import app
from ra_core.errors import CheckError

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "site_configs").glob("*.yaml"))
MAY_NOT_JOIN = {"hannover": {"too_few"}}
"""Sites with errors, and which."""


@pytest.fixture(scope="module")
def rows(shared):
    if not (shared / "data" / "manifest.csv").is_file():
        pytest.skip("no ../shared/data beside this checkout")
    with (shared / "data" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_the_summary_of_a_public_site_is_true(shared, rows, tmp_path, config):
    name = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["site"]
    own = [row for row in rows if row["site"] == name]
    (tmp_path / "study.yaml").write_text("preprocessing: {size: 32}\n")
    places = {"--data": shared / "data", "--study": "study.yaml", "--out": "out", "--cache": "cache"}
    options = [str(part) for name, place in places.items() for part in (name, tmp_path / place)]
    result = CliRunner().invoke(app, ["check", str(config), *options])
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    errors = {finding["code"] for finding in found["findings"] if finding["level"] == "error"}
    assert errors == MAY_NOT_JOIN.get(name, set()), result.output
    assert isinstance(result.exception, CheckError) if errors else result.exit_code == 0
    counts = found["counts"]
    assert counts["declared"] == len(own)
    assert counts["read"] + sum(counts["skipped"].values()) == len(own)
    copies = counts["skipped"].pop("duplicate", 0)
    assert counts["skipped"] == {}
    assert counts["pictures"] == len(own) - copies
    parts = Counter(f"{row['split']} {row['label']}" for row in own)
    assert sum((parts - Counter(counts["by_part"])).values()) == copies
    assert re.search(rf"files declared\s+│\s+{len(own)} ", result.output)
    assert not any(Path(row["path"]).name in result.output for row in own)
