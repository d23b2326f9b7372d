"""`ra-client ledger`: the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.ledger.kinds import KINDS
from client.options import HERE

if TYPE_CHECKING:
    from client.ledger.book import Ledger
    from client.ledger.line import Head
    from ra_core.config import SiteConfig

__all__ = ["ledger"]

ledger = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What has left this site: one line a message, written before the message may leave.",
)

Site = Annotated[Path, typer.Argument(help="Site config (YAML) with a state folder.")]


_SHOW = f"""List what left, the latest last: line, time, message, run, round, bytes, norm of the update, what stayed.

The chain is checked on the way. A message is one of

{chr(10).join(f"- *{kind}*: {words}" for kind, words in KINDS.items())}

`--whole` has names, shapes and hashes too.
"""


@ledger.command(help=_SHOW)
def show(
    site: Site = HERE,
    last: Annotated[int, typer.Option(min=1, help="Show so many of the latest lines.")] = 20,
    whole: Annotated[bool, typer.Option("--whole", help="Print the lines as they stand in the file: JSON.")] = False,
) -> None:
    """List what left; the help has which kinds of messages there are."""
    from collections import deque  # noqa: PLC0415 - nothing of this is needed by `--help`

    from client.ledger.listing import told  # noqa: PLC0415

    found, _ = _open(site)
    with found.opened() as book:
        for line in deque(book.lines(), last):
            typer.echo(line.content.decode().rstrip() if whole else told(line))


@ledger.command()
def verify(
    site: Site = HERE,
    length: Annotated[int, typer.Option(min=0, help="Lines that the operator says the server knows of.")] = 0,
    head: Annotated[str, typer.Option(help="Hash of the last of them: `ledgers` in the run's run.json.")] = "",
) -> None:
    """Check that no line was changed, moved, added between others or cut, up to where the server has acknowledged them.

    The last acknowledgement lies beside the ledger. Who can write there could change both: ask the consortium's
    operator for length and head of this site in run.json, and give them with `--length` and `--head`.
    Ends with 0 where the ledger is whole, else with 30.
    """
    from client.ledger.report import state_of  # noqa: PLC0415 - as above

    known = _head(length, head)
    found, _ = _open(site)
    with found.opened() as book:
        book.require(known, "the operator")
        typer.echo(state_of(book))


@ledger.command()
def begin(
    site: Site = HERE,
    length: Annotated[int, typer.Option(min=0, help="Lines of a ledger that is lost: `ledgers` in run.json.")] = 0,
    head: Annotated[str, typer.Option(help="Hash of the last of them.")] = "",
) -> None:
    """Say that nothing of these images has left before this ledger.

    A budget (`policy.dp_epsilon`) and a list of sites for secure aggregation need that. An empty ledger would else be
    a full budget again, and figures that left under masks would leave once more: on a new disk, in another state
    folder, under another name of the site, in a second config for the same images. Where a ledger is lost or damaged
    and no copy is left, name its end as the consortium's operator has it with `--length` and `--head`. What it knew is
    then known no more. Spent privacy and rounds: lower `dp_epsilon` and `rounds_total` by them. Seeds of masked
    runs: join no run with one of them, masked or not (`policy.secure_aggregation_required` keeps all figures under
    masks). What can't be used stays beside the new ledger under a name that begins with *lost*, and the ledger
    keeps the statement. A run that goes on has to be joined again: the operator resumes it.
    """
    from client.ledger.report import state_of  # noqa: PLC0415 - as above
    from ra_core.errors import ConfigError  # noqa: PLC0415

    lost = _head(length, head)
    found, config = _open(site)
    with found.opened(renew=lost.length > 0) as book:
        if lost in book.replaced:
            raise ConfigError("this ledger has begun", "`ra-client ledger show` has when")
        book.begin(lost, config.policy.digest())
        typer.echo(state_of(book))


@ledger.command()
def report(
    site: Site = HERE,
    out: Annotated[Path | None, typer.Option(help="HTML page to write; without it, report.html by the ledger.")] = None,
) -> None:
    """Make one page for the data-protection officer: what left, in which runs, under which policy, what was kept back.

    Prints it as text and writes it as HTML. It holds counts, names of runs and of layers; no image, file or patient.
    """
    from client.ledger.page import as_page, as_text  # noqa: PLC0415
    from client.ledger.report import make_report  # noqa: PLC0415 - as above
    from client.models import models, state_folder  # noqa: PLC0415
    from ra_core.files import write_atomically  # noqa: PLC0415

    found, config = _open(site)
    with found.opened() as book:
        made = make_report(book, config, models(state_folder(site)))
    page = out or found.folder / "report.html"
    write_atomically(page, as_page(made), mode=0o600)
    for line in as_text(made):
        typer.echo(line)
    typer.echo(f"\nwrote {page}")


def _head(length: int, head: str) -> Head:
    from client.ledger.line import EMPTY, Head  # noqa: PLC0415 - as above
    from ra_core.config import DIGEST  # noqa: PLC0415
    from ra_core.errors import ConfigError  # noqa: PLC0415

    if not length and not head:
        return EMPTY
    if not (length and DIGEST.fullmatch(head)):
        raise ConfigError("--length and --head belong together", "give both as they stand in run.json")
    return Head(length, head)


def _open(site: Path) -> tuple[Ledger, SiteConfig]:
    from client.ledger.book import Ledger  # noqa: PLC0415 - as above
    from client.models import state_folder  # noqa: PLC0415
    from ra_core.config import SiteConfig  # noqa: PLC0415
    from ra_core.settings import load_config  # noqa: PLC0415

    config = load_config(site, SiteConfig)
    return Ledger.of(state_folder(site), config.data.site), config
