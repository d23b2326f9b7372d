"""Every file in simulation/studies loads as what it is, and names sites that there are."""

from pathlib import Path

import pytest
import yaml

import simulation
from ra_core.config import StudyConfig
from ra_core.models.configs import CONFIGS
from ra_core.settings import load_config
from simulation.cohort import CohortConfig
from simulation.config import ExperimentConfig
from simulation.grid import GridConfig
from simulation.grid.arms import ARMS
from simulation.grid.cells import all_cells

STUDIES = Path(simulation.__file__).parent / "studies"
FILES = sorted(STUDIES.glob("*.yaml"))
GRIDS = [path for path in FILES if path.name.startswith("grid_")]
DEEP = ("brain", "virtual")
VIRTUAL = ("grid_virtual_arms", "grid_virtual_confirm", "grid_virtual_methods", "quickstart", "quickstart_full")
"""Lie beside the site configs of a cohort when they are run."""


def kind_of(path):
    keys = yaml.safe_load(path.read_text(encoding="utf-8")).keys()
    return GridConfig if "blocks" in keys else ExperimentConfig if "sites" in keys else StudyConfig


def trained(study):
    return [entry.config.stem for entry in study.sites if entry.is_trained_on]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_loads_and_its_sites_are_there(path):
    settings = load_config(path, kind_of(path))
    if isinstance(settings, StudyConfig):
        return
    if path.stem in VIRTUAL:
        hospitals = [hospital.name for hospital in CohortConfig().hospitals]
        assert [entry.config.as_posix() for entry in settings.sites] == [f"site_configs/{h}.yaml" for h in hospitals]
    else:
        assert all((path.parent / entry.config).exists() for entry in settings.sites)


def asked(name):
    study = load_config(STUDIES / f"{name}.yaml", GridConfig)
    cells = [cell for cell in all_cells(study, trained(study)) if cell.is_trained]
    return {(cell.study.method.name, cell.arm, cell.seed) for cell in cells}


@pytest.mark.parametrize("name", DEEP)
def test_every_method_is_pooled_and_federated(name):
    found = asked(f"grid_{name}_methods")
    for method, kind in CONFIGS.items():
        assert (method, "pooled", 0) in found
        assert ((method, "fedavg", 0) in found) == (not kind.local_only)


@pytest.mark.parametrize("name", DEEP)
def test_three_are_trained_in_all_ways_with_three_seeds(name):
    expected = {(m, arm, seed) for m in ("ra", "soft_intro_vae", "vae") for arm in ARMS for seed in (0, 1, 2)}
    assert asked(f"grid_{name}_arms") == expected


DIGESTS = {
    "grid_chest": {
        "shortcut.none.seed0": "62d3e63c65488ff3",
        "RA.pooled.seed0": "39184eeb7e07c564",
        "VAE.pooled.seed0": "244b1440fd800123",
        "PCA.fedavg.seed0": "ec24c0d08862702e",
    },
    "grid_virtual_arms": {"SI-VAE.local_norms.seed0": "a90d350c9dd98d6d"},
    "grid_brain_arms": {"RA.fedprox.seed1": "a0ae0cbf0db036df"},
    "grid_brain_methods": {"DDPM.fedavg.seed0": "0b07a0caa9b32097"},
}


@pytest.mark.parametrize("name", DIGESTS)
def test_finished_cells_stay_valid(name):
    """Settings that came later must not change the digest of cells that don't set them: see `cells.LATER`."""
    study = load_config(STUDIES / f"{name}.yaml", GridConfig)
    found = {cell.key: cell.digest("data")[:16] for cell in all_cells(study, trained(study))}
    assert {key: found[key] for key in DIGESTS[name]} == DIGESTS[name]


def test_a_vae_with_two_rates_differs_from_vae_in_them_alone():
    study = load_config(STUDIES / "grid_virtual_methods.yaml", GridConfig)
    ra, plain, ours = (study.methods[name].settings for name in ("RA", "VAE", "VAE two rates"))
    assert (ours.late_from, ours.late_learning_rate) == (ra.warmup_steps, ra.learning_rate)
    assert ours.learning_rate == ra.warmup_learning_rate
    assert ours.model_copy(update={"late_from": None, "late_learning_rate": None}) == plain
    cells = [cell for cell in all_cells(study, trained(study)) if cell.method in ("VAE", "VAE two rates")]
    assert len({cell.digest("") for cell in cells}) == len(cells) == 3


def test_the_confirmation_has_the_settings_of_what_it_confirms():
    ours, theirs = (load_config(STUDIES / f"grid_virtual_{name}.yaml", GridConfig) for name in ("confirm", "methods"))
    for part in ("sites", "study", "runtime", "adapt_steps"):
        assert getattr(ours, part) == getattr(theirs, part)
    assert list(ours.methods) == ["RA", "VAE", "VAE two rates", "DAE", "PCA", "PatchCore"]
    assert all(entry == theirs.methods[name] for name, entry in ours.methods.items())
    cells = [cell for cell in all_cells(ours, trained(ours)) if cell.is_trained]
    assert {(cell.method, cell.arm, cell.seed) for cell in cells} == {(name, "pooled", 0) for name in ours.methods}


@pytest.mark.parametrize("name", ["brain", "chest", "rsna", "wrist"])
def test_the_papers_studies_have_the_authors_batch_sizes(name):
    study = load_config(STUDIES / f"paper_{name}.yaml", GridConfig)
    sizes = {
        entry.settings.name: entry.batch_size or study.study.training.batch_size for entry in study.methods.values()
    }
    assert {method: size for method, size in sizes.items() if size != 8} == {"beta_vae": 64, "dae": 16, "ddpm": 16}
