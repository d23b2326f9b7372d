"""What `ra-server run`, `resume` and `stop` do, and `withdraw` where it trains again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ra_core.config import StudyConfig
from ra_core.console import TerminalReporter
from ra_core.errors import AdmissionError, ConfigError, ConnectError, MaskingError
from ra_core.installed import refuse_foreign
from ra_core.masking.terms import require_threshold
from ra_core.settings import load_config
from server.consortium import Consortium
from server.flower import control
from server.operation.daemon import running
from server.operation.follow import follow, raise_unless_complete
from server.operation.runs import Run
from server.operation.utility import utility
from server.operation.withdrawal import study_without
from server.provisioning.registry import load_sites
from server.rounds.run_settings import load_study

__all__ = ["resume_run", "retrain_run", "start_run", "stop_run"]


def start_run(consortium: Consortium, study_file: Path, name: str, sites: Sequence[str]) -> None:
    """Start a run, or join one that goes on, and follow it to its end.

    Args:
        consortium: whose daemon runs.
        study_file: settings of the study.
        name: of the run; the study file's if empty.
        sites: that have to be there; all of the consortium if empty.

    Raises:
        RAError: of any kind: whatever the run ended with, unless it is completed.
    """
    refuse_foreign()
    _start(consortium, load_study(study_file), name or study_file.stem, sites)


def retrain_run(consortium: Consortium, name: str, new_name: str, tell: Callable[[str], None]) -> None:
    """Train a run again without the sites that withdrew from it, and tell what that changes.

    Args:
        consortium: whose daemon runs.
        name: of the run.
        new_name: of the new one; made of the old name and the sites if empty.
        tell: gets lines.

    Raises:
        RAError: as `start_run`; or nobody has withdrawn from the run, or nobody is left.
    """
    refuse_foreign()
    old = Run(consortium, name)
    new = Run(consortium, new_name or "-".join([name, "without", *old.record().withdrawn]))
    study, sites = study_without(old, new.name)
    try:
        _start(consortium, study, new.name, sites)
    finally:
        for line in utility(old, new):
            tell(line)


def _start(consortium: Consortium, study: StudyConfig, name: str, sites: Sequence[str]) -> None:
    agreed = _agreed(consortium, sites)
    if masking := study.federation.secure_aggregation:
        require_threshold(masking.threshold, len(agreed))
    _require_daemon(consortium)
    run = Run(consortium, name)
    run.agree(study, agreed)
    _go_on(run)


def resume_run(consortium: Consortium, name: str) -> None:
    """Go on with a run that was stopped or has failed, and follow it to its end.

    Raises:
        RAError: as `start_run`.
    """
    refuse_foreign()
    _require_daemon(consortium)
    _go_on(Run(consortium, name))


def stop_run(consortium: Consortium, name: str, despite_masks: bool = False) -> None:
    """End a run after the message that its sites are at.

    Args:
        consortium: whose daemon runs.
        name: of the run.
        despite_masks: also within a masked round whose figures were asked for; nothing goes on with the run then.

    Raises:
        MaskingError: it is within such a round.
        RAError: there is no such run, it has ended, or Flower can't be reached.
    """
    _require_daemon(consortium)
    run = Run(consortium, name)
    if run.record().end is None and not despite_masks and (number := run.masked_round()):
        raise MaskingError(
            f"round {number} of '{name}' is under masks: sites give these figures once, so that a run that is stopped "
            "now can never be resumed",
            "wait for the round's end (`ra-server status`), or give --despite-masks",
        )
    run.stop(control(consortium))


def _agreed(consortium: Consortium, sites: Sequence[str]) -> list[str]:
    """The names of the sites that have to be there, in the consortium's order.

    Raises:
        ConfigError: one is of no consortium, or stands there twice.
        AdmissionError: one is not admitted.
    """
    known = consortium.config.sites
    strange = [site for site in sites if site not in known or list(sites).count(site) > 1]
    if strange:
        raise ConfigError(f"--sites: '{strange[0]}' is unknown or stands there twice", f"sites are: {', '.join(known)}")
    agreed = [site for site in known if not sites or site in sites]
    records = load_sites(consortium)
    for site in agreed:
        state = records[site].state if site in records else "not provisioned"
        if state != "admitted":
            hint = f"`ra-server admit '{site}' KEY.pub`, or name the others with --sites"
            raise AdmissionError(f"the site '{site}' is {state}", hint)
    return agreed


def _require_daemon(consortium: Consortium) -> None:
    if not running(consortium):
        hint = f"start it in another terminal, or as a service: ra-server start {consortium.file.name}"
        raise ConnectError("the consortium's daemon doesn't run", hint)


def _go_on(run: Run) -> None:
    """Submit a run, unless it goes on or nothing of it is left to do, and follow it."""
    end = run.record().end
    if end is None or end.state in ("failed", "stopped") or run.result().get("undelivered"):
        run.submit(control(run.consortium), "asked")
    reporter = TerminalReporter()
    total = load_config(run.study_file, StudyConfig).federation.rounds
    try:
        with reporter.task("rounds", total) as bar:
            end = follow(run, reporter.say, bar, lambda: bool(running(run.consortium)))
    except KeyboardInterrupt:
        reporter.say(f"the run '{run.name}' goes on: `ra-server run` again follows it, `ra-server stop` ends it")
        raise
    raise_unless_complete(run.name, end)
    reporter.say(f"the run '{run.name}' is completed: all agreed sites were in all of it")
