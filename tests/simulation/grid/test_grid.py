import base64
import csv
import io
import shutil
import subprocess
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from hospitals import write_hospitals
from PIL import Image

from ra_core.config import StudyConfig
from ra_core.errors import ConfigError, RAError, ResumeError
from ra_core.models import features
from ra_core.models.configs import FlowConfig, VAEConfig
from ra_core.models.registry import build_method
from ra_core.models.shared import shared_tensors
from ra_core.runtime import Runtime
from ra_core.scorings import SCORINGS
from ra_core.settings import load_config
from ra_core.shortcuts import SHORTCUTS, SLICE_HEIGHT
from ra_core.synthetic import KINDS
from ra_core.thresholds import Histogram
from simulation.grid import GridConfig, beat, measure, memory, run, workers
from simulation.grid.alarms import healthy_cells
from simulation.grid.answers import Answers
from simulation.grid.arms import ARMS, UNTRAINED, Variant, refusal, variants
from simulation.grid.cells import Cell, all_cells, refused
from simulation.grid.estimate import Estimator
from simulation.grid.machine import machine_for
from simulation.grid.pictures import albums, chosen_of, file_of
from simulation.grid.result import load, save
from simulation.grid.run import Grid
from simulation.grid.silent import Silent
from simulation.grid.train import adapt, train

pytestmark = pytest.mark.slow

RA = {"settings": {"channels": [4, 8, 8], "latent": 8, "warmup_steps": 1}}
SIZE = 32
STUDY = {
    "preprocessing": {"size": SIZE},
    "training": {"steps": 2, "batch_size": 4, "validate_every": 1, "precision": "fp32"},
    "federation": {"rounds": 2},
    "evaluation": {"bootstrap": 100, "reference_images": 8},
}
SETTINGS = {
    "title": "Three",
    "methods": {"ra": RA, "nearest": {"settings": {"name": "nearest_neighbour"}}},
    "blocks": [{"methods": ["ra"], "arms": ["local", "encoder_only"]}, {"methods": ["nearest"], "arms": ["all"]}],
    "adapt_steps": 1,
    "runtime": {"threads": 1},
    "study": STUDY,
}


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.fixture(scope="module")
def hospitals(site_root, tmp_path_factory):
    return write_hospitals(site_root, tmp_path_factory.mktemp("hospitals"), ("anna", "berta", "clara"))


@pytest.fixture(scope="module")
def new_grid(hospitals, site_root, tmp_path_factory, few_channels):
    def make(folder=None, **settings):
        folder = folder or tmp_path_factory.mktemp("grid")
        sites = [{"config": str(node.site_config)} for node in hospitals]
        sites[2]["held_out"] = True
        file = folder / "grid.yaml"
        file.write_text(yaml.safe_dump(SETTINGS | {"sites": sites} | settings))
        config = load_config(file, GridConfig)
        return Grid(file, config, site_root, hospitals[0].cache, folder / "out", Silent(), few_channels)

    return make


@pytest.fixture(scope="module")
def grid(new_grid):
    grid = new_grid()
    grid.run()
    return grid


@pytest.fixture(scope="module")
def results(grid):
    return grid.finished()


@pytest.fixture
def measured_once(monkeypatch):
    """Cells are measured at the first site alone."""

    def measured(cell, made_of, models, bench, *rest):
        return measure.measure(cell, made_of, models, replace(bench, places=bench.places[:1]), *rest)

    monkeypatch.setattr("simulation.grid.run.measure", measured)


def test_all_cells_are_finished_and_no_checkpoint_is_left(grid, results):
    assert set(results) == {
        "shortcut.none.seed0",
        "ra.local.anna.seed0",
        "ra.local.berta.seed0",
        "ra.local.clara.seed0",
        "ra.encoder_only.seed0",
        "nearest.local.anna.seed0",
        "nearest.local.berta.seed0",
        "nearest.local.clara.seed0",
        "nearest.pooled.seed0",
    }
    assert not list((grid.out / "work").iterdir())


