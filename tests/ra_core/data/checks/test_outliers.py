import numpy as np
import pytest
from PIL import Image

from ra_core.config import PreprocessingConfig
from ra_core.data import load_image
from ra_core.data.checks import Code, Level, Profile
from ra_core.data.checks.outliers import TURNS, check_consortium, check_poses, check_usual
from ra_core.data.scan.records import THUMBNAIL


def profile_of(site, **kwargs):
    return Profile.of(site.pictures, **{"anatomy": "chest", "modality": "CR", "preprocessing": "p", **kwargs})


def paths(finding):
    return {mention.path for mention in finding.files}


def test_a_clean_site_has_no_outliers(site):
    assert not list(check_poses(site.pictures))
    assert not list(check_usual(site.pictures))
    assert not list(check_consortium(site.pictures, profile_of(site)))


@pytest.mark.parametrize("turn", list(TURNS))
def test_pictures_laid_wrongly_are_found_and_only_they(site, make_anatomy, turn):
    rng = np.random.default_rng(9)
    for _ in range(4):
        site.add(thumbnail=np.ascontiguousarray(TURNS[turn](make_anatomy(rng))))
    (finding,) = check_poses(site.pictures)
    assert (finding.code, finding.level) == (Code.TURNED, Level.WARNING)
    assert paths(finding) == {row.path for row in site.rows[-4:]}
    assert {mention.remark for mention in finding.files} == {f"lies like the others after {turn}"}


def test_inverted_pictures_are_found_and_only_they(site, make_anatomy):
    rng = np.random.default_rng(9)
    for _ in range(4):
        site.add(thumbnail=255 - make_anatomy(rng))
    (finding,) = check_poses(site.pictures)
    assert finding.code == Code.INVERTED
    assert paths(finding) == {row.path for row in site.rows[-4:]}


def test_poses_are_not_judged_where_pictures_have_nothing_in_common(made):
    for _ in range(60):
        patches = made.rng.integers(0, 256, (4, 4), dtype=np.uint8)
        made.add(thumbnail=np.kron(patches, np.ones((8, 8), np.uint8)))
    assert not list(check_poses(made.pictures))


def test_another_brightness_or_shape_is_found_worst_first(site, make_anatomy):
    rng = np.random.default_rng(3)
    site.add(thumbnail=(make_anatomy(rng) // 3).astype(np.uint8)).add(shape=(64, 640))
    (finding,) = check_usual(site.pictures)
    assert finding.code == Code.UNLIKE_SITE
    assert [mention.path for mention in finding.files] == [site.rows[-1].path, site.rows[-2].path]
    assert "aspect" in finding.files[0].remark
    assert "below" in finding.files[0].remark


def test_only_healthy_pictures_are_judged(site, made, make_anatomy):
    """Abnormal ones are expected to be unlike healthy ones, the site's and the consortium's."""
    dark = (make_anatomy(np.random.default_rng(3)) // 3).astype(np.uint8)
    site.add(5, "test", "anomalous", thumbnail=dark)
    profile = profile_of(site)
    assert not list(check_usual(site.pictures))
    assert not list(check_consortium(site.pictures, profile))
    site.add(thumbnail=dark)
    (usual,), (consortium,) = check_usual(site.pictures), check_consortium(site.pictures, profile)
    assert paths(usual) == paths(consortium) == {site.rows[-1].path}
    assert "1 of 81 healthy images" in usual.message


def test_a_few_shapes_are_no_outliers_where_all_others_have_one(site):
    site.add(shape=(64, 80))
    assert not list(check_usual(site.pictures))


def test_too_few_pictures_tell_nothing(made):
    made.add(10).add(shape=(64, 6400))
    assert not list(check_usual(made.pictures))
    assert not list(check_poses(made.pictures))


def test_a_site_whose_images_all_lie_sideways_is_an_error_against_the_consortium(site, made, make_anatomy):
    for _ in range(30):
        made.add(thumbnail=np.ascontiguousarray(np.rot90(make_anatomy(made.rng))))
    assert not list(check_poses(made.pictures))  # among themselves they are alike
    found = {finding.code: finding for finding in check_consortium(made.pictures, profile_of(site))}
    assert found[Code.SITE_TURNED].level == Level.ERROR
    assert "a quarter turn" in found[Code.SITE_TURNED].message


def test_a_site_whose_images_are_all_inverted_is_an_error_against_the_consortium(site, made, make_anatomy):
    for _ in range(30):
        made.add(thumbnail=255 - make_anatomy(made.rng))
    found = {finding.code: finding for finding in check_consortium(made.pictures, profile_of(site))}
    assert "inverted" in found[Code.SITE_TURNED].message
    assert "mean is" in found[Code.SITE_UNLIKE_CONSORTIUM].message
    assert len(found[Code.UNLIKE_CONSORTIUM].files) == 30


@pytest.mark.parametrize(("site", "at_least"), [("guangzhou", 14), ("nih", 10)])
def test_real_films_laid_wrongly_or_inverted_are_found_and_no_others(shared, made, tmp_path, site, at_least):
    wrongs = {"turned": np.rot90, "upside down": np.flipud, "inverted": lambda x: 255 - x}
    films = sorted((shared / "data" / site / "train" / "healthy").glob("*.jpg"))
    planted = {}
    for number, file in enumerate(films[:150]):
        kind = list(wrongs)[number // 5] if number < 15 else ""
        if kind:
            pixels = np.asarray(Image.open(file).convert("L"))
            file = tmp_path / f"{number}.png"  # noqa: PLW2901 - the same film, laid wrongly
            Image.fromarray(np.ascontiguousarray(wrongs[kind](pixels))).save(file)
        image = Image.fromarray(load_image(file, PreprocessingConfig()).pixels[0])
        small = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
        made.add(thumbnail=np.rint(small.clip(0, 1) * 255).astype(np.uint8))
        planted[made.rows[-1].path] = kind
    found = {path for finding in check_poses(made.pictures) for path in paths(finding)}
    wrong = {path for path, kind in planted.items() if kind}
    assert len(found & wrong) >= at_least
    assert not found - wrong
