"""A ledger on disk: opened by one process at a time, checked whole, and written before a message may leave."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from client.ledger.account import Account
from client.ledger.appending import append
from client.ledger.chain import LONGEST_LINE, faulty, read_lines
from client.ledger.line import EMPTY, Entry, Head, Line
from ra_core.config import DIGEST
from ra_core.daemons.events import moment
from ra_core.errors import LedgerError
from ra_core.files import sync_folder, write_atomically

__all__ = ["Book", "Ledger"]

PATIENCE = 60.0
"""Seconds within which another process that writes a line has done so."""

_PIECE = 1 << 20
"""Bytes of the file that are in memory at a time."""

_known: dict[Path, Book] = {}
"""By the file, what this process has checked of it before. A message opens its ledger up to four times, and to take a
thousand lines about a small model apart takes a second; to see that they are the same bytes, some hundredths of one."""


@dataclass(frozen=True)
class Ledger:
    """A site's ledger.

    Attributes:
        folder: of its own, in the site's state folder.
    """

    folder: Path

    @classmethod
    def of(cls, state: Path, site: str) -> Ledger:
        """In a state folder, which simulated sites share."""
        return cls(state / site / "ledger")

    @property
    def file(self) -> Path:
        """The lines."""
        return self.folder / "ledger.jsonl"

    @property
    def acknowledgement(self) -> Path:
        """Where it stands what the server has told of them."""
        return self.folder / "acknowledged.json"

    @property
    def acknowledged(self) -> Head:
        """Up to where the server has told that it has the messages.

        Raises:
            LedgerError: the file that says so was changed.
            OSError: it can't be read.
        """
        if not self.acknowledgement.exists():
            return EMPTY
        try:
            head = Head(**json.loads(self.acknowledgement.read_bytes()[:1000]))
            if head.length >= 1 and DIGEST.fullmatch(head.hash):
                return head
        except (ValueError, TypeError):
            pass
        raise faulty("acknowledged.json is not what was written")

    @contextmanager
    def opened(self, renew: bool = False) -> Iterator[Book]:
        """Within, no other process writes. The whole chain has been checked.

        Args:
            renew: set aside what can't be used, as `Book.renewed` does; for who gives a lost ledger up.

        Raises:
            LedgerError: it was changed, it can't be read or written, or another process keeps it.
        """
        try:
            self._make_folder()
            with FileLock(self.folder / ".lock").acquire(timeout=PATIENCE):
                yield Book.renewed(self) if renew else Book.read(self)
        except Timeout:
            raise LedgerError("another process keeps the ledger", "end it; `ra-client doctor` tells of it") from None
        except OSError as error:
            raise LedgerError(
                f"the ledger can't be read or written ({error.strerror or type(error).__name__})",
                "see to the room on the disk and to the rights of the state folder; until then nothing leaves",
            ) from None

    def set_aside(self, file: Path) -> None:
        """Give a file of this folder a name with the day and its hash, under which it stays.

        Raises:
            OSError: it can't be renamed.
        """
        file.rename(file.with_name(f"lost_{moment()[:10]}_{_sha256(file)[:16]}_{file.name}"))
        sync_folder(self.folder)

    def _make_folder(self) -> None:
        """Safe on the disk, as all folders above that are made for it: a lost one would lose the ledger."""
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in missing:
            sync_folder(folder.parent)


@dataclass
class Book(Account):
    """A ledger that this process alone has open.

    Attributes:
        ledger: where it is.
    """

    ledger: Ledger = field(kw_only=True)

    @classmethod
    def read(cls, ledger: Ledger) -> Book:
        """Check the chain, and that it holds what was acknowledged.

        Raises:
            LedgerError: it was changed.
            OSError: it can't be read.
        """
        book = cls._of_chain(ledger)
        book.require(ledger.acknowledged, "acknowledged.json")
        return book

    @classmethod
    def renewed(cls, ledger: Ledger) -> Book:
        """As `read`, but lines and acknowledgement that can't be used are set aside, so that a book can begin anew.

        Lines that are a chain stay, though some may be missing at its end: what they have spent stays spent.

        Raises:
            OSError: they can't be read or renamed.
        """
        try:
            book = cls._of_chain(ledger)
        except LedgerError:
            ledger.set_aside(ledger.file)
            book = cls(ledger=ledger)
        try:
            book.require(ledger.acknowledged, "acknowledged.json")
        except LedgerError:
            ledger.set_aside(ledger.acknowledgement)
        return book

    @classmethod
    def _of_chain(cls, ledger: Ledger) -> Book:
        known = _known.get(ledger.file)
        book = _known[ledger.file] = known if known and known._stands() else cls(ledger=ledger)
        for line in book._lines_after(book.whole, book.head):
            book.add(line)
        return book

    def _stands(self) -> bool:
        """Whether the file still begins with these very lines."""
        if not self.ledger.file.exists():
            return not self.whole
        found, left = hashlib.sha256(), self.whole
        with self.ledger.file.open("rb") as file:
            while left and (piece := file.read(min(left, _PIECE))):
                found.update(piece)
                left -= len(piece)
        return bool(found.digest() == self.digest.digest())

    @property
    def torn_bytes(self) -> int:
        """Bytes of a line that a crash has left unfinished; the next one sets them aside."""
        return self.ledger.file.stat().st_size - self.whole if self.ledger.file.exists() else 0

    def lines(self) -> Iterator[Line]:
        """All lines, checked, one at a time in memory.

        Raises:
            LedgerError: one isn't what was written.
            OSError: the file can't be read.
        """
        yield from self._lines_after(0, EMPTY)

    def _lines_after(self, place: int, head: Head) -> Iterator[Line]:
        if self.ledger.file.exists():
            with self.ledger.file.open("rb") as file:
                file.seek(place)
                yield from read_lines(file, head)

    def acknowledge(self, head: Head) -> None:
        """Keep up to where the server has the messages; what it has acknowledged before stays so.

        Args:
            head: as it came in an order; of length 0, the server knows of none.

        Raises:
            LedgerError: there is no such line, so the ledger was cut or written anew.
            OSError: it can't be kept.
        """
        self.require(head, "the server")
        if head.length > self.ledger.acknowledged.length and head not in self.replaced:
            content = json.dumps(head._asdict()).encode()
            write_atomically(self.ledger.acknowledgement, content, mode=0o600)
            sync_folder(self.ledger.folder)

    def begin(self, lost: Head, policy: str) -> None:
        """Note that the account of what has left begins with this ledger, and what was set aside for it.

        Args:
            lost: end of a ledger in whose place it is; `EMPTY` where there was none.
            policy: digest of the site's.

        Raises:
            OSError: as `append`.
        """
        what = {"length": lost.length, "head": lost.hash, "aside": [_told(path) for path in self._unnoted("lost_*")]}
        self.append(Entry(kind="begin", what=what, policy=policy))

    def append(self, entry: Entry) -> Head:
        """Write a line, and see it safe on the disk.

        Returns:
            Where the ledger ends now; the message may leave.

        Raises:
            OSError: it is not safe on the disk. A later call finds out what has become of it.
            LedgerError: it is too long; nothing was written.
        """
        self._set_aside()
        for torn in self._unnoted("torn_*"):
            self._write(Entry(kind="torn", what=_told(torn), policy=entry.policy))
        return self._write(entry)

    def _set_aside(self) -> None:
        """What a crash has left of a line that never was whole, so that its message has never left."""
        if self.torn_bytes:
            with self.ledger.file.open("r+b") as file:
                file.seek(self.whole)
                rest = file.read()
                name = f"torn_{self.head.length + 1}_{hashlib.sha256(rest).hexdigest()[:16]}"
                write_atomically(self.ledger.folder / name, rest, mode=0o600)
                sync_folder(self.ledger.folder)  # before they are gone from here
                file.truncate(self.whole)
                os.fsync(file.fileno())

    def _unnoted(self, pattern: str) -> list[Path]:
        """What was set aside, and stands in no note yet."""
        return [path for path in sorted(self.ledger.folder.glob(pattern)) if path.name not in self.noted]

    def _write(self, entry: Entry) -> Head:
        number, salt = self.head.length + 1, secrets.token_hex(16)
        line = Line(**vars(entry), number=number, time=moment(), previous=self.head.hash, salt=salt)
        if len(line.content) > LONGEST_LINE:
            raise LedgerError(
                f"a line of {len(line.content)} bytes is longer than any that is read again",
                "a model of fewer tensors, or a shorter message, has a shorter line",
            )
        append(self.ledger.file, line.content)
        self.add(line)
        return self.head


def _told(path: Path) -> dict[str, Any]:
    """A file that was set aside, as a line notes it."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