def test_what_can_not_be_federated_is_told_with_its_reason(grid):
    told = refused(grid.config, ["anna", "berta"])
    assert {one.arm for one in told} == {name for name, kind in ARMS.items() if kind.federation is not None}
    assert all("training images" in one.reason for one in told)


def test_arms_that_the_study_has_too_few_sites_for_are_told(new_grid):
    arms = ["fedavg", "local", "leave_one_out", "growing"]
    config = new_grid(methods={"ra": RA}, blocks=[{"arms": arms}]).config
    for count, lacking in ((1, {"fedavg", "leave_one_out", "growing"}), (2, {"leave_one_out", "growing"}), (3, set())):
        sites = ["anna", "berta", "clara"][:count]
        found = {cell.arm for cell in all_cells(config, sites) if cell.is_trained}
        told = {one.arm: one.reason for one in refused(config, sites)}
        assert set(told) == lacking == set(arms) - found
        assert all(reason.endswith(f"sites to train on, not {count}") for reason in told.values())


def test_a_study_in_which_nothing_can_be_trained_is_refused(new_grid):
    grid = new_grid(methods={"ra": RA}, blocks=[{"arms": ["leave_one_out"]}])
    with pytest.raises(ConfigError, match="nothing is left to train") as caught:
        grid.run(limit=0)
    assert caught.value.hint == "leave_one_out: it needs 3 sites to train on, not 2"


def test_norm_layers_can_stay_only_where_there_are_some():
    """Else it would be federated averaging under another name."""
    assert "norm layers" in refusal("local_norms", FlowConfig())
    assert not refusal("local_norms", VAEConfig())
    assert not refusal("fedavg", FlowConfig())


def test_every_cell_has_numbers_of_every_site(results, number_of):
    for result in results.values():
        assert {number.test_site for number in result.numbers} == {"anna", "berta", "clara"}
        for site in () if result.arm == UNTRAINED else ("anna", "berta", "clara"):
            assert number_of(result, site, "auroc").value is not None
            assert number_of(result, site, "auroc", "residual") is not None
            assert number_of(result, site, "pixel_auprc").value is not None


def test_cells_of_models_keep_scores_of_healthy_patients_and_the_page_has_their_rates(grid, results):
    for result in results.values():
        scorings = {"ra": {"residual", "paper"}, "nearest": {"residual", "paper"}, "shortcut": set()}[result.method]
        assert set(result.healthy) == ({"anna", "berta", "clara"} if scorings else set())
        for place in grid.places if scorings else ():
            assert set(result.healthy[place.name]) == scorings
            for kept in result.healthy[place.name].values():
                for split in ("val", "test"):
                    rows = getattr(place.images, split).rows
                    sick = {row.patient_id for row in rows if row.label == "anomalous"}
                    patients = {row.patient_id for row in rows} - sick
                    assert Histogram(getattr(kept, split)).n == len(patients) > 0
    assert "Trained pooled" in (grid.out / "report.html").read_text()


def test_shortcuts_are_measured_once_and_say_what_is_not_known(grid, results):
    found = Answers(list(results.values()), ("anna", "berta"), ("clara",), {}, 0.95, 100)
    assert found.methods == ["ra", "nearest"]
    for site in ("anna", "berta", "clara"):
        for name in SHORTCUTS:
            assert 0 <= found.shortcut(name, site, "auroc").value <= 1
            assert found.shortcut(name, site, "pixel_auprc").value is not None
        height = found.shortcut(SLICE_HEIGHT, site, "auroc")
        assert height.value is None
        assert "not known" in height.note
    assert found.shortcut("brightness", "nowhere", "auroc") is None


def test_what_the_shortcuts_depend_on(new_grid, grid):
    def digest(grid):
        (cell,) = (cell for cell in grid.cells if not cell.is_trained)
        return cell.digest("")

    longer = new_grid(study=STUDY | {"training": STUDY["training"] | {"steps": 4}})
    finer = new_grid(study=STUDY | {"evaluation": {"bootstrap": 101}})
    assert digest(grid) == digest(longer) != digest(finer)


