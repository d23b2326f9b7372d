from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ra_core.config import CalibrationConfig, RuntimeConfig, SiteConfig, StudyConfig, TrainingConfig
from ra_core.errors import ConfigError
from ra_core.models.configs import RAConfig
from ra_core.models.mahalanobis import Mahalanobis
from ra_core.models.padim import PaDiM
from ra_core.models.ra import RA
from ra_core.settings import commented_yaml, load_config

CONFIGS = Path(__file__).resolve().parents[2] / "site_configs"
EXAMPLE: dict[str, Any] = {"name": "My hospital", "anatomy": "chest", "modality": "CR", "data": {"site": "my_site"}}


def load(tmp_path, text, kind=StudyConfig):
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path, kind)


def refused(tmp_path, text, *reasons, kind=StudyConfig):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, kind)
    message = caught.value.message
    assert message.startswith(str(tmp_path / "config.yaml"))
    assert "\n" not in message
    assert all(reason in message for reason in reasons), message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("", "max_update_norm: secure_aggregation hides the norm of one site's update: set it to null"),
        ("max_update_norm: null, aggregation: trimmed_mean", "aggregation: trimmed_mean looks at single"),
    ],
)
def test_what_looks_at_single_updates_goes_with_no_secure_aggregation(tmp_path, more, reason):
    settings = f"federation: {{secure_aggregation: {{threshold: 3}}, {more}}}"
    assert "federation" in refused(tmp_path, settings, reason).message


def test_what_is_the_same_in_every_run_goes_with_no_secure_aggregation(tmp_path):
    once = "training: {steps: 1}\nfederation: {rounds: 1, local_steps: 1, max_update_norm: null"
    load(tmp_path, f"method: {{name: pca}}\n{once}}}")
    text = f"method: {{name: pca}}\n{once}, secure_aggregation: {{threshold: 3}}}}"
    refused(tmp_path, text, "federation.secure_aggregation: what pca asks of a site is a function of its images alone")


def test_with_differential_privacy_only_what_all_sites_have_is_summed(tmp_path):
    def text(metrics):
        masks = f"federation: {{max_update_norm: null, secure_aggregation: {{threshold: 3, metrics: {metrics}}}}}"
        return f"method: {{name: vae}}\ndp: {{noise_multiplier: 1.0}}\n{masks}"

    load(tmp_path, text("[validation_error]"))
    load(tmp_path, text("[]"))
    load(tmp_path, text("[validation_error, vae]").replace("dp: ", "dp: null #"))
    refused(tmp_path, text("[validation_error, vae]"), "federation.secure_aggregation.metrics: vae: with dp")


@pytest.mark.parametrize("threshold", [0, 2])
def test_a_sum_of_two_hides_nobody(tmp_path, threshold):
    text = f"federation: {{max_update_norm: null, secure_aggregation: {{threshold: {threshold}}}}}"
    refused(tmp_path, text, "federation.secure_aggregation.threshold")


def test_histograms_of_single_sites_go_with_no_secure_aggregation(tmp_path):
    text = "calibration: {}\nfederation: {max_update_norm: null, secure_aggregation: {threshold: 3}}"
    refused(tmp_path, text, "calibration: its score histograms are of single sites")


@pytest.mark.parametrize(
    ("scoring", "method", "name"),
    [
        (None, RA, "residual_top"),
        (None, PaDiM, "distance_top"),
        (None, Mahalanobis, "distance"),
        ("paper", RA, "paper"),
    ],
)
def test_a_scoring_that_needs_nothing_else_is_calibrated_unless_one_is_named(scoring, method, name):
    assert CalibrationConfig(scoring=scoring).scoring_of(method.scorings).name == name


def test_a_scoring_that_the_method_does_not_have_is_refused():
    with pytest.raises(ConfigError, match=r"calibration\.scoring: the method has no 'paper'"):
        CalibrationConfig(scoring="paper").scoring_of(PaDiM.scorings)


def test_a_fingerprint_has_its_form(tmp_path):
    text = yaml.safe_dump(EXAMPLE | {"secure_aggregation": {"signing_key": "k", "sites": {"north": "SHA256:short"}}})
    refused(tmp_path, text, "secure_aggregation.sites", kind=SiteConfig)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_site_config_loads(path):
    config = load_config(path, SiteConfig)
    assert config.data.site == path.stem


