"""The ledger: what is acknowledged can't be changed unnoticed, and nothing leaves without a line that is safe."""

import errno
import json
import multiprocessing
import os
import stat
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from client.cli import app
from client.ledger import appending, book, chain
from client.ledger.answered import Answered
from client.ledger.book import Ledger
from client.ledger.chain import LONGEST_LINE
from client.ledger.kinds import KINDS
from client.ledger.line import EMPTY, Entry, Head
from client.policy import _KINDS
from ra_core.errors import ConfigError, LedgerError
from ra_core.messages import Stage

SEEN = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

FACTS = {"n_images": 9, "model_hash": "c" * 64}
WHAT = {"facts": FACTS, "metrics": {"loss": 0.1}, "tensors": [], "norm": 0.0, "bytes": 7, "withheld": []}


def entry(number=1, kind="round", **changes):
    return Entry(**{"kind": kind, "what": WHAT, "policy": "p" * 64, "run": "run", "round": number} | changes)


def written(folder, count=4):
    """A ledger with lines, all acknowledged, and its bytes."""
    found = Ledger.of(folder, "anna")
    with found.opened() as opened:
        for number in range(1, count + 1):
            opened.append(entry(number))
        opened.acknowledge(opened.head)
    return found


def check(found):
    with found.opened() as opened:
        return opened.head


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = written(tmp_path_factory.mktemp("ledger"))
    return found, found.file.read_bytes()


def test_lines_follow_one_another(tmp_path):
    found = written(tmp_path)
    lines = [json.loads(text) for text in found.file.read_text().splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 4]
    assert [line["previous"] for line in lines] == [EMPTY.hash, *(line["hash"] for line in lines[:-1])]
    assert all(line["privacy"] is None and line["time"].endswith("Z") for line in lines)
    assert check(found) == found.acknowledged == Head(4, lines[-1]["hash"])
    assert stat.S_IMODE(found.file.stat().st_mode) == 0o600


@SEEN
@given(st.data())
def test_any_other_byte_is_found(whole, data):
    found, content = whole
    place = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    found.file.write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
    with pytest.raises(LedgerError, match="the ledger was changed"):
        check(found)


def is_found(whole, places):
    """A ledger of the whole one's lines in these places only is no ledger."""
    found, content = whole
    lines = content.splitlines(keepends=True)
    found.file.write_bytes(b"".join(lines[place] for place in places))
    with pytest.raises(LedgerError, match="the ledger was changed"):
        check(found)


@SEEN
@given(st.permutations(range(4)).filter(lambda order: order != [0, 1, 2, 3]))
def test_any_other_order_is_found(whole, order):
    is_found(whole, order)


@SEEN
@given(st.lists(st.sampled_from(range(4)), max_size=6).filter(lambda kept: kept[:4] != [0, 1, 2, 3]))
def test_lines_taken_out_or_put_in_twice_are_found(whole, kept):
    is_found(whole, kept)


@SEEN
@given(st.data())
def test_any_cut_is_found(whole, data):
    found, content = whole
    found.file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(LedgerError, match="knows of 4 lines"):
        check(found)


def test_what_a_process_has_checked_it_takes_apart_anew_only_when_bytes_have_changed(tmp_path, monkeypatch):
    found, taken, line_of = written(tmp_path), [], chain._line
    monkeypatch.setattr(chain, "_line", lambda text, number: taken.append(number) or line_of(text, number))
    head = check(found)
    assert taken == []
    book._known.clear()  # as in another process
    assert (check(found), taken) == (head, [1, 2, 3, 4])
    found.file.write_bytes(found.file.read_bytes().replace(b'"n_images":9', b'"n_images":8', 1))
    with pytest.raises(LedgerError, match="line 1 is not what was written"):
        check(found)