def test_a_study_without_what_came_later_has_the_digests_of_before():
    """So that finished cells of studies that were run then are still accepted."""
    cell = Cell("RA", "fedavg", Variant("", ("north", "south")), 0, StudyConfig())
    assert cell.digest("d") == "81bc2c8c48eb080006231e813bcea39920ba59108d8c2d603217e3454fc73e58"
    asked = replace(cell, study=StudyConfig.model_validate({"calibration": {}}))
    assert asked.digest("d") != cell.digest("d")


def test_where_a_machine_has_its_weights_is_no_part_of_a_cell(new_grid, grid):
    moved = new_grid(study=STUDY | {"perceptual": {"weights": "/elsewhere/alexnet.safetensors"}})
    other = new_grid(study=STUDY | {"perceptual": {"net": "vgg"}})
    digests = [{c.key: c.digest("") for c in one.cells if c.is_trained} for one in (grid, moved, other)]
    assert digests[0] == digests[1]
    assert not set(digests[0].values()) & set(digests[2].values())


def test_a_cell_depends_on_the_network_that_its_method_looks_through(monkeypatch, new_grid):
    methods = {"PaDiM": {"settings": {"name": "padim"}}, "AE": {"settings": {"name": "ae_perceptual"}}, "RA": RA}
    cells = new_grid(methods=methods, blocks=[{"arms": ["pooled"]}]).cells
    digests = {}
    for seed in (0, 1):
        network = SimpleNamespace(digest=f"network {seed}")
        monkeypatch.setattr(features, "pretrained", lambda *_, network=network: network)
        digests[seed] = {cell.method: cell.digest("") for cell in cells}
    changed = {name for name in digests[0] if digests[0][name] != digests[1][name]}
    assert changed == {"PaDiM", "AE"}


def test_bootstrap_values_are_kept_and_give_the_interval_again(results, number_of):
    number = number_of(results["ra.local.anna.seed0"], "berta", "auroc")
    values = number.estimate.resampled
    assert len(values) == 100
    low, high = torch.tensor(values).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert (low, high) == pytest.approx((number.ci_low, number.ci_high), abs=1e-4)


def test_sites_that_keep_parts_have_models_of_their_own(results):
    hashes = results["ra.encoder_only.seed0"].model_hash
    assert len(set(hashes.values())) == 3
    assert results["ra.encoder_only.seed0"].adapted == 1
    assert len(set(results["ra.local.anna.seed0"].model_hash.values())) == 1


def test_a_finished_study_computes_nothing_and_a_lost_cell_alone(grid, results, monkeypatch):
    computed = []
    whole = Grid.compute
    monkeypatch.setattr(
        Grid, "compute", lambda self, cell, *rest: computed.append(cell.key) or whole(self, cell, *rest)
    )
    grid.run()
    assert computed == []
    (grid.out / "cells" / "nearest.pooled.seed0.json").unlink()
    grid.run()
    assert computed == ["nearest.pooled.seed0"]
    again = load(grid.out / "cells", "nearest.pooled.seed0")
    assert again.numbers == results["nearest.pooled.seed0"].numbers


@pytest.mark.parametrize("key", ["ra.local.anna.seed0", "ra.encoder_only.seed0"])
def test_only_a_cell_that_went_on_from_a_checkpoint_was_stopped_on_the_way(new_grid, key, measured_once):
    grid = new_grid(blocks=SETTINGS["blocks"][:1])
    bench, work = grid.bench(), grid.out / "work" / key
    [cell] = [cell for cell in grid.cells if cell.key == key]
    (work / "sites").mkdir(parents=True)  # a start that came to nothing
    grid.compute(cell, bench, Silent())
    assert not load(grid.out / "cells", key).resumed
    train(cell, bench, work, Silent())
    grid.compute(cell, bench, Silent())
    assert load(grid.out / "cells", key).resumed


class Heard(Silent):
    """Remembers what is said, and what stands on bars."""

    def __init__(self):
        self.lines, self.shown = [], []

    def say(self, text):
        self.lines.append(text)

    def task(self, title, total, done=0):
        return nullcontext(lambda done, detail="": self.shown.append(detail))


