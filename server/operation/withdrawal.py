"""A site takes back what it gave: it is shut out, its runs end, and models with a part of it are marked.

What it has sent is summed up in models and can't be taken out of them: a model without it has to be trained anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

from filelock import FileLock, Timeout

from ra_core.artifact import load_artifact, save_artifact
from ra_core.config import StudyConfig
from ra_core.daemons.events import read_events
from ra_core.errors import ArtifactError, ConfigError, FlowerError, RAError
from ra_core.rng import derive_seed
from ra_core.settings import load_config
from ra_core.words import listed, ranges
from server.consortium import Consortium
from server.flower import Flower
from server.operation.runs import Run
from server.provisioning.admission import revoke
from server.provisioning.registry import edited, load_site, save_site, timestamp
from server.rounds.account import RUNNING
from server.rounds.checkpoint import Checkpoints
from server.run_files import LOCK, MODEL

__all__ = ["study_without", "withdraw"]

STOP_SECONDS = 120.0
"""What the server's app gets to end in a run that was stopped: Flower tells it within a minute."""

LEFT = (
    "not undone: models that were delivered, published files, and whatever was scored with either stay with those who "
    "have them; nothing here can call them back, so ask for it",
    "kept here: checkpoints, models and records of these runs (counts, errors, heads of its ledger; no update is ever "
    "kept); delete a run's folder where that was agreed",
)


def withdraw(consortium: Consortium, flower: Flower, site: str, now: dt.datetime) -> Iterator[str]:
    """Shut a site out, end its runs, and mark what has a part of it; again, it changes only what is new.

    Args:
        consortium: of the operator.
        flower: its SuperLink.
        site: its name.
        now: the present.

    Yields:
        What was done, as it is done, and what wasn't, in lines.

    Raises:
        AdmissionError: the site is unknown.
        FlowerError: the SuperLink fails, or a run doesn't end; the site is out by then, all other runs are done, and
            the same again does what is left.
        ResumeError: a run's record or checkpoint is damaged; likewise.
        OSError: the disk is full or the folder can't be written.
    """
    yield from revoke(consortium, flower, site, now)
    when = _noted(consortium, site, now)
    troubles: list[RAError] = []
    for run in Run.all(consortium):
        try:
            yield from _from_run(run, flower, site, when)
        except RAError as error:
            troubles.append(error)
    yield from LEFT
    if troubles:
        raise troubles[0]


def study_without(run: Run, name: str) -> tuple[StudyConfig, list[str]]:
    """What trains a run's model again without those who withdrew from it: the study, and the other sites.

    The study has another seed. With the same one the first updates of the other sites would be the same again, and the
    difference of the two sums would show that of the site that withdrew, which secure aggregation has kept hidden.
    Another name gives yet another: a masked run that was lost can be made again.

    Args:
        run: that sites have withdrawn from.
        name: of the new one.

    Raises:
        ConfigError: there is no such run, nobody has withdrawn from it, or no site is left.
        ResumeError: its record is damaged.
    """
    record = run.record()
    if not record.withdrawn:
        raise ConfigError(f"no site has withdrawn from the run '{run.name}'", "there is nothing to train again")
    rest = [site for site in record.sites if site not in record.withdrawn]
    if not rest:
        raise ConfigError(f"all sites have withdrawn from the run '{run.name}'", "there is nobody to train with")
    study = load_config(run.study_file, StudyConfig)
    seed = derive_seed(study.seed, "without", *sorted(record.withdrawn), name) >> 32
    return study.model_copy(update={"seed": seed}), rest


def _noted(consortium: Consortium, site: str, now: dt.datetime) -> str:
    """When the site withdrew, which its record has from now on; a site that has stayed out since did so then."""
    with edited(consortium):
        record = load_site(consortium, site)
        if record.withdrawn < record.when:  # it has never withdrawn, or was let in again
            record = record.model_copy(update={"withdrawn": timestamp(now)})
            save_site(consortium, record)
    return record.withdrawn


def _from_run(run: Run, flower: Flower, site: str, when: str) -> Iterator[str]:
    record = run.record()
    if site not in record.sites:
        return
    goes_on = bool(record.submissions) and record.end is None
    if goes_on:
        run.stop(flower)
        yield f"stopped the run '{run.name}'"
    try:
        with FileLock(run.folder / LOCK, timeout=STOP_SECONDS):
            rounds = _rounds(run, site)
            if rounds:
                run.withdraw(site, when)
                yield f"'{run.name}': answers of {site} are in round {ranges(rounds)}; it is not started again"
                yield from _mark(run, site)
            elif goes_on:
                yield f"'{run.name}': no answer of {site} is in it; `ra-server resume '{run.name}'` goes on without"
    except Timeout:
        raise FlowerError(f"the run '{run.name}' doesn't end", "wait a minute, and give the command again") from None


def _rounds(run: Run, site: str) -> list[int]:
    """Rounds in which a site's answer counts, the closing exchange among them: it helped to choose the model.

    A run whose app was killed may have one more in its checkpoint, which is written before `run.json`.

    Raises:
        ResumeError: no checkpoint of such a run can be used, so that it isn't known.
    """
    told = run.result()
    found = {int(record["round"]) for record in told.get("rounds", ()) if site in record["answered"]}
    if told.get("state", RUNNING.state) == RUNNING.state:
        progress = Checkpoints(run.folder, run.record().study_digest).load()
        found |= {record.round for record in (progress.records if progress else ()) if site in record.answered}
    return sorted(found)


def _mark(run: Run, site: str) -> Iterator[str]:
    """Have the card of the run's model say who withdrew, and tell who has the model."""
    folder = run.folder / MODEL
    if folder.exists():
        try:
            artifact = load_artifact(folder)
        except ArtifactError as error:
            yield f"its model can't be used, so it can't be marked either: {error.message}"
            return
        gone = tuple(sorted({*artifact.card.withdrawn, site}))
        save_artifact(folder, replace(artifact, card=artifact.card.model_copy(update={"withdrawn": gone})))
        yield f"its model {artifact.card.model_hash[:16]} is marked: `ra-server publish` refuses it"
    if delivered := run.result().get("delivered"):
        yield f"its model was delivered to {listed(delivered)}"
    for event in read_events(run.events)[0]:
        if event["event"] == "published":
            yield f"its model was published on {event['time'][:10]} as {event.get('file')}"
