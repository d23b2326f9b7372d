"""Help that names every option, and default settings that load back."""

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from client.cli import app as client_app
from ra_core.config import StudyConfig
from ra_core.settings import load_config
from server.cli import app as server_app
from simulation.cli import app as simulation_app
from simulation.config import ExperimentConfig

PROGRAMS = {"ra-client": client_app, "ra-server": server_app, "ra-simulate": simulation_app}
WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


def commands(app):
    return typer.main.get_command(app).commands


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_lists_its_commands(desk, program):
    process = desk.with_env(**WIDE).run("--help", program=[Path(sys.executable).with_name(program)])
    assert process.code == 0, process.stderr
    assert "docs/exit_codes.md" in process.stdout
    assert [name for name in commands(PROGRAMS[program]) if name not in process.stdout] == []


@pytest.mark.parametrize(("program", "name"), [(p, name) for p, app in PROGRAMS.items() for name in commands(app)])
def test_a_command_names_its_options(program, name):
    command = commands(PROGRAMS[program])[name]
    printed = CliRunner().invoke(PROGRAMS[program], [name, "--help"], env=WIDE)
    assert printed.exit_code == 0
    assert command.help.split()[0] in printed.stdout
    options = [text for parameter in command.params for text in parameter.opts if text.startswith("--")]
    assert [option for option in options if option not in printed.stdout] == []
    untold = [parameter.name for parameter in command.params if parameter.help.split()[0] not in printed.stdout]
    assert untold == []


@pytest.mark.parametrize(("which", "kind"), [("study", StudyConfig), ("experiment", ExperimentConfig)])
def test_printed_settings_load_back(desk, which, kind):
    process = desk.run("config", which)
    assert process.code == 0, process.stderr
    printed = desk.folder / "printed.yaml"
    printed.write_text(process.stdout, encoding="utf-8")
    loaded = load_config(printed, kind)
    assert (loaded if kind is StudyConfig else loaded.study) == StudyConfig()
