"""What a run's record tells of sites' ledgers, and what later runs take from it."""

import json
import os

from server.rounds.account import known_ledgers


def write(folder, name, when, ledgers):
    (folder / name).mkdir()
    (folder / name / "run.json").write_text(ledgers if isinstance(ledgers, str) else json.dumps({"ledgers": ledgers}))
    os.utime(folder / name / "run.json", (when, when))


def test_the_latest_run_knows_best_what_a_sites_ledger_is(tmp_path):
    anna, berta = {"length": 9, "head": "a" * 64}, {"length": 5, "head": "b" * 64}
    again = {"length": 2, "head": "c" * 64}
    write(tmp_path, "b", 1, {"anna": anna, "berta": berta})
    write(tmp_path, "a", 2, {"anna": again})
    for number, broken in enumerate(["", "[]", "{}", '{"ledgers": 3}', '{"ledgers": {"anna": {}}}']):
        write(tmp_path, f"broken{number}", 3, broken)
    assert known_ledgers(tmp_path) == {"anna": (2, "c" * 64), "berta": (5, "b" * 64)}