def test_a_file_sets_what_it_names_and_nothing_else(tmp_path):
    config = load(tmp_path, "seed: 3\ntraining: {steps: 7000}\n")
    expected = StudyConfig()
    assert config == expected.model_copy(
        update={"seed": 3, "training": expected.training.model_copy(update={"steps": 7000})}
    )


def test_a_preset_expands_and_keys_beside_it_win(tmp_path):
    assert load(tmp_path, "method: {preset: paper, latent: 32}").method == RAConfig(preset="paper", latent=32)


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("sed: 1", "sed", "seed"),
        ("training: {step: 5}", "training.step", "training.steps"),
        ("training: {augmentation: {shif: 5}}", "training.augmentation.shif", "training.augmentation.shift"),
        ("method: {presett: paper}", "method.presett", "method.preset"),
        ("method: {w_ref: 5}", "method.w_ref", "method.w_rev"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known(tmp_path, text, key, nearest):
    assert f"'{nearest}'" in refused(tmp_path, text, f"unknown key '{key}'").hint


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("seed: many", ["seed", "not 'many'"]),
        ("training: 5", ["training", "not 5"]),
        ("training: {steps: 0}", ["training.steps", "not 0"]),
        ("training: {steps: 1.5}", ["training.steps", "not 1.5"]),
        ("method: {w_kl: .nan}", ["method.w_kl", "not nan"]),
        ("method: {w_kl: .inf}", ["method.w_kl", "not inf"]),
        ("method: {preset: big}", ["method", "preset must be one of small, paper"]),
        ("method: {preset: [small]}", ["method", "preset must be one of small, paper"]),
        ("method: {channels: [0, 8]}", ["method.channels.0", "not 0"]),
        ("method: {channels: [8, -4]}", ["method.channels.1", "not -4"]),
        ("seed: -1\ntraining: {steps: 0}", ["seed", "and 1 more"]),
        ("1: 2", ["1"]),
    ],
)
def test_a_bad_value_is_named_with_its_key(tmp_path, text, reasons):
    refused(tmp_path, text, *reasons)


def test_a_missing_required_key_is_named(tmp_path):
    refused(tmp_path, "name: x\nanatomy: x\nmodality: CR\ndata: {}", "data.site: is required", kind=SiteConfig)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b", "just text", "null", "3"])
def test_a_file_without_settings_is_refused(tmp_path, text):
    refused(tmp_path, text, "holds no settings")


@pytest.mark.parametrize(
    "text", ["a: [1", "seed: 1\n\tx: 2", "{", "a: b: c", "? [a]\n: 1", "x: !!python/object:os.system {}", "x: \x00"]
)
def test_what_is_not_yaml_is_refused(tmp_path, text):
    refused(tmp_path, text, "not valid YAML")


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2\n", "training:\n  steps: 3\n  'steps': 3\n"])
def test_a_key_that_stands_there_twice_is_refused(tmp_path, text):
    """YAML's own loader takes the last one, and drops what the first says."""
    key = text.split(":")[-2].split()[-1].strip("'")
    refused(tmp_path, text, f"line {text.count(chr(10))}: '{key}' stands there twice")


