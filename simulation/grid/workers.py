"""Cells in processes of their own, several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import active_children, get_context

from ra_core.errors import RAError
from ra_core.words import duration
from simulation.grid.beat import BEAT
from simulation.grid.cells import Cell

__all__ = ["in_processes"]

Running = dict[Future[None], tuple[Cell, float]]
"""What a process computes, and when it was begun."""

_GRACE = 10.0
"""Seconds that workers have to end by themselves after an interrupt."""


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
        KeyboardInterrupt: stopped, and so are the processes.
    """
    queue, running = iter(cells), Running()
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        try:
            while True:
                begin = jobs - len(running) if until is None or time.monotonic() < until else 0
                running |= {pool.submit(task, cell.key): (cell, time.monotonic()) for cell in islice(queue, begin)}
                if not running:
                    return
                for future in _ended(running, say):
                    yield running.pop(future)[0]
        except (KeyboardInterrupt, GeneratorExit):
            _stop(running)
            raise


def _ended(running: Running, say: Callable[[str], None]) -> Iterator[Future[None]]:
    """Those that have ended, at least one or after a while none; then it is said what is being computed."""
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
        yield future


def _stop(running: Iterable[Future[None]]) -> None:
    """End all workers. A terminal's Ctrl-C reaches them too, and they keep a checkpoint; SIGTERM comes here alone."""
    wait(running, _GRACE)
    for worker in active_children():
        worker.terminate()
