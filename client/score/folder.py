"""The folder that scores are written to: for its owner alone, and marked as not to leave the site."""

from __future__ import annotations

from pathlib import Path

from ra_core.errors import ResumeError
from ra_core.files import sweep, write_atomically

__all__ = ["MARK", "ScoreFolder"]

MARK = "SITE_ONLY.txt"

_NOTICE = """\
THIS FOLDER STAYS AT THE SITE.

It shows patients' images, names their files and, in DICOM results, the patients themselves.
Do not copy it to anyone outside the hospital, nor to the consortium.

Scores and maps are research results of a model. They are not for diagnosis.
"""


class ScoreFolder:
    """Where results go. Every file is written whole or not at all, and readable by its owner only.

    Args:
        root: made where it is missing.

    Raises:
        ResumeError: it holds something else.
        OSError: it can't be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        if not (root / MARK).exists() and any(root.iterdir()):
            raise ResumeError("the output folder holds other files", "give a new or empty folder in --out")
        root.chmod(0o700)
        sweep(root, "**/")
        self.write(MARK, _NOTICE.encode())

    def write(self, name: str, content: bytes) -> None:
        """Write one file under the root."""
        path = self.root / name
        for folder in reversed(Path(name).parents):
            (self.root / folder).mkdir(mode=0o700, exist_ok=True)
        write_atomically(path, content, mode=0o600)
