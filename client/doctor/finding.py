"""What one of the doctor's checks found out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ra_core.errors import DataError, RAError

__all__ = ["Finding", "State", "look"]


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check found out.

    Attributes:
        check: its name.
        state: how it ended.
        what: was found; no patient, and no path but one that was typed.
        fix: what to do about a problem.
        code: exit code of the problem's kind; 0 without one.
    """

    check: str
    state: State
    what: str
    fix: str = ""
    code: int = 0


def look(name: str, step: Callable[[], str]) -> Finding:
    """Take a step; its value is what was found, and its error is the problem."""
    try:
        return Finding(name, State.OK, step())
    except DataError as error:  # its text may name a file
        return Finding(name, State.PROBLEM, error.code or error.message, error.hint, error.exit_code)
    except RAError as error:
        return Finding(name, State.PROBLEM, error.message, error.hint, error.exit_code)
    except OSError as error:
        why = error.strerror or type(error).__name__
        return Finding(name, State.PROBLEM, why, "check the folder's rights and the disk", RAError.exit_code)
