"""Who the patients are stays where it is: planted in headers, names and texts, it is found in nothing that gets out."""

import base64
import os
import shutil
import sys
from pathlib import Path

import pydicom
import pytest
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from planted import FILE, FOLDER, SECRETS, TAGS, found, write_hospital
from scorable import head

CLIENT = (sys.executable, "-c", "from client.cli import main; main()")
CHECKOUT = Path(__file__).resolve().parents[2]

SITE_ONLY = {"data", "site.yaml", "check", "scores"}
"""What may name patients: it says of itself that it stays at the site."""

WATCH = """
import os, sys

log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        os.write(log, os.fsencode(args[0]) + b"\\n")
    elif event in ("os.rename", "os.mkdir", "os.link", "os.symlink"):
        os.write(log, b"\\n".join(os.fsencode(arg) for arg in args if isinstance(arg, (str, bytes))) + b"\\n")

sys.addaudithook(note)
"""


class Watched:
    """A desk whose commands are watched: what they print, and every name under which they write."""

    def __init__(self, desk):
        self.desk, self.folder, self.said = desk, desk.folder, []
        self.log = desk.folder / "names.log"
        (desk.folder / "watch").mkdir()
        (desk.folder / "watch/sitecustomize.py").write_text(WATCH.format(log=str(self.log)))
        home = desk.folder / "home"
        (home / "tmp").mkdir(parents=True)
        self.env = {
            "PYTHONPATH": os.pathsep.join((str(desk.folder / "watch"), str(CHECKOUT))),
            "PYTHONWARNINGS": "always",
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "RA_CACHE": str(home / "cache"),
        }

    def run(self, code, *args, **program):
        done = self.desk.with_env(**self.env).run(*args, **program)
        self.said.append(done.stdout + done.stderr)
        assert done.code == code, done.stderr
        return done

    def client(self, code, *args):
        return self.run(code, *args, program=CLIENT)

    def train(self, code):
        return self.run(code, "train", "site.yaml", "--study", "study.yaml", "--out", "out")

    def init(self, root):
        """The config as it is guessed, but that a file tells its patient where the header doesn't."""
        self.client(0, "init", root, "--out", "site.yaml", "--force")
        self.change(lambda settings: settings["data"]["folder"].update(patient="file"))

    def change(self, edit):
        path = self.folder / "site.yaml"
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        edit(settings)
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def what_got_out(self):
        """Name and content of all that is not site-only."""
        yield "printed", "\n".join(self.said).encode()
        written = [name for name in self.log.read_bytes().splitlines() if not self._is_site_only(os.fsdecode(name))]
        assert any(b".tmp" in name or b".part" in name or name.rpartition(b"/")[2].startswith(b".") for name in written)
        yield "names of files, temporary ones too", b"\n".join(written)
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and path != self.log and not self._is_site_only(str(path)):
                yield str(path.relative_to(self.folder)), path.read_bytes()

    def leaks(self, secrets):
        """What must not be there, by the file that it is in."""
        return {name: there for name, content in self.what_got_out() if (there := found(content, secrets))}

    def _is_site_only(self, name):
        path = Path(os.path.abspath(self.folder / name))
        inside = path.relative_to(self.folder).parts if path.is_relative_to(self.folder) else ("",)
        return any(part.lstrip(".").startswith(tuple(SITE_ONLY)) for part in inside[:1])


@pytest.mark.parametrize("packed", ["plain", "utf-16", "base64", "page", "png"])
def test_the_search_finds_what_is_hidden_from_plain_sight(tmp_path, packed):
    secret = TAGS["PatientName"]
    text = PngInfo()
    text.add_text("Patient", secret, zip=True)
    Image.fromarray(head((70, 60))).save(tmp_path / "x.png", pnginfo=text)
    picture = (tmp_path / "x.png").read_bytes()
    content = {
        "plain": secret.upper().encode(),
        "utf-16": secret.encode("utf-16"),
        "base64": b"x" + base64.b64encode(b"ab" + secret.encode() + b"c"),
        "page": b'<img src="data:image/png;base64,' + base64.b64encode(picture) + b'">',
        "png": picture,
    }[packed]
    assert found(content, SECRETS) == {"Zwetschge", "Roswitha"}
    assert found(b"nothing at all" + bytes(range(256)), SECRETS) == set()


# --- all commands


@pytest.fixture(scope="module")
def watched(make_desk, weights_file, tmp_path_factory):
    """All commands have run over the hospital."""
    watched = Watched(make_desk(tmp_path_factory.mktemp("identity")))
    study = yaml.safe_load((watched.folder / "study.yaml").read_text())
    study["training"] |= {"steps": 12, "validate_every": 6}
    study["method"]["warmup_steps"] = 2
    watched.desk.save("study.yaml", study)
    root = watched.folder / "data" / FOLDER
    write_hospital(root)
    watched.init(root)
    assert FOLDER in (watched.folder / "site.yaml").read_text(encoding="utf-8"), "nothing was planted"
    options = ("--study", "study.yaml", "--out", "check", "--write-profile", "profile.json")
    watched.client(18, "check", "site.yaml", *options)
    watched.train(11)
    watched.change(lambda settings: settings["limits"].update(max_lost=0.9))
    watched.train(0)
    model = watched.folder / "out/models/local_my_site"
    calibration = watched.folder / "out/calibration/local_my_site/my_site"
    limits = ("--site", "site.yaml", "--weights", weights_file)
    scoring = ("score", "--model", model, "--calibration", calibration, *limits)
    watched.client(19, *scoring, "--out", "scores", root)
    watched.client(19, *scoring, "--out", "scores", root / FOLDER / f"{FILE}-note.txt", root)
    return watched


def test_nothing_that_gets_out_names_a_patient_or_a_file(watched):
    assert watched.leaks(SECRETS) == {}


def test_all_that_may_get_out_was_looked_at(watched):
    names = [name for name, _ in watched.what_got_out()]
    for wanted in ("profile.json", "out/run.json", "out/results.csv", "out/report.html", "/model.safetensors"):
        assert any(name.endswith(wanted) for name in names), wanted
    for wanted in ("card.json", "calibration.json", "checkpoint.safetensors", "home/cache/images/"):
        assert any(wanted in name for name in names), wanted


def test_the_site_only_files_do_name_them(watched):
    """So the secrets were read, and the search can fail."""
    page = (watched.folder / "check/check.html").read_bytes()
    assert FILE in found(page, SECRETS)
    assert FILE in found((watched.folder / "scores/scores.csv").read_bytes(), SECRETS)
    maps = list((watched.folder / "scores/dicom").rglob("*.dcm"))
    assert "Zwetschge" in str(pydicom.dcmread(maps[0]).PatientName)


def test_case_15(watched, shared):
    """The case's own forbidden texts, over its own files."""
    cases = yaml.safe_load((shared / "cases/imaging/cases.yaml").read_text(encoding="utf-8"))["cases"]
    (case,) = (case for case in cases if "forbidden_in_outputs" in case)
    root = watched.folder / "data/case"
    shutil.copytree(shared / "cases/imaging" / case["id"], root)
    watched.init(root)
    watched.client(18, "check", "site.yaml", "--study", "study.yaml", "--out", "check")
    model = watched.folder / "out/models/local_my_site"
    watched.client(19, "score", "--model", model, "--any-part", "--out", "scores_case", root)
    assert watched.leaks(case["forbidden_in_outputs"]) == {}
