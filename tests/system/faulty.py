"""A federation in which things are made to go wrong, or to wait, at a given call of a given function."""

import contextlib
import json
from pathlib import Path
from typing import ClassVar

from federation import SITE, Federation, told, wait_until
from hospitals import write_hospitals

from ra_core.config import RuntimeConfig
from ra_core.daemons.processes import end_all
from ra_core.hashing import array_digest
from simulation.engines import run_in_process

HOOKS = Path(__file__).parent / "hooks"
ANSWER, TRAINING = "client.rounds:Site.answer", "client.rounds:Site._train"


def simulated(study, site_root, folder, names):
    """Hashes of the best and of the last model that the same sites give in one process, undisturbed."""
    nodes = write_hospitals(site_root, folder / "hospitals", names)
    progress = run_in_process(study, nodes, RuntimeConfig(threads=1), folder / "run", lambda done, total: None)
    return array_digest(progress.best), array_digest(progress.model)


class Answering(Federation):
    """A federation in which sites answer what they are told to; `hooks/answers.py` makes it.

    Attributes:
        answers: by site, what it answers, as that file reads it.
    """

    answers: ClassVar = {}

    def environment(self, name):
        own = self.answers.get(name)
        hooked = {"PYTHONPATH": str(HOOKS), "RA_ANSWERS": json.dumps(own)} if own else {}
        return super().environment(name) | hooked


class Faulty(Federation):
    """A federation whose daemons take faults; `hooks/faults.py` makes them happen."""

    def environment(self, name):
        return super().environment(name) | {"PYTHONPATH": str(HOOKS), "RA_FAULTS": str(self.faults(name))}

    def faults(self, name):
        """Folder of the faults of the server, or of a site."""
        return self.folder / "faults" / name

    def fault(self, name, where, action="kill", after=0, about="", text=""):
        """Arrange for a fault in processes that the server, or a site, starts from now on.

        Args:
            name: "server", or a site.
            where: MODULE:FUNCTION; it happens before a call of that.
            action: kill, the process that calls; hold, until `let_go`; or raise an OSError, for as long as the file is
                there.
            after: how many calls go by before.
            about: only calls count of which a text or a path among the arguments has this in it.
            text: of the error.

        Returns:
            Its file, which is there until it has happened.
        """
        file = self.faults(name) / f"{where.replace(':', '-')}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        fault = {"where": where, "action": action, "after": after, "about": about, "text": text}
        file.write_text(json.dumps(fault))
        return file

    @contextlib.contextmanager
    def held(self, name, where=TRAINING, after=0):
        """Within, a site waits before it trains, or at another place; the value waits until it is there."""
        file = self.fault(name, where, "hold", after)
        sign = file.with_suffix(".held")
        try:
            yield lambda: wait_until(sign.exists, f"{name} is at {where}")
        finally:
            file.unlink()
            sign.unlink(missing_ok=True)

    def kill_site(self, name):
        """SIGKILL for a site's daemon and for all that it has started."""
        self.kill(name)
        end_all(SITE, str(self.state(name)), grace=0)

    def connections(self, name):
        """How often a site has connected so far."""
        return len(told(self.state(name) / "daemon.jsonl", "connected"))

    def bring_back(self, name):
        """Start a killed site again; it is connected when this returns."""
        before = self.connections(name)
        self.start_site(name)
        wait_until(lambda: self.connections(name) > before or self.ended(name), f"{name} is back")

    def hashes(self, run):
        """Of the best and of the last model of a run."""
        result = self.result(run)
        return result["model_hash"], result["last_model_hash"]
