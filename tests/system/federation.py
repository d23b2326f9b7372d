"""A whole federation on loopback, as people would run it: real commands, private ports and homes, ended by pid."""

import contextlib
import json
import os
import signal
import subprocess
import time

import psutil
import yaml
from consortia import addresses
from hospitals import tiny_federation, write_hospitals
from planted import named, plant

from client.member.station import MARKER as SITE
from ra_core.daemons.events import read_events
from ra_core.daemons.health import serving
from ra_core.daemons.processes import end_all, executable
from server.consortium import load_consortium
from server.flower import control
from server.operation.daemon import MARKER as SERVER
from server.operation.daemon import health_addresses
from server.operation.keeper import online_since

PATIENCE = 900
"""Seconds after which something is taken for hung."""

HIDDEN = ("PYTHONPATH", "RA_DATA", SERVER, SITE)


def wait_until(condition, what, patience=PATIENCE, pause=0.1):
    """Wait for a condition, asked with a pause in between; its value."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(pause)
    return found


def told(path, kind=None):
    """What has been told in a file of events, or of one kind of it."""
    return [event for event in read_events(path)[0] if kind in (None, event["event"])]


def marked(marker, value, word=""):
    """Processes with this variable in their environment, and with a word in their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(marker) == value and word in " ".join(process.cmdline()):
                found.append(process)
    return found


