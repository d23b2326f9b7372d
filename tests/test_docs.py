"""What the pages promise about files and numbers is true."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from fenced import FENCED, fenced

from client.cli import app as client_app
from ra_core import errors
from ra_core.config import SiteConfig
from ra_core.console import INTERRUPTED
from ra_core.data.checks import Code
from ra_core.data.readers import Note, Reason
from ra_core.settings import load_config
from server.cli import app as server_app
from simulation.cli import app as simulation_app
from simulation.grid import GridConfig
from simulation.grid.arms import UNTRAINED
from simulation.grid.page import Sites, StudyData
from simulation.grid.page.chapters import chapters
from simulation.grid.result import load

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
ROW = re.compile(r"^\| (\d+) \| (?:`(\w+)` )?\|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
INLINE = re.compile(r"`([^`\n]+)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
JOINING = ROOT / "docs/joining.md"
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))

PROGRAMS = {"ra-client": client_app, "ra-server": server_app, "ra-simulate": simulation_app}
COMMANDS = {program: typer.main.get_command(app).commands for program, app in PROGRAMS.items()}


def subclasses(kind):
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_exit_code_is_in_the_table_once():
    rows = [(int(code), name) for code, name in ROW.findall((ROOT / "docs/exit_codes.md").read_text())]
    ours = {
        (kind.exit_code, kind.__name__) for kind in subclasses(errors.RAError) if kind.__module__ == errors.__name__
    }
    general = {(0, ""), (errors.RAError.exit_code, "RAError"), (2, ""), (INTERRUPTED, "")}
    assert len(rows) == len({code for code, _ in rows}), "a code is in two rows"
    assert set(rows) == ours | general
    assert [code for code, _ in rows] == sorted(code for code, _ in rows)


def test_every_error_class_is_public():
    assert set(errors.__all__) == {"RAError"} | {kind.__name__ for kind in subclasses(errors.RAError)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    targets = [target for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def command_lines(page):
    """Words of every line that calls one of our programs, in a block or within text; continued lines are joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for _, content in FENCED.findall(text) for line in content.splitlines()]
    lines += INLINE.findall(FENCED.sub("", text))
    return [shlex.split(line, comments=True) for line in lines if line.split(" ")[0] in PROGRAMS and " " in line]


def options(*commands):
    own = {option for command in commands for parameter in command.params for option in parameter.opts}
    under = [child for command in commands for child in getattr(command, "commands", {}).values()]
    return {"--help"} | own | (options(*under) if under else set())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_has_its_options(page):
    for program, command, *rest in command_lines(page):
        assert command in COMMANDS[program]
        unknown = {word for word in rest if word.startswith("--")} - options(COMMANDS[program][command])
        assert unknown == set(), f"{program} {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_within_text_is_one_of_ours(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    named = {option for words in INLINE.findall(text) for option in OPTION.findall(words)}
    ours = options(*(command for commands in COMMANDS.values() for command in commands.values()))
    assert named <= ours | set(re.findall(r'"(--[a-z-]+)"', "".join(map(Path.read_text, BENCHMARKS))))


def test_the_way_of_a_hospital_is_told():
    told = {command for program, command, *_ in command_lines(JOINING) if program == "ra-client"}
    assert told == COMMANDS["ra-client"].keys() - {"version"}


def test_every_finding_is_told_once():
    page = JOINING.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE)
    assert sorted(code for row in rows for code in INLINE.findall(row)) == sorted(Code)


def test_every_reason_and_note_is_told():
    words = set(re.findall(r"\w+", (ROOT / "docs/data.md").read_text(encoding="utf-8")))
    assert {*Reason, *Note} <= words


def test_the_settings_on_the_page_are_settings():
    settings = yaml.safe_load("".join(fenced(JOINING, "yaml")))
    assert SiteConfig.model_validate(settings, context={"folder": ROOT}).data.folder is not None


RESULTS = ROOT / "docs/results"
COMMITTED = sorted(tables.parent.name for tables in RESULTS.glob("*/tables.md"))  # others have begun: their cells wait
SECTION = re.compile(r"^## ", re.MULTILINE)
NUMBER = r"-?\d\.\d{3,4}"


