"""A masked round is made once: with another list of sites its two sums would tell a single site's figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ra_core.errors import MaskingError
from ra_core.files import sync_folder, write_atomically
from server.rounds.progress import Progress
from server.run_files import MASKED

__all__ = ["Once"]


@dataclass(frozen=True)
class Once:
    """Notes for which round masked figures were last asked for.

    Attributes:
        folder: of the run.
    """

    folder: Path

    def note(self, number: int) -> None:
        """Before they are asked for.

        Raises:
            OSError: the disk is full or the folder can't be written.
        """
        write_atomically(self.folder / MASKED, json.dumps({"round": number}).encode())
        sync_folder(self.folder)

    def require(self, progress: Progress) -> None:
        """Refuse to go on where an earlier start has asked for them in a round that is in no checkpoint.

        Raises:
            MaskingError: it has.
        """
        file = self.folder / MASKED
        if progress.closed or not file.exists():
            return
        try:
            number = int(json.loads(file.read_bytes())["round"])
        except (ValueError, TypeError, KeyError):
            raise MaskingError(f"{file}: is damaged", "begin another run, with another seed") from None
        if number > progress.round:
            raise MaskingError(
                f"round {number} of secure aggregation was broken off after masked figures were asked for, and sites "
                "give them once",
                "begin another run, with another seed; the checkpoint holds the models of the rounds before",
            )
