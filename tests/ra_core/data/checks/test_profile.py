import json

import numpy as np
import pytest

from ra_core.data.checks import Profile
from ra_core.data.checks.pictures import STATISTICS
from ra_core.errors import ConfigError, TooFewImagesError


def profile_of(made):
    return Profile.of(made.pictures, "chest", "CR", "digest")


def test_a_profile_is_read_as_it_was_written(site, tmp_path):
    profile = profile_of(site)
    profile.save(tmp_path / "profile.json")
    assert Profile.load(tmp_path / "profile.json") == profile


def test_it_holds_aggregates_of_healthy_images_and_nothing_of_one(site, tmp_path):
    without = profile_of(site)
    site.add(5, "test", "anomalous", thumbnail=np.full((32, 32), 255, np.uint8))
    assert profile_of(site) == without
    text = without.model_dump_json()
    assert not any(row.path in text or row.patient_id in text for row in site.rows)
    assert (without.images, without.patients) == (80, 80)
    values = [value for row in json.loads(text)["mean_picture"] for value in row]
    assert all(round(value, 2) == value for value in values)


def test_few_patients_make_no_profile_however_many_images_they_have(made):
    for patient in range(19):
        made.add(5, patient=f"p{patient}")
    with pytest.raises(TooFewImagesError, match="19 healthy patients"):
        profile_of(made)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["statistics"].pop("mean"),
        lambda d: d["mean_picture"].pop(),
        lambda d: d["statistics"]["mean"].update(spread=0),
        lambda d: d.update(more=1),
        lambda d: d.update(patients=3),
    ],
)
def test_what_is_no_profile_is_refused_with_file_and_key(site, tmp_path, change):
    content = json.loads(profile_of(site).model_dump_json())
    change(content)
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"p\.json: "):
        Profile.load(tmp_path / "p.json")


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[]", b'{"format": 1, "mean_picture": NaN}'])
def test_any_other_file_is_refused(tmp_path, content):
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(ConfigError):
        Profile.load(tmp_path / "p.json")
    with pytest.raises(ConfigError, match="FileNotFoundError"):
        Profile.load(tmp_path / "none.json")


def test_statistics_are_in_their_order(site):
    assert tuple(profile_of(site).statistics) == STATISTICS
