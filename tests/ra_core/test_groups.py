import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_core import groups as module
from ra_core.data import ImageSet, Manifest, Row, SiteImages
from ra_core.groups import SMALLEST_GROUP, Cases, findings, groups

NONE = np.zeros(0)


def made_up(counts):
    """Test rows by (label, pathology)."""
    return [
        Row(f"{label}{pathology}{i}", "s", "", "", "test", label, pathology, f"{label}{pathology}{i}", "", "", "", 0)
        for (label, pathology), count in counts.items()
        for i in range(count)
    ]


def test_docstring_examples():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("pathology", "expected"),
    [
        (
            "infiltrate; pneumonia (lesion mask is filled boxes)",
            ["infiltrate", "pneumonia (lesion mask is filled boxes)"],
        ),
        ("a (b (c, d), e; f), g", ["a (b (c, d), e; f)", "g"]),
        (" ,; a,, a ", ["a"]),
        ("a), b", ["a)", "b"]),
        ("a (b, c", ["a (b, c"]),
    ],
)
def test_a_pathology_is_split_outside_parentheses(pathology, expected):
    assert findings(pathology) == expected


@given(st.text("ab,;() ", max_size=20))
def test_any_text_gives_trimmed_distinct_findings(text):
    found = findings(text)
    assert found == sorted(set(found))
    assert all(name and name == name.strip() for name in found)


def test_frequent_findings_are_groups_of_anomalous_images():
    rows = made_up(
        {
            ("healthy", ""): 20,
            ("healthy", "a"): 5,
            ("anomalous", "a"): SMALLEST_GROUP - 2,
            ("anomalous", "a, b"): 2,
            ("anomalous", "b"): SMALLEST_GROUP - 3,
            ("anomalous", ""): 12,
        }
    )
    found = groups(rows, [], NONE)
    assert list(found) == ["a"]
    assert [row.pathology for row, kept in zip(rows, found["a"], strict=True) if kept] == ["a"] * 8 + ["a, b"] * 2
    assert all(row.label == "anomalous" for row, kept in zip(rows, found["a"], strict=True) if kept)


def test_a_single_finding_is_all_there_is_and_no_group():
    assert groups(made_up({("healthy", "no finding"): 20, ("anomalous", "a"): 20}), [], NONE) == {}


def test_sizes_are_shares_of_the_foreground():
    rows = made_up({("anomalous", "a"): 40, ("healthy", ""): 2})
    shares = np.array([0, *[0.0099] * 11, 0.01, *[0.04] * 9, *[0.0401] * 10, 0])
    found = groups(rows, range(8, 41), shares)
    assert {name: np.flatnonzero(images).tolist() for name, images in found.items()} == {
        "size: small": list(range(9, 20)),
        "size: medium": list(range(20, 30)),
        "size: large": list(range(30, 40)),
    }


@pytest.fixture
def images(site_root, tiny_study):
    manifest = Manifest.load(site_root / "manifest.csv", site_root)
    splits = (
        ImageSet(manifest.select(split=split), site_root, tiny_study.preprocessing, None)
        for split in ("train", "val", "test", "calibration")
    )
    return SiteImages("discs", *splits)


def test_cases_measure_lesions_on_the_images(images, monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_GROUP", 1)
    cases = Cases.of(images, 5)
    x, masks = images.test.images(range(12))[:, 0].numpy(), np.stack(images.test.masks(range(12)))
    assert cases.anomalous.tolist() == [row.label == "anomalous" for row in images.test.rows]
    shares = masks.sum((1, 2)) / (x > 0).sum((1, 2))
    for name, low, high in (("small", 0, 0.01), ("medium", 0.01, 0.04), ("large", 0.04, 1)):
        expected = (shares > low) & (shares <= high)
        found = cases.groups.get(f"size: {name}", np.zeros(12, bool))
        assert np.array_equal(found, expected)
    assert sum(images.sum() for images in cases.groups.values()) == 6


def test_pixel_groups_hold_the_known_images_of_a_group_and_all_known_healthy_ones(images, monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_GROUP", 2)
    cases = Cases.of(images, 16)
    sick = np.flatnonzero(cases.anomalous)
    group = np.isin(np.arange(12), sick[:3])
    known = [i for i in range(12) if i not in (sick[0], sick[5])]
    lesions = type(cases.lesions)(known, cases.lesions.masks[known], [cases.patients[i] for i in known])
    some = Cases(cases.rows, lesions, {"some": group, "few": np.isin(np.arange(12), sick[[0, 1]])})
    assert list(some.pixel_groups) == ["some"]
    kept = [known[place] for place in np.flatnonzero(some.pixel_groups["some"])]
    assert kept == sorted([*np.flatnonzero(~cases.anomalous), sick[1], sick[2]])
