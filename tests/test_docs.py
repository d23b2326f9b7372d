"""What the pages promise about files and numbers is true."""

import re
from pathlib import Path

import pytest

from ra_core import errors
from ra_core.console import INTERRUPTED

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROW = re.compile(r"^\| (\d+) \| (?:`(\w+)` )?\|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


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
