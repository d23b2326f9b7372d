"""Why a reader refuses a file; `read_pixels` adds the file's name and makes it a DataError."""

from __future__ import annotations

__all__ = ["Refusal", "refuse_size"]


class Refusal(Exception):  # noqa: N818 - says what it is
    """A reason and a hint, each on one line and free of anything that the file says about a patient."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def refuse_size(rows: int, columns: int, max_pixels: int) -> None:
    """Refuse a picture without pixels or with too many.

    Raises:
        Refusal: it is so.
    """
    if rows < 1 or columns < 1:
        raise Refusal(f"{rows} × {columns} pixels", "export the file again")
    if rows * columns > max_pixels:
        raise Refusal(f"{rows} × {columns} pixels are too many", f"export it with no more than {max_pixels} pixels")