@pytest.mark.usefixtures("undrawn")
def test_no_more_processes_are_begun_than_there_is_memory_for(new_grid, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "simulation.grid.run.in_processes", lambda task, cells, jobs, *_: iter(asked.append(jobs) or ())
    )
    monkeypatch.setattr(Grid, "compute", lambda *_: asked.append(1))
    monkeypatch.setattr(memory, "peak", lambda: 2 << 30)
    for left, jobs in ((9, 4), (5, 2), (1, 1)):
        grid, heard = new_grid(blocks=[{"methods": ["nearest"], "arms": ["pooled"]}]), Heard()
        monkeypatch.setattr(memory, "free", lambda left=left: left << 30)
        replace(grid, reporter=heard).run(jobs=4)
        assert asked[0] == jobs
        assert any(f", {jobs} at a time" in line for line in heard.lines)
        assert any(line.startswith(f"{jobs} at a time, not 4: a cell needs about") for line in heard.lines) == (
            jobs < 4
        )
        asked.clear()


def test_memory_is_that_of_the_container(monkeypatch, tmp_path):
    machine = memory.free()
    assert 0 < memory.peak() < 1 << 40
    for name, text in {"max": "1000", "current": "900", "stat": "anon 1\ninactive_file 300"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.free() == 400
    (tmp_path / "memory.max").write_text("max")
    assert memory.free() > machine / 4
    monkeypatch.setattr(memory, "GROUP", tmp_path / "nowhere")
    assert memory.free() > machine / 4


class Pool:
    """In place of a pool of processes: what is given for each cell."""

    def __init__(self, futures):
        self.futures = iter(futures)

    def __call__(self, *_):
        return nullcontext(self)

    def submit(self, *_):
        return next(self.futures)


def test_a_process_that_was_killed_is_told_with_what_to_do(grid, monkeypatch):
    broken = Future()
    broken.set_exception(BrokenProcessPool())
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool([broken]))
    with pytest.raises(RAError, match="want of memory, during: shortcuts") as caught:
        list(workers.in_processes(None, grid.cells[:1], 2, None, print))
    assert "--jobs" in caught.value.hint


def test_it_is_said_which_cells_are_being_computed(grid, monkeypatch):
    futures, lines = [Future(), Future()], []

    def say(text):
        lines.append(text)
        futures[len(lines) - 1].set_result(None)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool(futures))
    monkeypatch.setattr(workers, "BEAT", 0.0)
    cells = grid.cells[1:3]
    assert [*workers.in_processes(None, cells, 2, None, say)] == cells
    assert [[cell.told in line for cell in cells] for line in lines] == [[True, True], [False, True]]


@pytest.mark.usefixtures("undrawn")
def test_a_cell_tells_where_it_is(new_grid, monkeypatch, request):
    monkeypatch.setattr(beat, "BEAT", 0.0)
    heard = Heard()
    grid = replace(new_grid(blocks=[{"methods": ["ra"], "arms": ["local", "fedavg"]}]), reporter=heard)
    grid.run(only=["fedavg"])
    assert "ra, fedavg, seed 0: training federated 3 of 6" in heard.lines
    assert "ra, fedavg, seed 0: measuring, sites 2 of 3" in heard.lines
    assert {*heard.lines} & {*heard.shown}
    heard.lines.clear()
    request.getfixturevalue("measured_once")
    monkeypatch.setattr(beat, "BEAT", 1e9)
    grid.run(only=["local"])
    assert "ra, local (anna), seed 0: training local: anna 1 of 2" in heard.shown
    assert not [line for line in heard.lines if "training" in line]


@pytest.mark.usefixtures("undrawn")
def test_cells_are_computed_seed_by_seed(new_grid, monkeypatch):
    """So that what an interrupted study has finished can be compared."""
    grid, computed = new_grid(blocks=[{"arms": ["local", "pooled"], "seeds": [0, 1]}]), []
    monkeypatch.setattr(Grid, "compute", lambda _, cell, *__: computed.append(cell))
    grid.run()
    assert [cell.seed for cell in computed] == sorted(cell.seed for cell in grid.cells)
    assert {cell.key for cell in computed} == {cell.key for cell in grid.cells}
    assert [cell.seed for cell in grid.cells] != [cell.seed for cell in computed]  # pages keep methods together


