"""What the daemons of hospital and server have in common: children that are kept alive, events as JSON lines, units.

The only place of `ra_core`, beside `messages.py`, that knows of a network; nothing else in `ra_core` imports it.
"""

from ra_core.daemons.events import Events, read_events
from ra_core.daemons.health import serving
from ra_core.daemons.processes import end_all, executable, free_port, last_lines
from ra_core.daemons.supervisor import Program, Supervisor
from ra_core.daemons.units import unit

__all__ = [
    "Events",
    "Program",
    "Supervisor",
    "end_all",
    "executable",
    "free_port",
    "last_lines",
    "read_events",
    "serving",
    "unit",
]
