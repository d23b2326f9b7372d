import os
import signal

import pytest

from ra_core.console import INTERRUPTED, TerminalReporter, graceful_stop, new_app, run_app
from ra_core.errors import DataError, RAError

AWKWARD = r"/data/[red]site[/] [/x] a\[b] :bomb: {0}"


@pytest.fixture(autouse=True)
def _handlers():
    """A program changes how this process takes signals."""
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


def run(monkeypatch, command, *arguments):
    app = new_app("A program.")
    app.command(name="go")(command)
    monkeypatch.setattr("sys.argv", ["program", *(arguments or ["go"])])
    with pytest.raises(SystemExit) as caught:
        run_app(app)
    return caught.value.code or 0


def raises(error):
    def command():
        raise error

    return command


def test_an_error_is_one_line_its_hint_another_and_its_exit_code(monkeypatch, capsys):
    assert run(monkeypatch, raises(DataError("x.png: too " + "long " * 60, "look there"))) == DataError.exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["error: x.png: too " + "long " * 59 + "long ", "hint: look there"]


def test_an_error_without_a_hint_is_one_line(monkeypatch, capsys):
    assert run(monkeypatch, raises(RAError("so"))) == 1
    assert capsys.readouterr().err == "error: so\n"


def test_brackets_and_colons_of_file_names_stay(monkeypatch, capsys):
    run(monkeypatch, raises(DataError(AWKWARD, AWKWARD)))
    assert capsys.readouterr().err.splitlines() == [f"error: {AWKWARD}", f"hint: {AWKWARD}"]


def test_success_is_0_and_a_wrong_option_2(monkeypatch, capsys):
    assert run(monkeypatch, lambda: None) == 0
    assert run(monkeypatch, lambda: None, "go", "--what") == 2


def test_of_a_fault_the_place_is_told_and_not_what_it_says(monkeypatch, capsys):
    assert run(monkeypatch, raises(ZeroDivisionError("/data/Meyer/scan.dcm"))) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err
    assert "test_console.py, line" in err
    assert "in command" in err
    assert "Meyer" not in err
    assert "/" not in err


def test_of_an_error_about_a_file_the_code_is_told_and_not_the_path(monkeypatch, capsys):
    error = DataError("/data/Meyer/scan.dcm: cut off", "copy it again", "truncated")
    assert run(monkeypatch, raises(error)) == DataError.exit_code
    assert capsys.readouterr().err.splitlines() == ["error: a file can't be used: truncated", "hint: copy it again"]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [(["/data/in"], "/data/in: "), (["--out=/data/in"], "/data/in: "), (["/data/i"], ""), ([""], "")],
)
def test_of_a_file_that_can_not_be_written_only_what_was_typed_is_told(monkeypatch, capsys, typed, shown):
    def command(_arguments: list[str]):
        raise OSError(28, "No space left on device", "/data/in/Meyer/x")

    assert run(monkeypatch, command, "go", "--", *typed) == 1
    assert capsys.readouterr().err.startswith(f"error: {shown}No space left on device\n")


def test_ctrl_c_and_sigterm_end_with_the_shells_code(monkeypatch, capsys):
    assert run(monkeypatch, raises(KeyboardInterrupt())) == INTERRUPTED
    assert run(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM)) == INTERRUPTED


def test_every_program_prints_versions(monkeypatch, capsys):
    assert run(monkeypatch, lambda: None, "version") == 0
    assert "federated-ra " in capsys.readouterr().out


def test_help_ends_with_where_the_exit_codes_are(monkeypatch, capsys):
    assert run(monkeypatch, lambda: None, "--help") == 0
    assert "exit_codes" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_graceful_stop_is_noticed_and_a_second_one_breaks_in(number):
    earlier = signal.getsignal(number)
    with graceful_stop() as stopped:
        assert not stopped()
        os.kill(os.getpid(), number)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) == earlier


def test_a_log_gets_every_tenth_of_the_way(capsys):
    with TerminalReporter().task("training", 1000) as move:
        for step in range(1001):
            move(step, f"error {step}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"training {step}/1000: error {step}" for step in range(0, 1001, 100)]


def test_a_log_of_unknown_length_gets_every_new_detail_once(capsys):
    with TerminalReporter().task("evaluating", None) as move:
        for what in ("maps", "maps", "shortcuts"):
            move(0, what)
    assert capsys.readouterr().err.splitlines() == ["evaluating: maps", "evaluating: shortcuts"]


def test_what_is_said_stays_as_it_is_on_one_line(capsys):
    reporter = TerminalReporter()
    reporter.say(AWKWARD + " long" * 60)
    with reporter.task(AWKWARD, 1) as move:
        move(1, AWKWARD)
    assert capsys.readouterr().err.splitlines() == [AWKWARD + " long" * 60, f"{AWKWARD} 1/1: {AWKWARD}"]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    reporter = TerminalReporter()
    assert reporter.console.is_terminal
    with reporter.task("training [/x]", 10) as move:
        move(10, "error [/y]")
    shown = capsys.readouterr().err
    assert "training [/x]" in shown
    assert "10/10" in shown


def test_where_no_length_is_known_no_count_is_shown(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with TerminalReporter().task("making the page", None) as move:
        move(0, "pictures")
    shown = capsys.readouterr().err
    assert "making the page" in shown
    assert "/?" not in shown
    assert "0:00:0" in shown  # the time gone


def test_nothing_is_said_on_standard_output(capsys):
    TerminalReporter().say("hello")
    assert capsys.readouterr().out == ""