def test_the_page_is_made_after_every_run(new_grid, grid, monkeypatch):
    text = (grid.out / "report.html").read_text()
    assert "Not finished" not in text
    assert "ra-simulate study grid.yaml --data DATA_ROOT --out out" in text
    for name in ("report.html", "tables.md", "results.csv"):
        (grid.out / name).unlink()
    grid.run()
    assert (grid.out / "report.html").read_text() == text
    assert {"tables.md", "results.csv"} <= {file.name for file in grid.out.iterdir()}
    stopped = new_grid()
    monkeypatch.setattr(Grid, "compute", lambda *_: pytest.fail("a cell was begun"))
    stopped.run(limit=0)
    assert "No cell is finished yet" in (stopped.out / "report.html").read_text()


def test_pictures_are_of_the_same_sick_images_for_all_models(grid):
    anna = grid.places[0]
    chosen = chosen_of(anna.images.test)
    assert len(chosen) == min(3, sum(row.label == "anomalous" for row in anna.images.test.rows)) > 0
    [album] = [album for album in albums(grid.out, grid.places, [*grid.finished().values()]) if album.site == "anna"]
    sheet = pixels(album.inputs)
    assert sheet.shape == ((SIZE + 2) * len(chosen) - 2, 2 * SIZE + 2, 3)
    for place, (index, mask) in enumerate(zip(chosen, anna.images.test.masks(chosen), strict=True)):
        rows = slice((SIZE + 2) * place, (SIZE + 2) * place + SIZE)
        image = anna.images.test.images([index])[0, 0].numpy()
        np.testing.assert_array_equal(sheet[rows, :SIZE, 0], np.rint(255 * image))
        white = (sheet[rows, SIZE + 2 :] == 255).all(2)
        np.testing.assert_array_equal(white, np.zeros_like(white) if mask is None else mask)
    assert [(strip.method, strip.arm) for strip in album.strips] == [
        ("ra", "local"),
        ("nearest", "local"),
        ("nearest", "pooled"),
    ]
    assert all(pixels(strip.png).shape == sheet.shape for strip in album.strips)
    assert album.strips[0].png != album.strips[1].png
    text = (grid.out / "report.html").read_text()
    assert all(base64.b64encode(strip.png).decode() in text for strip in album.strips)
    drawn = file_of(grid.out, "clara", grid.finished()["ra.local.anna.seed0"])  # though not shown
    assert drawn.stat().st_mode & 0o777 == 0o600


def test_a_cell_of_another_model_has_none_of_the_pictures_that_lie_there(grid):
    other = [r.model_copy(update={"made_of": r.made_of[::-1]}) for r in grid.finished().values()]
    assert albums(grid.out, grid.places, other) == []


def test_git_leaves_pictures_of_patients_out():
    repository = Path(__file__).parents[3]
    if not shutil.which("git") or not (repository / ".git").exists():
        pytest.skip("no git, or no repository")
    made = [f"docs/results/{at}/{name}" for at in ("x", "next/x") for name in ("pictures/a.png", "report.html")]
    asked = ["git", "-C", repository, "check-ignore", *made]
    told = subprocess.run(asked, check=False, capture_output=True, text=True).stdout  # noqa: S603
    assert told.split() == made


@pytest.mark.usefixtures("undrawn")
def test_no_picture_of_a_site_that_forbids_it(new_grid, grid, hospitals, tmp_path):
    sites = [{"config": str(node.site_config)} for node in hospitals]
    settings = yaml.safe_load(hospitals[0].site_config.read_text())
    settings["data"]["pictures"] = False
    (tmp_path / "anna.yaml").write_text(yaml.safe_dump(settings))
    sites[0]["config"] = str(tmp_path / "anna.yaml")
    shy = new_grid(sites=sites)
    shy.run(only=["pooled"])
    assert {folder.name for folder in (shy.out / "pictures").iterdir()} == {"berta", "clara"}
    assert "None of anna are shown" in (shy.out / "report.html").read_text()
    drawn = [*grid.finished().values()]  # before it was forbidden
    assert {album.site for album in albums(grid.out, shy.places, drawn)} == {"berta", "clara"}


