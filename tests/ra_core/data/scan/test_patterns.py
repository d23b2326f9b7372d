import pytest

from ra_core.data.scan.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        ("**", ["a", "a/b", "a/b/c.png"], []),
        ("*", ["a", "a.png"], ["a/b"]),
        ("*.png", ["a.png", ".png"], ["a/b.png", "a.PNG", "a.pngx"]),
        ("**/*.png", ["a.png", "a/b/c.png"], ["a.jpg"]),
        ("train/**", ["train/a", "train/b/c"], ["train", "xtrain/a", "a/train/b", "Train/a"]),
        ("**/train/**", ["train/a", "x/train/a", "x/y/train/b/c"], ["train", "x/trainer/a"]),
        ("**/**/a", ["a", "x/a", "x/y/a"], ["xa"]),
        ("a/*/c", ["a/b/c"], ["a/c", "a/b/b/c"]),
        ("p?/x", ["p1/x"], ["p/x", "p12/x", "p/"]),
        ("a+(b)[c].png", ["a+(b)[c].png"], ["aab.png"]),
        ("*\n*", ["new\nline"], ["newline"]),
    ],
)
def test_a_pattern_fits_whole_paths(pattern, fits, fails):
    assert all(matches(path, [pattern]) for path in fits)
    assert not any(matches(path, [pattern]) for path in fails)


def test_one_of_several_is_enough_and_none_fits_nothing():
    assert matches("b", ["a", "b"])
    assert not matches("b", [])


def test_an_umlaut_is_one_however_it_is_written():
    assert matches("Mu\u0308ller/1", ["M\u00fcller/*"])
    assert matches("M\u00fcller/1", ["Mu\u0308ller/*"])
