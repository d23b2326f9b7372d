import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_core.data.checks import Profile
from ra_core.data.checks.pictures import STATISTICS
from ra_core.data.checks.profile import weighted_median
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


def test_a_patient_weighs_as_one_however_many_images_there_are(site, made):
    once = profile_of(site)
    for entry, row in zip(site.entries, site.rows, strict=True):
        if row.label == "healthy":
            count = 200 if row is site.rows[0] else 1
            made.add(count, row.split, patient=row.patient_id, thumbnail=entry.pictures[0].thumbnail)
    often = profile_of(made)
    assert (often.images, often.patients) == (279, 80)
    assert often.statistics == once.statistics
    np.testing.assert_allclose(often.mean_picture, once.mean_picture, atol=0.011)  # two decimals


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 4)), min_size=1, max_size=12))
def test_the_weighted_median_is_that_of_repeated_values(pairs):
    values, counts = np.array(pairs, float).T
    shares = counts / counts.sum()
    expected = np.median(np.repeat(values, counts.astype(int)))
    assert weighted_median(values, shares) == pytest.approx(expected)


def test_profiles_of_sites_merge_to_that_of_their_consortium(make_site):
    one, other = make_site(60, seed=1), make_site(180, seed=2)
    whole = make_site(0)
    for part in (one, other):
        for entry, row in zip(part.entries, part.rows, strict=True):
            whole.add(patient=row.patient_id, thumbnail=entry.pictures[0].thumbnail)
    merged, pooled = Profile.merged([profile_of(one), profile_of(other)]), profile_of(whole)
    assert (merged.images, merged.patients) == (pooled.images, pooled.patients) == (240, 240)
    np.testing.assert_allclose(merged.mean_picture, pooled.mean_picture, atol=0.011)
    for name in STATISTICS:
        assert merged.statistics[name].median == pytest.approx(pooled.statistics[name].median, abs=0.01)
        assert merged.statistics[name].spread == pytest.approx(pooled.statistics[name].spread, rel=0.25)
    assert Profile.merged([merged]) == merged


def test_sites_far_apart_make_a_wide_profile(make_site):
    dark = make_site(40, seed=1)
    bright = make_site(40, seed=2, lift=80)
    one, other = profile_of(dark), profile_of(bright)
    merged = Profile.merged([one, other]).statistics["mean"]
    apart = other.statistics["mean"].median - one.statistics["mean"].median
    assert apart > 0.2
    assert merged.spread > apart / 2
    assert one.statistics["mean"].median < merged.median < other.statistics["mean"].median


@pytest.mark.parametrize("name", ["anatomy", "modality", "preprocessing"])
def test_profiles_of_different_things_do_not_merge(site, name):
    profile = profile_of(site)
    with pytest.raises(ConfigError, match=name):
        Profile.merged([profile, profile.model_copy(update={name: "other"})])