@pytest.fixture
def estimated(new_grid, monkeypatch):
    """Seconds by arm where a step takes one, early ones half of that, and a map none; or as given."""

    def make(step=2.0, early=1.0, image=0.0, adapt_steps=0, **settings):
        def steps(_self, _method, _noise, _study, start):
            return step if start else early

        monkeypatch.setattr(Estimator, "_steps", steps)
        monkeypatch.setattr(Estimator, "_maps", lambda *_: image)
        grid = new_grid(methods={"ra": RA}, adapt_steps=adapt_steps, **settings)
        estimator = Estimator(grid.bench())
        return {cell.arm: estimator.seconds(cell) for cell in grid.cells}

    return make


ESTIMATED = {"blocks": [{"arms": ["pooled", "fedavg", "encoder_only"]}]}


def test_an_estimate_weighs_the_warm_up_and_counts_every_sites_steps(estimated):
    longer = {"study": STUDY | {"training": STUDY["training"] | {"steps": 10}}}
    found = estimated(**ESTIMATED, **longer)  # one step of the warm-up, nine after
    assert found["pooled"] == pytest.approx(1 * 1.0 + 9 * 2.0)
    assert found["fedavg"] == found["encoder_only"] == pytest.approx(2 * found["pooled"])


def test_an_estimate_has_steps_of_adapting_and_all_maps(estimated, grid):
    plain, adapted = (estimated(**ESTIMATED, adapt_steps=steps) for steps in (0, 7))
    gained = {arm: adapted[arm] - plain[arm] for arm in plain}
    assert gained == pytest.approx({"none": 0, "pooled": 0, "fedavg": 0, "encoder_only": 7 * 1.5})
    images = sum(
        8 + len(p.images.val) * (1 + len(KINDS)) + len(p.images.test) + len(chosen_of(p.images.test))
        for p in grid.places
    )
    found = estimated(step=0.0, early=0.0, image=1.0, **ESTIMATED)
    assert found["pooled"] == images
    looked_at = 2 * sum(len(place.images.val) for place in grid.places[:2])
    assert found["fedavg"] == pytest.approx(images + 0.1 * looked_at)  # each round looks at validation images


def test_only_what_the_study_has_can_be_asked_for(grid):
    with pytest.raises(ConfigError, match="--only: 'vae' is no method or arm") as caught:
        grid.run(only=["ra", "vae"])
    assert "ra, local" in caught.value.hint


def test_cells_of_other_settings_are_refused_by_name(new_grid, grid):
    other = new_grid(study=STUDY | {"evaluation": {"bootstrap": 101, "reference_images": 8}})
    other.out.mkdir()
    shutil.copytree(grid.out / "cells", other.out / "cells")
    with pytest.raises(ResumeError, match=r"seed0\.json: of other settings"):
        other.finished()


@pytest.mark.usefixtures("undrawn")
def test_training_and_choosing_need_no_test_image(new_grid, hospitals, results, number_of, site_root, tmp_path):
    """The same weights and the same scoring come out where no test image is there."""
    sites = []
    for node in hospitals:
        header, *rows = list(csv.reader((node.site_config.parent / f"{node.site}.csv").open()))
        split = header.index("split")
        manifest = tmp_path / f"{node.site}.csv"
        with manifest.open("w", newline="") as file:
            csv.writer(file).writerows([header, *(row for row in rows if row[split] != "test")])
        settings = yaml.safe_load(node.site_config.read_text())
        settings["data"]["manifest"] = str(manifest)
        (tmp_path / f"{node.site}.yaml").write_text(yaml.safe_dump(settings))
        sites.append({"config": str(tmp_path / f"{node.site}.yaml"), "held_out": node.site == "clara"})
    blind = new_grid(sites=sites, blocks=[{"methods": ["ra"], "arms": ["local", "encoder_only"]}])
    blind.run()
    for key, found in blind.finished().items():
        if found.arm == UNTRAINED:
            continue
        assert (found.model_hash, found.chosen, found.synthetic, found.selected) == (
            results[key].model_hash,
            results[key].chosen,
            results[key].synthetic,
            results[key].selected,
        )
        assert number_of(found, "anna", "auroc").note.endswith("not estimable: no test images")


