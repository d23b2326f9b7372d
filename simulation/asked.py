"""What a command line asks for, as settings. Apart from it, since help needs none of them; and without torch."""

from __future__ import annotations

from pathlib import Path

from ra_core.config import SiteConfig, StudyConfig
from ra_core.settings import commented_yaml, load_config
from simulation.config import ExperimentConfig, SiteEntry
from simulation.grid.config import GridConfig

__all__ = ["experiment_of_site", "overridden", "printed", "quickstart_of"]

STUDIES = Path(__file__).parent / "studies"


def quickstart_of(full: bool) -> ExperimentConfig:
    """The experiment on virtual hospitals, short or full."""
    return load_config(STUDIES / ("quickstart_full.yaml" if full else "quickstart.yaml"), ExperimentConfig)


def experiment_of_site(site: Path, study: Path | None) -> ExperimentConfig:
    """One site's own model.

    Args:
        site: its config.
        study: study config; without it, the defaults.

    Raises:
        ConfigError: one of the files is none, or not valid.
    """
    site_config = load_config(site, SiteConfig)
    return ExperimentConfig(
        title=site_config.name,
        sites=(SiteEntry(config=site.resolve()),),
        federated=False,
        local=(site_config.data.site,),
        runtime=site_config.runtime,
        study=load_config(study, StudyConfig) if study else StudyConfig(),
    )


def overridden(
    config: ExperimentConfig, precision: str | None, threads: int | None, seed: int | None
) -> ExperimentConfig:
    """The same with what the command line says instead; None changes nothing."""
    study, runtime = config.study, config.runtime
    if precision is not None:
        study = study.model_copy(update={"training": study.training.model_copy(update={"precision": precision})})
    if seed is not None:
        study = study.model_copy(update={"seed": seed})
    if threads is not None:
        runtime = runtime.model_copy(update={"threads": threads})
    return config.model_copy(update={"study": study, "runtime": runtime})


def printed(kind: str) -> str:
    """A commented default of "study", "experiment" or "grid"."""
    experiment = {"title": "My sites", "sites": [{"config": "site_a.yaml"}, {"config": "site_b.yaml"}]}
    grid = experiment | {
        "methods": {"RA": {"settings": {"name": "ra"}}, "PCA": {"settings": {"name": "pca"}}},
        "blocks": [{"methods": ["all"], "arms": ["local", "pooled", "fedavg"], "seeds": [0]}],
    }
    if kind == "grid":
        return commented_yaml(GridConfig, grid)
    return commented_yaml(ExperimentConfig, experiment) if kind == "experiment" else commented_yaml(StudyConfig)