def test_a_line_that_was_half_taken_in_is_read_anew(tmp_path, monkeypatch):
    found = written(tmp_path)
    with found.opened() as opened, monkeypatch.context() as broken:
        broken.setattr(Answered, "add", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            opened.append(entry(5))
    with found.opened() as opened:
        assert (opened.head.length, len(opened.spent)) == (5, 5)


def test_what_another_process_has_added_is_read_on(tmp_path):
    context = multiprocessing.get_context("fork")
    found = written(tmp_path)
    other = context.Process(target=_many, args=(tmp_path, 3))
    other.start()
    other.join(60)
    with found.opened() as opened:
        assert (opened.head.length, len(opened.spent)) == (7, 7)
        assert [line.hash for line in opened.lines()] == opened.hashes


def test_a_ledger_written_anew_is_found(tmp_path):
    found = written(tmp_path)
    found.file.unlink()
    other = written(tmp_path / "other")
    found.file.write_bytes(other.file.read_bytes().replace(b'"n_images":9', b'"n_images":8'))
    with pytest.raises(LedgerError):
        check(found)
    found.file.write_bytes(other.file.read_bytes())  # a chain of its own, whole
    with pytest.raises(LedgerError, match="line 4 is not the one"):
        check(found)


def test_the_server_knows_when_ledger_and_acknowledgement_were_written_anew_together(tmp_path):
    head = check(written(tmp_path))
    (tmp_path / "anna").rename(tmp_path / "gone")
    again = written(tmp_path)
    with again.opened() as opened, pytest.raises(LedgerError, match="line 4 is not the one that the server knows of"):
        opened.acknowledge(head)


def test_an_older_acknowledgement_takes_nothing_back(tmp_path):
    found = written(tmp_path)
    last = found.acknowledged
    with found.opened() as opened:
        opened.acknowledge(Head(2, opened.hashes[1]))
        opened.acknowledge(EMPTY)
    assert found.acknowledged == last


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"length": 0, "hash": ""}', b'{"length": "4", "hash": "e"}'])
def test_a_changed_acknowledgement_is_found(tmp_path, content):
    found = written(tmp_path)
    (found.folder / "acknowledged.json").write_bytes(content)
    with pytest.raises(LedgerError, match=r"acknowledged\.json"):
        check(found)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_torn_line_is_set_aside_with_a_note(tmp_path, share):
    found = written(tmp_path)
    with found.opened() as opened:
        opened.append(entry(5))
    content = found.file.read_bytes()
    last = content.splitlines(keepends=True)[-1]
    torn = last[: max(1, int(share * len(last)))]
    found.file.write_bytes(content[: -len(last)] + torn)
    with found.opened() as opened:
        assert opened.torn_bytes == len(torn)
        opened.append(entry(5))
    with found.opened() as opened:
        *_, note, line = opened.lines()
    assert (note.number, note.kind, line.number, line.kind) == (5, "torn", 6, "round")
    assert (found.folder / note.what["file"]).read_bytes() == torn


def test_a_crash_between_setting_aside_and_the_note_loses_neither(tmp_path, monkeypatch):
    found = written(tmp_path)
    for tail in (b'{"half', b'{"another half'):
        with found.file.open("ab") as file:
            file.write(tail)
        with monkeypatch.context() as patched:
            patched.setattr(book, "append", _fails)
            refuse(found, entry())
    with found.opened() as opened:
        opened.append(entry())
    with found.opened() as opened:
        kinds = [line.kind for line in opened.lines()]
    assert kinds == ["round"] * 4 + ["torn"] * 2 + ["round"]