@pytest.mark.parametrize("changed", [{"parts": ["encoder"]}, {"proximal_mu": 0.5}, {"local_steps": 7}])
def test_what_arms_decide_is_not_the_studys(new_grid, changed):
    with pytest.raises(ConfigError, match=rf"study\.federation\.{next(iter(changed))}"):
        new_grid(study=STUDY | {"federation": {"rounds": 2} | changed})


def test_a_study_does_not_keep_patients_back_in_some_of_its_arms(new_grid):
    with pytest.raises(ConfigError, match=r"study\.calibration: leave it out: a federation would keep"):
        new_grid(study=STUDY | {"calibration": {}})


def test_cells_measured_otherwise_are_refused(new_grid, grid, monkeypatch):
    other = new_grid()
    other.out.mkdir()
    shutil.copytree(grid.out / "cells", other.out / "cells")
    assert other.finished()
    again = new_grid(other.file.parent)
    monkeypatch.setattr("simulation.grid.run.SCORINGS", SCORINGS[:-1])
    with pytest.raises(ResumeError, match=r"seed0\.json: of other settings"):
        again.finished()


@pytest.fixture
def on(monkeypatch):
    """Makes the machine one that bf16 is fast on, or one that it isn't."""
    return lambda fast: monkeypatch.setattr("ra_core.runtime._fast_bf16", lambda _: fast)


