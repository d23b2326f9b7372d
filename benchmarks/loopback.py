"""A consortium on loopback, set up with the commands that operator and hospitals use: daemons, keys, TLS, own ports."""

import contextlib
import os
import subprocess
import time

import numpy as np
import yaml
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from PIL import Image
from reading import head

from ra_core.daemons.health import serving
from ra_core.daemons.processes import end_all, executable, free_ports, last_lines
from ra_core.data.manifest import manifest_bytes
from ra_core.keys import fingerprint
from server.consortium import PORTS, load_consortium
from server.flower import control
from server.operation.daemon import health_addresses
from server.operation.keeper import online_since

IMAGES = {"train": 40, "val": 12}
"""A site's. How many there are to train on doesn't matter: a round has so many steps."""

HIDDEN = ("PYTHONPATH", "RA_DATA", "RA_CONSORTIUM", "RA_STATION")
PATIENCE = 900


class Loopback:
    """As a context: server and sites are up within, and no process is left at its end. Each site works in its kit."""

    def __init__(self, folder, sites):
        self.folder, self.sites, self.started = folder, sites, []
        env = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        self.env = env | {"RA_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        port, *others = free_ports(1 + len(PORTS))
        address = f"127.0.0.1:{port}"
        settings = {"name": "Loopback", "address": address, "listen": address, "sites": list(sites)}
        settings |= dict(zip(PORTS, others, strict=True))
        (folder / "consortium.yaml").write_text(yaml.safe_dump(settings))
        self.consortium = load_consortium(folder / "consortium.yaml")

    def __enter__(self):
        try:
            self._up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.started:
            process.terminate()
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
        end_all("RA_CONSORTIUM", str(self.consortium.folder), grace=1)
        for site in self.sites:
            end_all("RA_STATION", str(self.kit(site) / "state"), grace=1)

    def _up(self):
        self.call(self.folder, "ra-server", "provision")
        self.start(self.folder, "ra-server", "start")
        health = health_addresses(self.consortium.config).values()
        self.until(lambda: all(map(serving, health)))
        for number, site in enumerate(self.sites):
            kit = self.kit(site)
            write_images(kit, site, np.random.default_rng(number))
            self.call(kit, "ra-client", "keygen", "site.yaml")
            self.call(self.folder, "ra-server", "admit", site, str(kit / "site.key.pub"))
            self.start(kit, "ra-client", "start", "site.yaml")
        flower = control(self.consortium)
        self.until(lambda: set(self.sites) == set(online_since(self.consortium, flower.nodes())))

    def introduce(self):
        """Each site pins all signing keys; orders read the config anew."""
        keys = {site: (self.kit(site) / "site.signing.key.pub").read_bytes() for site in self.sites}
        pins = {site: fingerprint(load_ssh_public_key(key)) for site, key in keys.items()}
        for site in self.sites:
            path = self.kit(site) / "site.yaml"
            settings = yaml.safe_load(path.read_text())
            settings["secure_aggregation"]["sites"] = pins
            path.write_text(yaml.safe_dump(settings))
            self.call(self.kit(site), "ra-client", "ledger", "begin", "site.yaml")

    def kit(self, site):
        return self.consortium.kits / site

    def call(self, folder, program, *arguments):
        """One of our commands, to its end, which has to be a good one."""
        process = self._popen(folder, program, arguments)
        if process.wait(PATIENCE):
            raise SystemExit(f"{program} {arguments[0]}: {last_lines(self._log(program, folder), 9)}")

    def start(self, folder, program, *arguments):
        """One of our commands, left running."""
        process = self._popen(folder, program, arguments)
        self.started.append(process)
        return process

    def until(self, condition):
        """Wait; a command that was left running and ends badly ends this too."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            bad = [process.args for process in self.started if process.poll()]
            if bad or time.monotonic() > deadline:
                raise SystemExit(f"waited in vain; ended: {bad}; of the logs:\n{self._last_words()}")
            time.sleep(0.05)

    def _last_words(self):
        """Of every log: by then the folder is gone."""
        return "\n".join(f"{log}: {last_lines(log, 9)}" for log in sorted(self.folder.rglob("ra-*.log")))

    def _log(self, program, folder):
        return folder / f"{program}.log"

    def _popen(self, folder, program, arguments):
        with self._log(program, folder).open("ab") as log:
            command = [executable(program), *arguments]
            return subprocess.Popen(command, cwd=folder, env=self.env, stdout=log, stderr=log)  # noqa: S603 - our own


def write_images(kit, site, rng):
    """A site's images and manifest, where its config looks for them; and one thread, for sites share the cores."""
    (kit / "images").mkdir()
    rows = []
    for split, count in IMAGES.items():
        for number in range(count):
            name = f"{split}{number}.png"
            Image.fromarray(head(rng)).save(kit / "images" / name)
            known = {"path": name, "site": site, "anatomy": "brain", "modality": "MR", "split": split}
            rows.append(known | {"label": "healthy", "patient_id": name})
    (kit / "images" / "manifest.csv").write_bytes(manifest_bytes(rows))
    config = kit / "site.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"runtime": {"threads": 1}}))
