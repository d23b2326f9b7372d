"""A call of `ra-client score`, from its options to its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from client.score.folder import ScoreFolder
from client.score.history import History
from client.score.page import render_page
from client.score.stream import Outcome, score_all
from client.score.table import Table
from client.site import refuse_others_calibration
from ra_core.config import RuntimeConfig, SiteConfig
from ra_core.console import TerminalReporter, graceful_stop
from ra_core.data.readers.reading import USUAL_LIMITS
from ra_core.errors import ConfigError, NotScoredError
from ra_core.finding import find
from ra_core.model import Model, load
from ra_core.runtime import Runtime
from ra_core.settings import load_config

__all__ = ["run_score"]

_WHY = "scores.csv says why for each"


def run_score(
    paths: Sequence[Path],
    model: Path,
    out: Path,
    calibration: Path | None,
    weights: Path | None,
    site: Path | None,
    any_part: bool,
    device: str,
    threads: int,
) -> None:
    """Score all and say on the terminal, in counts alone, what came of it.

    Raises:
        NotScoredError: something could not be scored; all else was.
        KeyboardInterrupt: Ctrl-C or SIGTERM came; the same call goes on.
        RAError: options, model, output folder or history are unfit, or the calibration is another site's; nothing was
            scored.
    """
    reporter = TerminalReporter()
    runtime = Runtime.resolve(_runtime(device, threads), "fp32")
    config = load_config(site, SiteConfig) if site else None
    limits = config.limits if config else USUAL_LIMITS
    loaded = load(model, calibration, weights, str(runtime.device), limits, any_part)
    if config and loaded.calibration:
        refuse_others_calibration(loaded.calibration.site, config)
    folder = ScoreFolder(out)
    table = Table(out / "scores.csv", loaded.identity)
    history = _history(reporter, config, loaded)
    with reporter.counted("looking") as progress:
        items = find(paths, loaded.terms, out, progress, config.data if config else None)
    with graceful_stop() as stopped, reporter.task("scoring", len(items)) as move:
        outcome = score_all(loaded, items, table, folder, lambda done: move(done, ""), stopped, history)
        interrupted = stopped()
    table.tidy()
    folder.write("index.html", render_page(table.rows, loaded, out))
    _say(reporter, outcome, loaded)
    if interrupted:
        raise KeyboardInterrupt
    if outcome.lost:
        raise NotScoredError(f"{outcome.lost} of {len(items)} studies were not scored in full", _WHY)
    if not (outcome.scored or outcome.known):
        raise NotScoredError("nothing was scored", _WHY)


def _history(reporter: TerminalReporter, config: SiteConfig | None, model: Model) -> History | None:
    """Where the numbers of scored studies are counted; None where nothing is, which is said."""
    if config is None:
        lacking = "a site config (--site)"
    elif config.state is None:
        lacking = "a state folder (state) in the site config"
    elif model.calibration is None:
        lacking = "a calibration (`ra-client calibrate`)"
    else:
        return History(config.state, model.identity)
    reporter.say(f"no history is kept, so `ra-client drift` will not know of these studies: that needs {lacking}")
    return None


def _runtime(device: str, threads: int) -> RuntimeConfig:
    try:
        return RuntimeConfig(device=device, threads=threads)
    except ValueError:
        raise ConfigError(f"no device '{device}'", "give cpu, cuda or cuda:N") from None


def _say(reporter: TerminalReporter, outcome: Outcome, model: Model) -> None:
    known = f", {outcome.known} known from before" if outcome.known else ""
    above = f", {outcome.above} above the threshold" if model.calibration and model.calibration.decides else ""
    reporter.say(f"{outcome.scored} scored{known}{above}")
    for reason, count in sorted(outcome.reasons.items()):
        reporter.say(f"{count} × {reason}")
    for kind, volume in (("pictures by themselves", False), ("volumes", True)):
        reporter.say(f"{kind}: {model.told(volume)}")
    reporter.say("index.html in the output folder shows the highest score first; the folder stays at the site")