def test_a_study_goes_on_in_the_precision_of_its_cells(new_grid, grid, on, monkeypatch):
    free = STUDY | {"training": STUDY["training"] | {"precision": "auto"}}
    other, blocks = grid.finished()["ra.local.anna.seed0"], [{"methods": ["ra"], "arms": ["local", "fedavg"]}]
    study = new_grid(blocks=blocks, study=free)
    [cell] = [cell for cell in study.cells if cell.key == other.key]
    on(fast=True)
    assert study.bench().machine.precision == "bf16"
    save(study.out / "cells", other.model_copy(update={"made_of": cell.digest(study.data)}))
    study.reporter = heard = Heard()
    bench = study.bench()
    assert bench.machine.precision == other.machine["precision"] == "fp32"
    assert heard.lines == ["fp32, as in the cells that are finished; this machine by itself would take bf16"]
    asked = []
    monkeypatch.setattr("simulation.grid.train.train_federated", lambda *given: asked.append(given[2]) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(next(cell for cell in study.cells if cell.arm == "fedavg"), bench, study.out, Silent())
    assert asked[0].training.precision == "fp32"


@pytest.mark.parametrize(
    ("there", "told"), [(["bf16"], "are of bf16, which this machine has no"), (["bf16", "fp32"], "several precisions")]
)
def test_a_precision_that_a_study_can_not_go_on_in_is_told(grid, on, there, told):
    training = grid.config.study.training.model_copy(update={"precision": "auto"})
    config = grid.config.model_copy(update={"study": grid.config.study.model_copy(update={"training": training})})
    one = grid.finished()["ra.local.anna.seed0"]
    cells = [one.model_copy(update={"machine": one.machine | {"precision": found}}) for found in there]
    on(fast=False)
    with pytest.raises(ResumeError, match=told):
        machine_for(cells, config, Silent())
    assert machine_for(cells, grid.config, Silent()).precision == "fp32"  # asked for: another is another digest


def test_thresholds_are_set_on_patients_who_chose_nothing_where_a_site_has_some(grid):
    anna, cell = grid.places[0], grid.cells[-1]
    val, test = anna.images.val, anna.images.test
    fresh = SimpleNamespace(scores=lambda batches: {"residual": np.full(sum(map(len, batches)), 0.5)})
    found = SimpleNamespace(
        healthy={"residual": np.full(len(val), 0.1)},
        scores={"residual": np.full(len(test), 0.9)},
        scorer=SimpleNamespace(only=lambda _: fresh),
    )
    apart = replace(anna, images=replace(anna.images, calibration=anna.images.train))
    patients = {row.patient_id for row in anna.images.train.rows}
    assert measure._healthy(anna, found, cell)["residual"].val == healthy_cells(val, found.healthy["residual"])
    assert measure._healthy(apart, found, cell)["residual"].val == Histogram.of([0.5] * len(patients)).cells
    assert run._measured(anna.images) == [anna.images.train, val, test]  # so cells of before keep their digests
    assert run._measured(apart.images)[3:] == [anna.images.train]


def test_adapting_keeps_the_statistics_of_shared_batch_norms(grid, runtime):
    study = next(cell.study for cell in grid.cells if cell.arm == "encoder_only")
    method = VAEConfig(channels=(4, 8, 8), latent=8, norm="batch")
    study = study.model_copy(update={"method": method})
    shared = shared_tensors(build_method(method, SIZE, 0), study.federation)
    assert any(name.endswith("running_mean") for name in shared)
    kept = {name: tensor.clone() for name, tensor in shared.items()}
    after = shared_tensors(adapt(study, kept, grid.places[2].images, runtime, 2), study.federation)
    assert all(torch.equal(after[name], tensor) for name, tensor in kept.items())


def test_adapting_leaves_shared_tensors_as_they_are(grid, runtime):
    study = next(cell.study for cell in grid.cells if cell.arm == "encoder_only")
    start = build_method(study.method, SIZE, 0)
    shared = {name: tensor + 0.01 for name, tensor in shared_tensors(start, study.federation).items()}
    method = adapt(study, shared, grid.places[2].images, runtime, 2)
    after = shared_tensors(method)
    assert all(torch.equal(after[name], tensor) for name, tensor in shared.items())
    own = {name: t for name, t in shared_tensors(start).items() if name not in shared}
    assert any(not torch.equal(after[name], tensor) for name, tensor in own.items())
    assert isinstance(runtime, Runtime)


def test_variants():
    sites = ["a", "b", "c"]
    assert [v.sites for v in variants("local", sites)] == [("a",), ("b",), ("c",)]
    assert [v.sites for v in variants("local", sites, ["d"])] == [("a",), ("b",), ("c",), ("d",)]
    assert [*variants("pooled", sites, ["d"])] == [*variants("pooled", sites)]
    assert [v.sites for v in variants("leave_one_out", sites)] == [("b", "c"), ("a", "c"), ("a", "b")]
    assert [v.sites for v in variants("growing", [*sites, "d"])] == [("a", "b"), ("a", "b", "c")]
    assert [v.sites for v in variants("pooled", ["a"])] == [("a",)]
    assert list(variants("fedavg", ["a"])) == []
    assert list(variants("leave_one_out", ["a", "b"])) == []


def test_every_arm_of_every_method_is_a_valid_study_or_has_a_reason(new_grid):
    grid = new_grid(blocks=[{"methods": ["all"], "arms": ["all"], "seeds": [0, 1]}])
    shortcuts, *cells = all_cells(grid.config, ["anna", "berta"])
    assert not shortcuts.is_trained
    for cell in cells:
        assert isinstance(cell.study, StudyConfig)
        assert cell.study.seed == cell.seed
        assert not refusal(cell.arm, cell.study.method)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"blocks": [{"arms": ["fedsgd"]}]}, "there is no arm 'fedsgd'"),
        ({"blocks": [{"methods": ["vae"]}]}, "there is no method 'vae'"),
        ({"methods": {"a.b": RA}, "blocks": [{}]}, "'a.b' is no name"),
        ({"methods": {"shortcut": RA}, "blocks": [{}]}, "'shortcut' is no name"),
        ({"methods": {"ra": RA | {"steps": 3}}, "blocks": [{}]}, "3 steps can't be shared out over 2 rounds"),
        ({"methods": {"ra": {"settings": {"warmup_steps": 2}}}, "blocks": [{}]}, "warm-up"),
        ({"study": STUDY | {"federation": {"rounds": 2, "patience": 1}}}, "patience"),
    ],
)
def test_bad_settings_are_told(new_grid, settings, words):
    with pytest.raises(ConfigError) as caught:
        new_grid(**settings)
    assert words in caught.value.message
