"""Cells in processes of their own, several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context

from ra_core.errors import RAError
from ra_core.words import duration
from simulation.grid.beat import BEAT
from simulation.grid.cells import Cell

__all__ = ["in_processes"]


def in_processes(
    task: Callable[[str], None], cells: Sequence[Cell], jobs: int, until: float | None, say: Callable[[str], None]
) -> Iterator[Cell]:
    """Cells as they get finished; now and then it is said which are being computed.

    Args:
        task: computes the cell of a key; can be pickled.
        cells: to compute, in this order.
        jobs: how many at a time.
        until: on `time.monotonic`'s clock, when no further cell is begun; None is never.
        say: told a line.

    Raises:
        RAError: of any kind: a cell failed, or its process was ended from outside.
    """
    queue, running = iter(cells), dict[Future[None], tuple[Cell, float]]()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        while True:
            begin = jobs - len(running) if until is None or time.monotonic() < until else 0
            running |= {pool.submit(task, cell.key): (cell, time.monotonic()) for cell in islice(queue, begin)}
            if not running:
                return
            done = wait(running, BEAT, FIRST_COMPLETED).done
            if not done:
                now = time.monotonic()
                say("; ".join(f"{cell.told}: for {duration(now - began)}" for cell, began in running.values()))
            for future in done:
                try:
                    future.result()
                except BrokenProcessPool:
                    told = "; ".join(cell.told for cell, _ in running.values())
                    raise RAError(
                        f"a process was ended from outside, mostly for want of memory, during: {told}",
                        "give fewer --jobs; the same command goes on from what is finished",
                    ) from None
                yield running.pop(future)[0]
