"""What the lines of a ledger come to: where it ends, and what has left and been spent so far."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from client.ledger.answered import Answered
from client.ledger.chain import faulty
from client.ledger.line import EMPTY, Head, Line, Spending, Spent
from ra_core.words import counted

__all__ = ["Account"]


@dataclass
class Account:
    """Grows line by line.

    Attributes:
        hashes: of the lines, from the first.
        spent: updates that have left.
        unbounded: how many of them without differential privacy.
        spendings: of privacy, from the first.
        unused: the last of them, until an update leaves for it.
        answered: for which models, and with which seeds, figures have left.
        replaced: ends of lost ledgers in whose place this one is, an empty one among them.
        noted: files of what was set aside, that a line tells of.
        whole: bytes that the lines have; what a crash has left of one more comes after them.
        digest: SHA-256 over these bytes.
    """

    hashes: list[str] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    unbounded: int = 0
    spendings: list[Spending] = field(default_factory=list)
    unused: Spending | None = None
    answered: Answered = field(default_factory=Answered)
    replaced: set[Head] = field(default_factory=set)
    noted: set[str] = field(default_factory=set)
    whole: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def head(self) -> Head:
        """Where the ledger ends."""
        return Head(len(self.hashes), self.hashes[-1]) if self.hashes else EMPTY

    @property
    def begun(self) -> bool:
        """Whether the site has said that nothing has left before this ledger, but what a lost one knew."""
        return bool(self.replaced)

    def require(self, head: Head, who: str) -> None:
        """The ledger holds what somebody knows of it, or is in place of that.

        Raises:
            LedgerError: neither.
        """
        if head in self.replaced:
            return
        if head.length > len(self.hashes):
            raise faulty(f"{who} knows of {counted(head.length, 'line')}, and it has {len(self.hashes)}")
        if head.length and self.hashes[head.length - 1] != head.hash:
            raise faulty(f"line {head.length} is not the one that {who} knows of")

    def add(self, line: Line) -> None:
        """Take in the next line, which has been checked."""
        self.hashes.append(line.hash)
        self.whole += len(line.content)
        if line.replaced:
            self.replaced.add(line.replaced)
        self.noted.update(line.noted)
        self.answered.add(line)
        if line.spent:
            self.spent.append(line.spent)
            self.unbounded += line.privacy is None
            self.unused = None
        if line.spending:
            self.spendings.append(line.spending)
            self.unused = line.spending
        self.digest.update(line.content)  # the last: what was broken off before is read anew from the file
