"""What a federation costs over real processes: seconds of a round, bytes, memory of ServerApp and SuperLink, database.

Server and sites are on this machine: their network is loopback, and they share its cores.
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import yaml
from looks import MIB, app_memory, look, round_seconds, superlink_memory, this_machine
from loopback import Loopback

from ra_core.config import StudyConfig
from ra_core.daemons.events import read_events
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from server.flower import CONNECTION, control
from server.operation.runs import Run

HERE = Path(__file__).parent
DEFAULT = {"method": {"warmup_steps": 0}}  # introspective steps, the costly ones
QUICK = {"preprocessing": {"size": 64}, "method": {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 0}}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=2, help="over real processes")
    parser.add_argument("--rounds", type=int, default=3, help="over real processes")
    parser.add_argument("--steps", type=int, default=20, help="of a site in a round")
    parser.add_argument("--simulated", type=int, nargs="*", default=[2, 8, 32, 128], help="sites of a lone ServerApp")
    parser.add_argument("--masked", action="store_true", help="the same again with secure aggregation; from 3 sites")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that all works")
    given = parser.parse_args()
    settings = QUICK if given.quick else DEFAULT
    print(this_machine(1, "flwr", "cryptography"))
    with tempfile.TemporaryDirectory(prefix="ra-") as name:
        folder = Path(name)
        study = write_study(folder / "study.yaml", settings, rounds=given.rounds, local_steps=given.steps)
        size = model_bytes(study) / MIB
        print(f"model: {size:.2f} MiB; {given.sites} sites, {given.rounds} rounds of {given.steps} steps")
        if given.sites:
            over_processes(folder, study, [f"site{number}" for number in range(given.sites)], given.masked)
        for aggregation in ("mean", "trimmed_mean"):
            server_memory(folder / f"{aggregation}.yaml", settings, aggregation, given.simulated)


def write_study(path, settings, **federation):
    study = StudyConfig.model_validate(settings | {"federation": federation})
    path.write_text(yaml.safe_dump(study.model_dump(mode="json", exclude_defaults=True)))
    return study


def model_bytes(study):
    method = build_method(study.method, study.preprocessing.size, study.seed)
    return sum(tensor.nbytes for tensor in shared_tensors(method, study.federation).values())


def over_processes(folder, study, sites, masked):
    with Loopback(folder, sites) as loopback:
        consortium = loopback.consortium
        run = Run(consortium, "study")
        looks = watch(loopback, run)
        number = run.record().submissions[-1].number
        flower_counts = control(consortium).call("ls", CONNECTION, "--run-id", str(number))["runs"][0][
            "network-traffic"
        ]
        told = read_events(run.events)[0]
        heard = {site: read_events(loopback.kit(site) / "state" / "daemon.jsonl")[0] for site in sites}
        if masked:
            tell_masked(told, masked_run(loopback, study))
    pure = pure_training(loopback)
    tell_times([split(told, heard, number) for number in range(1, study.federation.rounds + 1)], pure)
    tell_looks(looks, len(sites), flower_counts)


def masked_run(loopback, study):
    """The events of the same study with secure aggregation."""
    loopback.introduce()
    agreed = {"threshold": 2 * len(loopback.sites) // 3 + 1}
    federation = study.federation.model_dump() | {"max_update_norm": None, "secure_aggregation": agreed}
    settings = study.model_dump(mode="json", exclude_defaults=True) | {"federation": federation}
    (loopback.folder / "masked.yaml").write_text(yaml.safe_dump(settings))
    process = loopback.start(loopback.folder, "ra-server", "run", "masked.yaml")
    loopback.until(lambda: process.poll() == 0)
    return read_events(Run(loopback.consortium, "masked").events)[0]


def tell_masked(plain, masked):
    seconds = [round_seconds(told) for told in (plain, masked)]
    rounds = ["/".join(f"{one:.1f}" for one in each) for each in seconds]
    more = fmean(seconds[1]) - fmean(seconds[0])
    print(f"seconds of each round and the closing exchange: plain {rounds[0]}, masked {rounds[1]}")
    print(f"secure aggregation adds {more:.1f} s to an exchange, {more / fmean(seconds[0]):.0%}")


def watch(loopback, run):
    """Run the study; looks before, after each exchange, and at the end."""
    process = loopback.start(loopback.folder, "ra-server", "run", "study.yaml")
    consortium, looks, offset, app, superlink = loopback.consortium, [], 0, 0.0, superlink_memory(loopback.consortium)
    looks.append(look(consortium, "before", superlink, app))
    while process.poll() is None:
        app, superlink = max(app, app_memory(consortium)), max(superlink, superlink_memory(consortium))
        told, offset = read_events(run.events, offset)
        for event in told:
            if event["event"] == "round_done":
                moment = "closing" if event["closing"] else f"round {event['round']}"
                looks.append(look(consortium, moment, superlink, app))
        time.sleep(0.1)
    loopback.until(lambda: process.returncode == 0)
    return [*looks, look(consortium, "end", superlink, app)]


def split(told, heard, number):
    """Seconds of a round, by the site that answered last."""
    here = {event["event"]: event for event in told if event.get("round") == number}
    last = here["answered"]  # the later one has taken the earlier one's place
    there = {event["event"]: event for event in heard[last["site"]] if event.get("round") == str(number)}
    moments = [here["round_started"], there["received"], there["answered"], last, here["round_done"]]
    times = [dt.datetime.fromisoformat(event["time"]).timestamp() for event in moments]
    return [after - before for before, after in pairwise(times)]


def pure_training(loopback):
    """Seconds of each part of a round without a federation: all sites at once, the slowest part each."""
    script, study = HERE / "pure_training.py", loopback.folder / "study.yaml"
    processes = [
        subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, script, str(time.time()), loopback.kit(site) / "site.yaml", study],
            env=loopback.env,
            stdout=subprocess.PIPE,
        )
        for site in loopback.sites
    ]
    found = [json.loads(process.communicate()[0]) for process in processes]
    return {part: max(parts[part] for parts in found) for part in found[0]}


def tell_times(rounds, pure):
    fetched, worked, sent, combined = sorted(rounds, key=sum)[len(rounds) // 2]  # of one round, so that they add up
    whole = fetched + worked + sent + combined
    over = whole - pure["training"]
    all_rounds = ", ".join(f"{sum(parts):.1f}" for parts in rounds)
    print(f"a round takes {whole:.1f} s ({all_rounds}), its pure training {pure['training']:.1f} s")
    print(f"overhead {over:.1f} s, {over / whole:.0%} of the round, {whole / pure['training']:.2f} x the training")
    rest = worked - sum(pure.values())
    print(f"load of the machine: {', '.join(f'{load:.1f}' for load in os.getloadavg())} in 1, 5, 15 minutes")
    if rest < 0:
        print("NOT VALID: alone, the parts took longer than all of them in a round, so the load was another one")
    rows = {
        "until the site has seen the order (it looks every 3 s)": fetched,
        "imports of the site's process": pure["imports"],
        "opening its images": pure["images"],
        "judging the model that came": pure["validation"],
        "the rest at the site: Flower's processes, model in and update out": rest,
        "until the server has the answer": sent,
        "combining, checkpoint and records": combined,
    }
    print("of the overhead, in seconds:")
    for what, seconds in rows.items():
        print(f"  {seconds:6.2f}  {what}")


def tell_looks(looks, sites, flower_counts):
    print("\nFlower, MiB       SuperLink  ServerApp   database   contents  messages   to a site  from a site")
    for before, now in zip([looks[0], *looks], looks, strict=False):
        out, back = (now.sent - before.sent) / sites, (now.received - before.received) / sites
        sizes = f"{now.superlink:10.1f} {now.app:10.1f} {now.database:10.1f} {now.stored:10.1f} {now.messages:9d}"
        print(f"  {now.moment:14s} {sizes} {out:11.2f} {back:11.2f}")
    inbound, outbound = (flower_counts[f"{way}bound-bytes"] / MIB for way in ("in", "out"))
    print(f"`flwr ls` counts {inbound:.2f} MiB from all sites and {outbound:.2f} MiB to them in the whole run")


def server_memory(study_file, settings, aggregation, counts):
    write_study(study_file, settings, rounds=2, local_steps=1, aggregation=aggregation)
    peaks = []
    for count in counts:
        before, peak, _ = lone_server(count, study_file)
        peaks.append(peak - before)
        print(
            f"{aggregation}, {count:3d} sites: ServerApp's peak {peak:5.0f} MiB, {peak - before:5.0f} over its imports"
        )
    if len(peaks) > 1:
        each = (peaks[-1] - peaks[-2]) / (counts[-1] - counts[-2])  # the first few are held at once by any of them
        print(f"{aggregation}: {each:.2f} MiB for each further site, from {counts[-2]} to {counts[-1]}")


def lone_server(sites, study_file):
    """MiB after the imports and at the peak, and seconds of an exchange, of a ServerApp in a fresh process."""
    command = [sys.executable, HERE / "server_memory.py", str(sites), study_file]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    before, peak, seconds = map(float, done.stdout.split())
    return before, peak, seconds


if __name__ == "__main__":
    main()