class Federation:
    """Everything of one consortium is under `folder`: `server/` has consortium.yaml, `sites/` one config a site.

    Use it as a context: at its end, every process that it started is ended. The sites' files and patients have names,
    none of which may be at the server then, whatever went wrong in between.
    """

    def __init__(self, folder, site_root, names=("anna", "berta"), **settings):
        self.folder, self.site_root, self.names = folder, plant(site_root, folder / "images"), names
        self.server_folder = folder / "server"
        self.server_folder.mkdir(parents=True)
        self.env = {name: value for name, value in os.environ.items() if name not in HIDDEN} | {
            "RA_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
            "PIP_NO_INDEX": "1",
        }
        self.daemons = {}
        self.save(addresses() | {"name": "Test", "sites": list(names)} | settings)
        self.nodes = {node.site: node for node in write_hospitals(self.site_root, folder / "sites", names)}

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        for process in self.daemons.values():
            process.terminate()
        for process in self.daemons.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()
        end_all(SERVER, str(self.consortium.folder), grace=1)
        for name in self.names:
            end_all(SITE, str(self.state(name)), grace=1)
        assert failed or named(self.outside()) == {}

    def outside(self):
        """What is the server's, by name: what its daemon printed, and every file with its name."""
        log = self.folder / "server.log"
        for path in (log, *sorted(self.server_folder.rglob("*"))):
            content = path.read_bytes() if path.is_file() else b""
            yield str(path.relative_to(self.folder)), path.name.encode() + b"\n" + content

    def save(self, settings):
        """Write consortium.yaml."""
        (self.server_folder / "consortium.yaml").write_text(yaml.safe_dump(settings))

    @property
    def consortium(self):
        return load_consortium(self.server_folder / "consortium.yaml")

    def command(self, *arguments, folder=None, program="ra-server"):
        """Start one of our programs; `finish` waits for its end."""
        return subprocess.Popen(  # noqa: S603 - our own command
            [executable(program), *map(str, arguments)],
            cwd=folder or self.server_folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def server(self, *arguments, code=0):
        """Run `ra-server` to its end, which has to be with this code; the value is what it printed, on both."""
        return self.finish(self.command(*arguments), code)

    def client(self, *arguments, code=0):
        """Likewise, `ra-client` in the folder of the sites."""
        return self.finish(self.command(*arguments, folder=self.folder / "sites", program="ra-client"), code)

    @staticmethod
    def finish(process, code=0):
        """Wait for the end of a command, which has to be with this code; the value is what it printed, on both."""
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == code, stdout + stderr
        return stdout + stderr

    def provision(self):
        """Keys, certificates and kits; and the server's part in each site's config."""
        self.server("provision")
        for name in self.names:
            self.join_config(name)

    def join_config(self, name):
        """Add to a site's config what its kit holds."""
        kit = self.consortium.kits / name
        server = yaml.safe_load((kit / "site.yaml").read_text())["server"]
        server |= {"ca_certificate": str(kit / "ca.crt"), "private_key": f"{name}.key"}
        data = yaml.safe_load(self.config(name).read_text())["data"] | {"root": str(self.site_root)}
        self.change_site(name, server=server, state=f"{name}_state", data=data)

    def change_site(self, name, **settings):
        """Set keys of a site's config."""
        path = self.config(name)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | settings))

    def change_server(self, name, **settings):
        """Set keys of the server's part of a site's config."""
        self.change_site(name, server=yaml.safe_load(self.config(name).read_text())["server"] | settings)

    def config(self, name):
        return self.nodes[name].site_config

    def state(self, name):
        return self.folder / "sites" / f"{name}_state"

    def environment(self, name):
        """Of the server's daemon, or of a site's."""
        return self.env

    def start_server(self):
        """Start the server's daemon; it serves when this returns."""
        self._start("server", "ra-server", self.server_folder, "start")
        wait_until(lambda: self._serves() or self.ended("server"), "the server serves")

    def _serves(self):
        """Whether both programs of this daemon serve, not those that a killed one has left."""
        events = self.told()
        ours = [place for place, event in enumerate(events) if event.get("pid") == self.daemons["server"].pid]
        programs = (
            {event.get("process") for event in events[ours[-1] :] if event["event"] == "started"} if ours else set()
        )
        addresses = health_addresses(self.consortium.config)
        return programs == set(addresses) and all(map(serving, addresses.values()))

    def admit(self, name):
        """A key for a site, let in."""
        key = self.folder / "sites" / f"{name}.key"
        if not key.exists():
            self.client("keygen", self.config(name))
        return self.server("admit", name, f"{key}.pub")

    def start_site(self, name):
        """Start a site's daemon; it need not be online when this returns."""
        self._start(name, "ra-client", self.folder / "sites", "start", self.config(name))

    def await_online(self, *names):
        """Wait until the server sees sites."""
        # Each look is a process of Flower's, which would take the time that the sites need.
        wait_until(lambda: set(names) <= self.online() or any(map(self.ended, names)), f"{names} are online", pause=2)

    def online(self):
        """Names of the sites that the server sees."""
        return set(online_since(self.consortium, control(self.consortium).nodes()))

    def up(self, *names):
        """All of it: the server, and every site, or those named, admitted and online."""
        self.provision()
        self.start_server()
        self.join(*(names or self.names))
        return self

    def join(self, *names):
        """Have sites admitted, started and online."""
        for name in names:
            self.admit(name)
            self.start_site(name)
        self.await_online(*names)

    def study(self, name="study", **federation):
        """Write a tiny study's settings beside consortium.yaml."""
        study = tiny_federation(**federation)
        path = self.server_folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(study.model_dump(mode="json", exclude_defaults=True)))
        return path

    def run(self, name="study"):
        """The folder of a run."""
        return self.consortium.run(name)

    def result(self, name="study"):
        """What run.json says."""
        return json.loads((self.run(name) / "run.json").read_text())

    def events(self, name="study", kind=None):
        """What has happened in a run, or of one kind of it."""
        return told(self.run(name) / "events.jsonl", kind)

    def told(self, kind=None):
        """What the server's daemon has told."""
        return told(self.consortium.events, kind)

    def await_event(self, kind, run="study", count=1, patience=PATIENCE):
        """Wait for so many events of a run; the last."""
        wait_until(lambda: len(self.events(run, kind)) >= count, f"{count} x {kind}", patience)
        return self.events(run, kind)[-1]

    def process(self, name):
        """The newest process of one of the server's programs: superlink or executor."""
        return psutil.Process(self.pids(name)[-1])

    def pids(self, name):
        """Of all processes of such a program so far."""
        return [event["pid"] for event in self.told("started") if event["process"] == name]

    def apps(self):
        """Processes of the server's app."""
        return self.processes("flwr-serverapp")

    def processes(self, word=""):
        """All that belong to the server's daemon, but itself; or those with a word in their command line."""
        return marked(SERVER, str(self.consortium.folder), word)

    def kill(self, name, number=signal.SIGKILL):
        """Send a signal to a daemon that this started, and wait for its end."""
        process = self.daemons.pop(name)
        process.send_signal(number)
        process.wait(PATIENCE)
        return process.returncode

    def log(self, name):
        """What a daemon has printed."""
        return (self.folder / f"{name}.log").read_text()

    def ended(self, name):
        """False as long as a daemon runs; fails with its words once it has ended."""
        assert self.daemons[name].poll() is None, self.log(name)
        return False

    def _start(self, name, program, folder, *arguments):
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(  # noqa: S603 - our own command
                [executable(program), *map(str, arguments)],
                cwd=folder,
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
