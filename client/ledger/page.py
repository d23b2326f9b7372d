"""The officer's report as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterator

from client.ledger.report import Report
from ra_core.pages import page_bytes, page_environment
from ra_core.words import printable

__all__ = ["as_page", "as_text"]


def as_text(report: Report) -> Iterator[str]:
    """Lines for a terminal or a text file."""
    yield f"What has left {report.site}, as of {report.made}"
    yield report.verdict
    for section in report.sections:
        yield ""
        yield section.title.upper()
        if section.text:
            yield section.text
        if section.header:
            yield from (printable(" | ".join(row)) for row in (section.header, *section.rows))
            if not section.rows:
                yield "none"


def as_page(report: Report) -> bytes:
    """The HTML page; it needs no other file and no script."""
    return page_bytes(page_environment("client.ledger").get_template("report.html.j2").render(report=report))