def test_a_merged_key_may_be_said_anew(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("training: {<<: {batch_size: 3, validate_every: 2}, batch_size: 5}\n")
    training = load_config(path, StudyConfig).training
    assert (training.batch_size, training.validate_every) == (5, 2)


def test_the_offending_line_is_named(tmp_path):
    refused(tmp_path, "seed: 1\ntraining: [\n", "line 3: not valid YAML")


def test_deep_nesting_is_refused(tmp_path):
    refused(tmp_path, "[" * 3000 + "]" * 3000, "nested too deeply")


def test_a_dozen_lines_that_stand_for_more_than_memory_holds_are_refused(tmp_path):
    lines = [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}' if level else 'x'] * 9)}]" for level in range(12)]
    refused(tmp_path, "\n".join([*lines, "seed: *x11"]), "line 2: a YAML alias")


def test_a_file_that_is_too_large_or_has_no_end_is_refused(tmp_path):
    refused(tmp_path, "# " + "x" * 2**20, "can't be read (FileTooLargeError)")
    with pytest.raises(ConfigError, match="FileTooLargeError"):
        load_config(Path("/dev/zero"), StudyConfig)


def test_more_threads_than_any_machine_has_are_refused():
    with pytest.raises(ValidationError):
        RuntimeConfig(threads=10_000_000_000)


def test_a_date_that_does_not_exist_is_refused(tmp_path):
    refused(tmp_path, "name: 2024-13-45", "not valid YAML")


def test_a_missing_file_a_folder_and_other_encodings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.yaml", StudyConfig)
    with pytest.raises(ConfigError, match="IsADirectoryError"):
        load_config(tmp_path, StudyConfig)
    refused(tmp_path, b"name: \xff\xfe", "UnicodeDecodeError")


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_any_text_either_loads_or_is_a_config_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode(errors="replace"))
    try:
        load_config(path, StudyConfig)
    except ConfigError as error:
        assert error.message.startswith(str(path))  # noqa: PT017 - both outcomes are fine


def test_the_commented_default_study_is_the_default():
    text = commented_yaml(StudyConfig)
    assert StudyConfig.model_validate(yaml.safe_load(text)) == StudyConfig()


def test_the_commented_example_site_is_the_example():
    text = commented_yaml(SiteConfig, EXAMPLE)
    assert SiteConfig.model_validate(yaml.safe_load(text)) == SiteConfig.model_validate(EXAMPLE)


def test_every_line_of_the_commented_default_says_what_it_means():
    for line in commented_yaml(StudyConfig).splitlines():
        assert "  # " in line, line


def test_the_commented_default_shows_the_preset():
    assert "  # preset:  # small or paper" in commented_yaml(StudyConfig)


@pytest.mark.parametrize(
    ("kind", "command"), [(SiteConfig, "`ra-client config`"), (StudyConfig, "`ra-simulate config study`")]
)
@pytest.mark.parametrize("text", ["nonsense: 1", "training: 5\ndata: 5", "", "[" * 3000])
def test_a_hint_names_the_command_of_this_kind(tmp_path, kind, command, text):
    assert command in refused(tmp_path, text, kind=kind).hint


@pytest.mark.parametrize(
    "changes", [{"anatomy": "x: y # z"}, {"name": "[a]"}, {"name": "yes"}, {"modality": "1"}, {"name": "Zürich'\""}]
)
def test_awkward_texts_survive_the_commented_yaml(changes):
    data = EXAMPLE | changes
    assert SiteConfig.model_validate(yaml.safe_load(commented_yaml(SiteConfig, data))) == SiteConfig(**data)


def test_settings_are_immutable():
    with pytest.raises(ValidationError):
        StudyConfig().seed = 3


def test_equal_settings_have_equal_digests_and_others_not():
    assert StudyConfig().digest() == StudyConfig.model_validate({"training": {}, "seed": 0}).digest()
    assert StudyConfig().digest() != StudyConfig(seed=1).digest()
    assert StudyConfig().digest() != StudyConfig(training=TrainingConfig(steps=3999)).digest()


@pytest.mark.parametrize("size", [16, 40, 2048])
def test_a_size_out_of_bounds_is_refused(tmp_path, size):
    refused(tmp_path, f"preprocessing: {{size: {size}}}", "preprocessing.size")


@pytest.mark.parametrize(
    ("device", "fine"), [("cpu", True), ("cuda", True), ("cuda:1", True), ("gpu", False), ("cuda:", False)]
)
def test_devices_are_spelled_as_torch_has_them(device, fine):
    if fine:
        assert RuntimeConfig(device=device).device == device
    else:
        with pytest.raises(ValidationError):
            RuntimeConfig(device=device)


def test_a_size_that_the_method_cannot_halve_often_enough_is_refused(tmp_path):
    refused(tmp_path, "{preprocessing: {size: 96}, method: {channels: [4, 4, 4, 4, 4, 4]}}", "no multiple of 64")
