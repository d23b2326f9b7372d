"""What the three programs have in common on a terminal: progress bars, one-line errors with a hint, exit codes."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ra_core.errors import DataError, RAError

__all__ = ["INTERRUPTED", "Counter", "TerminalReporter", "graceful_stop", "new_app", "run_app"]

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""


class Counter(Protocol):
    """Told how much of how much is done, and of what."""

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        """Move the bar."""


class TerminalReporter:
    """Progress on standard error: bars on a terminal, a line now and then in a log."""

    def __init__(self) -> None:
        self.console = _console()
        if not self.console.is_terminal:
            self.console.width = 120

    def say(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text)

    @contextmanager
    def task(self, title: str, total: int | None, done: int = 0) -> Iterator[Callable[[int, str], None]]:
        """A bar with time left, or the time gone where `total` is None; the value, (done, detail), moves it."""
        if not self.console.is_terminal:
            yield self._lines(title, total)
            return
        counts = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *((TimeElapsedColumn(),) if total is None else counts),
            TextColumn("{task.fields[detail]}", markup=False),
        )
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task(title, total=total, completed=done, detail="")

            def move(done: int, detail: str) -> None:
                progress.update(bar, completed=done)
                if detail:
                    progress.update(bar, detail=detail)

            yield move

    @contextmanager
    def counted(self, title: str) -> Iterator[Counter]:
        """A bar for work that tells its length on the way; the value moves it."""
        moves: list[Callable[[int, str], None]] = []
        with ExitStack() as bar:

            def move(done: int, total: int, detail: str = "") -> None:
                if not moves:
                    moves.append(bar.enter_context(self.task(title, total)))
                moves[0](done, detail)

            yield move

    def _lines(self, title: str, total: int | None) -> Callable[[int, str], None]:
        """Every tenth of the way, or every new detail where the length is unknown."""
        said: set[int | str] = set()

        def move(done: int, detail: str) -> None:
            key = detail if total is None else 10 * done // total
            if key not in said:
                said.add(key)
                place = "" if total is None else f" {done}/{total}"
                self.console.print(f"{title}{place}" + (f": {detail}" if detail else ""))

        return move


def new_app(purpose: str, epilog: str = "") -> typer.Typer:
    """A program with the command that all have: `version`."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help=purpose,
        epilog=f"{epilog} Exit codes are listed in docs/exit_codes.md. Not a medical device.".strip(),
    )

    @app.callback()
    def _commands() -> None:
        # Without a callback typer folds a program's only command into the program itself.
        pass

    @app.command()
    def version() -> None:
        """Print the versions that a result may depend on, for a bug report."""
        from ra_core.runtime import software_versions  # noqa: PLC0415 - torch comes with it, and `--help` needs none

        for name, found in software_versions().items():
            typer.echo(f"{name} {found}")

    return app


def run_app(app: typer.Typer) -> None:
    """Run a program: an `RAError` becomes one line, its hint another, and its exit code; a signal stops cleanly.

    A terminal and its log may be seen by others than the site: of files, only paths that were typed are named.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except DataError as error:
        _complain(f"a file can't be used: {error.code}" if error.code else error.message, error.hint)
        sys.exit(error.exit_code)
    except RAError as error:
        _complain(error.message, error.hint)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder without rights: any write may meet them
        why = error.strerror or type(error).__name__
        _complain(f"{_typed(error.filename)}{why}", "check the folder's rights and the room on the disk")
        sys.exit(RAError.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # its message may quote a file or a patient
        _complain(f"{type(error).__name__}, a fault of the program", "report it with the lines below and `version`")
        for frame in traceback.extract_tb(error.__traceback__):
            _console().print(f"  {Path(frame.filename).name}, line {frame.lineno}, in {frame.name}")
        sys.exit(RAError.exit_code)


@contextmanager
def graceful_stop() -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and SIGTERM don't break in; the value tells whether one came. A second one breaks in."""
    requested: list[int] = []

    def request(number: int, frame: FrameType | None) -> None:
        if requested:
            _interrupt(number, frame)
        requested.append(number)

    earlier = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(requested)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _typed(filename: object) -> str:
    """The argument of the command line that led to a file, with a colon; "" where none did."""
    if not isinstance(filename, str):
        return ""
    there = Path(os.path.abspath(filename))
    values = [argument.rpartition("=")[2] for argument in sys.argv[1:]]
    leading = [value for value in values if value and there.is_relative_to(os.path.abspath(value))]
    return f"{max(leading, key=lambda value: len(os.path.abspath(value)))}: " if leading else ""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(message: str, hint: str) -> None:
    console = _console()
    console.print(Text.assemble(("error:", "bold red"), f" {message}"))
    if hint:
        console.print(Text.assemble(("hint:", "bold"), f" {hint}"))


def _console() -> Console:
    """Standard error; what is printed stays as it is, whatever brackets and colons a file name holds."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