@pytest.mark.parametrize("study", COMMITTED)
def test_finished_cells_load_and_are_what_their_tables_say(study):
    cells = [load(RESULTS / study / "cells", path.stem) for path in (RESULTS / study / "cells").iterdir()]
    assert len({cell.key for cell in cells}) == len(cells)
    text = (RESULTS / study / "tables.md").read_text(encoding="utf-8")
    config = load_config(ROOT / f"simulation/studies/grid_{study}.yaml", GridConfig)
    assert text.startswith(f"# {config.title}\n")
    assert f"Cells: {len(cells)} of " in text
    assert f"ra-simulate study grid_{study}.yaml --data DATA_ROOT --out {study}\n" in text
    assert {cell.method for cell in cells if cell.arm != UNTRAINED} <= set(config.methods)


def plain(text):
    """Numbers and names as both pages have them."""
    for ours, theirs in (("−", "-"), ("–", " to "), ("\\", ""), ("**", ""), ("<br>", " "), ("+", "")):
        text = text.replace(ours, theirs)
    return re.sub(r"\s+", " ", text)


CHAPTER = re.compile(r"^## (.*)\n\n.*\n\n?((?:- .*\n)*)", re.MULTILINE)
QUOTE = re.compile(r"^> \*\*(.*)\*\*\n>\n((?:> .*\n)+)", re.MULTILINE)
QUOTED = (
    "Which method finds most?",
    "How far is federated from pooled?",
    "Is another federated way better than plain averaging?",
)


def answers_of(study):
    """The sentences of a study's tables by the question that they answer."""
    text = (RESULTS / study / "tables.md").read_text(encoding="utf-8").replace("\\", "")
    return {title: points.splitlines() for title, points in CHAPTER.findall(text)}


@pytest.mark.parametrize("study", COMMITTED)
def test_every_tables_have_all_chapters_of_the_page(study):
    config = load_config(ROOT / f"simulation/studies/grid_{study}.yaml", GridConfig)
    made = chapters(StudyData(config, Sites((), {}), (), (), ""))
    titles = [chapter.title for chapter in made]
    assert [title for title in answers_of(study) if title in titles] == titles


@pytest.mark.parametrize("study", COMMITTED)
def test_the_results_quote_the_verdicts_of_the_studys_tables_word_for_word(study):
    answers, quoted = answers_of(study), dict[str, list[str]]()
    for title, block in QUOTE.findall(section_of(study)):
        lines = re.sub(r"\s+", " ", block.replace("> ", "")).strip()
        quoted.setdefault(title, []).extend(re.split(r" (?=- )", lines))
    assert quoted == {title: answers[title] for title in QUOTED if answers[title]}


def section_of(study):
    """What docs/results.md says of a study."""
    sections = SECTION.split((ROOT / "docs/results.md").read_text(encoding="utf-8"))
    (section,) = [text for text in sections if f"results/{study}/tables.md" in text]
    return section


def results_of(study):
    """What docs/results.md says of a study, and the study's tables by the first cell of each row."""
    section, rows = section_of(study), {}
    for line in (RESULTS / study / "tables.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            label = re.sub(r" \[[\d, ]+\]", "", plain(line.split("|")[1])).strip()
            rows.setdefault(label, []).append(plain(line))
    return section, rows


@pytest.mark.parametrize("study", COMMITTED)
def test_every_number_of_the_results_stands_in_the_studys_tables(study):
    section, rows = results_of(study)
    interval = re.compile(rf"{NUMBER} \({NUMBER} to {NUMBER}\)")
    lines = [plain(line) for line in section.splitlines() if line.startswith("| ")]
    assert any(interval.search(line) for line in lines)
    for line in lines:
        label, numbers = line.split("|")[1].strip(), interval.findall(line)
        missing = [number for number in numbers if not any(number in row for row in rows[label])]
        assert missing == [], label
    whole = plain((RESULTS / study / "tables.md").read_text(encoding="utf-8"))
    prose = plain(" ".join(line for line in section.splitlines() if not line.startswith("|")))
    ends = [one or other for one, other in re.findall(rf"\(({NUMBER} to {NUMBER})|({NUMBER} to {NUMBER})\)", prose)]
    assert ends
    assert [one for one in ends if f"({one}" not in whole and f", {one}" not in whole] == []
    told = re.findall(rf"({NUMBER})(?:, | \()({NUMBER} to {NUMBER})", prose)  # "loses by" leaves out the sign
    assert [one for one in told if not any(mark.join(one) in whole for mark in (" (", ", "))] == []