def _fails(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def refuse(found, what):
    """The line can't be written, and the error says why."""
    with pytest.raises(LedgerError, match="No space left"), found.opened() as opened:
        opened.append(what)


@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_on_a_full_disk_there_is_no_line_and_an_error(tmp_path, monkeypatch, call):
    found = written(tmp_path)
    before = found.file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(appending.os, call, _fails)
        refuse(found, entry(5))
    assert found.file.read_bytes() == before
    with found.opened() as opened:
        assert opened.append(entry(5)).length == 5


def test_half_a_write_is_taken_back(tmp_path, monkeypatch):
    found = written(tmp_path)
    before, write = found.file.read_bytes(), os.write
    calls = []

    def half(handle, content):
        calls.append(content)
        return write(handle, content[:10]) if len(calls) == 1 else _fails()

    with monkeypatch.context() as patched:
        patched.setattr(appending.os, "write", half)
        refuse(found, entry(5))
    assert len(calls) == 2
    assert found.file.read_bytes() == before


def test_an_unwritable_folder_is_an_error_without_a_path(tmp_path):
    (tmp_path / "anna").write_text("no folder")
    with pytest.raises(LedgerError) as raised:
        check(Ledger.of(tmp_path, "anna"))
    assert str(tmp_path) not in str(raised.value)


def test_a_line_without_an_end_is_not_read_whole(tmp_path):
    found = written(tmp_path)
    with found.file.open("ab") as file:
        file.truncate(found.file.stat().st_size + LONGEST_LINE)
    with pytest.raises(LedgerError, match="line 5 is longer"):
        check(found)


def test_a_line_that_could_not_be_read_again_is_not_written(tmp_path):
    found = written(tmp_path)
    before = found.file.read_bytes()
    with pytest.raises(LedgerError, match="longer than any that is read again"), found.opened() as opened:
        opened.append(entry(5, what=WHAT | {"withheld": ["x" * LONGEST_LINE]}))
    assert found.file.read_bytes() == before
    assert check(found).length == 4


def _many(folder, count):
    for number in range(count):
        with Ledger.of(folder, "anna").opened() as opened:
            opened.append(entry(number))


def test_two_processes_write_one_chain(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_many, args=(tmp_path, 15)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert check(Ledger.of(tmp_path, "anna")).length == 30


def test_nobody_finds_a_line_by_its_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "moment", lambda: "2026-01-01T00:00:00Z")
    first, second = (json.loads(written(tmp_path / name, 1).file.read_text()) for name in "ab")
    assert {key for key in first if first[key] != second[key]} == {"salt", "hash"}
    assert len(bytes.fromhex(first["salt"])) == 16


def test_folders_that_are_new_with_a_ledger_are_safe_on_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(book, "sync_folder", synced.append)
    found = Ledger.of(tmp_path / "state", "anna")
    check(found)
    assert synced == [tmp_path / "state" / "anna", tmp_path / "state", tmp_path]
    check(found)
    assert len(synced) == 3


def test_names_in_the_folder_are_safe_on_the_disk_as_their_files_are(tmp_path, monkeypatch):
    """A file that is synced is lost all the same if its folder, when the power goes, has no entry of it."""
    found = written(tmp_path)
    synced = []
    for module in (book, appending):
        monkeypatch.setattr(module, "sync_folder", lambda folder: synced.append((folder, found.file.stat().st_size)))
    with found.opened() as opened:
        size = found.file.stat().st_size
        opened.append(entry(5))
        assert synced == [(found.folder, found.file.stat().st_size)], "also of a file that isn't new: who made it?"
        assert found.file.stat().st_size > size
        opened.acknowledge(opened.head)
        assert len(synced) == 2
    torn_at = found.file.stat().st_size
    found.file.write_bytes(found.file.read_bytes() + b"torn")
    with found.opened() as opened:
        opened.append(entry(6))
    assert synced[2] == (found.folder, torn_at + 4), "what is set aside is safe before it is cut off"


def test_a_ledger_that_another_keeps_is_an_error(tmp_path, monkeypatch):
    found = written(tmp_path)
    monkeypatch.setattr(book, "PATIENCE", 0.1)
    with found.opened(), pytest.raises(LedgerError, match="another process"):
        check(found)


class TestCommands:
    @pytest.fixture
    def site(self, tmp_path):
        found = written(tmp_path / "state")
        with found.opened() as opened:
            opened.append(entry(0, "refusal", what=WHAT | {"facts": {"reason": "policy.parts <b>decoder</b>"}}))
            opened.append(
                entry(0, "error", what=WHAT | {"facts": {"kind": "X"}, "withheld": ["policy.min_count: few"]})
            )
        config = "name: Anna\nanatomy: none\nmodality: OT\ndata: {site: anna}\nstate: state\npolicy: {metrics: none}\n"
        (tmp_path / "site.yaml").write_text(config)
        return tmp_path / "site.yaml", found

    def run(self, *arguments):
        return CliRunner().invoke(app, ["ledger", *map(str, arguments)], catch_exceptions=False)

    def test_show_lists_the_latest(self, site):
        lines = self.run("show", site[0], "--last", 3).output.splitlines()
        assert [line.split("  ")[0] for line in lines] == ["4", "5", "6"]
        assert "run, round 4" in lines[0]
        assert lines[2].endswith("kept back: policy.min_count: few")
        assert self.run("show", site[0], "--whole").output == site[1].file.read_text()

    def test_the_help_has_every_kind_of_line(self):
        said = " ".join(self.run("show", "--help").output.split())
        kinds = {*_KINDS.values(), *get_args(Stage), "round", "closing", "masked", "masked_closing"}
        assert kinds | {"torn", "spending", "begin"} == set(KINDS)
        assert [kind for kind in KINDS if f" {kind}: " not in said] == []

    def test_verify_says_that_it_is_whole(self, site):
        head = check(site[1])
        out = self.run("verify", site[0]).output
        assert "6 lines is whole" in out
        assert "acknowledged 4" in out
        assert head.hash in self.run("verify", site[0], "--length", 6, "--head", head.hash).output

    def test_verify_finds_what_the_operator_knows_otherwise(self, site):
        with pytest.raises(LedgerError, match="line 6 is not the one that the operator knows of"):
            self.run("verify", site[0], "--length", 6, "--head", "a" * 64)
        with pytest.raises(LedgerError, match="the operator knows of 7 lines"):
            self.run("verify", site[0], "--length", 7, "--head", "a" * 64)

    def test_a_beginning_is_said_once_and_may_be_in_place_of_a_lost_ledger(self, site):
        self.run("begin", site[0])
        with pytest.raises(ConfigError, match="this ledger has begun"):
            self.run("begin", site[0])
        lost = Head(50, "a" * 64)
        with site[1].opened() as opened:
            assert opened.begun
            with pytest.raises(LedgerError, match="the server knows of 50 lines, and it has 7"):
                opened.acknowledge(lost)
        self.run("begin", site[0], "--length", lost.length, "--head", lost.hash)
        with site[1].opened() as opened:
            opened.acknowledge(lost)
            assert opened.ledger.acknowledged.length == 4
            opened.acknowledge(opened.head)
            assert opened.ledger.acknowledged.length == 8
        told = self.run("show", site[0], "--last", 2).output.splitlines()
        assert "nothing has left before it" in told[0]
        assert "in place of one of 50 lines, lost" in told[1]
        assert "2 | statements that the account begins" in self.run("report", site[0]).output
        with pytest.raises(ConfigError, match="belong together"):
            self.run("begin", site[0], "--length", 3)

    def begin_anew(self, site, head):
        """Give a ledger up that the operator knows by its end; what its line says was set aside."""
        assert isinstance(CliRunner().invoke(app, ["ledger", "begin", str(site[0])]).exception, LedgerError)
        self.run("begin", site[0], "--length", head.length, "--head", head.hash)
        with site[1].opened() as opened:
            *_, line = opened.lines()
            opened.acknowledge(head)  # as by the next order
        assert "set aside: lost_" in self.run("show", site[0]).output
        return {told["file"]: told for told in line.what["aside"]}, line

    def test_a_missing_ledger_can_be_given_up(self, site):
        head, known = check(site[1]), site[1].acknowledgement.read_bytes()
        site[1].file.unlink()
        aside, line = self.begin_anew(site, head)
        ((name, told),) = aside.items()
        assert name.endswith("_acknowledged.json")
        assert (site[1].folder / name).read_bytes() == known
        assert (told["bytes"], line.number) == (len(known), 1)

    def test_a_damaged_ledger_can_be_given_up_and_stays(self, site):
        head = check(site[1])
        damaged = site[1].file.read_bytes().replace(b'"n_images":9', b'"n_images":8', 1)
        site[1].file.write_bytes(damaged)
        aside, line = self.begin_anew(site, head)
        assert {name.rpartition("_")[2] for name in aside} == {"acknowledged.json", "ledger.jsonl"}
        (old,) = (site[1].folder / name for name in aside if name.endswith("ledger.jsonl"))
        assert old.read_bytes() == damaged
        assert line.number == 1

    @pytest.mark.parametrize("harm", ["cut", "damaged acknowledgement"])
    def test_what_is_left_of_a_chain_goes_on_so_that_what_it_spent_stays_spent(self, site, harm):
        head = check(site[1])
        if harm == "cut":
            site[1].file.write_bytes(b"".join(site[1].file.read_bytes().splitlines(keepends=True)[:2]))
        else:
            site[1].acknowledgement.write_bytes(b"{}")
        aside, line = self.begin_anew(site, head)
        assert [name.rpartition("_")[2] for name in aside] == ["acknowledged.json"]
        assert line.number == (3 if harm == "cut" else head.length + 1)

    def test_a_crash_before_the_statement_loses_no_note(self, site):
        head = check(site[1])
        site[1].file.write_bytes(b"no ledger\n")
        with site[1].opened(renew=True):
            pass  # and the machine went down
        self.run("begin", site[0], "--length", head.length, "--head", head.hash)
        with site[1].opened() as opened:
            (line,) = opened.lines()
        assert len(line.what["aside"]) == 2

    def test_the_report_is_one_page_and_text(self, site, tmp_path):
        out = self.run("report", site[0], "--out", tmp_path / "page.html").output
        page = (tmp_path / "page.html").read_text()
        for text in ("chain of 6 lines is whole", "policy.min_count: few", "min_patients", "run.json"):
            assert text in out
            assert text in page
        assert "<b>" not in page
        assert "&lt;b&gt;decoder" in page
        assert "<script" not in page

    def test_a_site_that_has_sent_nothing(self, tmp_path):
        (tmp_path / "site.yaml").write_text("name: A\nanatomy: n\nmodality: OT\ndata: {site: a}\nstate: state\n")
        assert "chain of 0 lines is whole" in self.run("verify", tmp_path / "site.yaml").output
        assert "none" in self.run("report", tmp_path / "site.yaml").output
