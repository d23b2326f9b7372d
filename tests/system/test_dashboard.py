"""The dashboard's own command, looked at by a real browser."""

import http.client
import itertools
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from browser import PATIENCE, Browser, until
from typer.testing import CliRunner

from ra_core.daemons.events import Events
from ra_core.daemons.processes import executable
from server.cli import app

SITES = ["hospital-a", "hospital-b", "hospital-c"]
HASH = "3f9a" * 16
EVIL = "<img src=//evil.example/x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on this machine")
    browser = Browser(program, tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def folder(tmp_path):
    """A provisioned consortium whose run has two rounds behind it and is in the third."""
    settings = {"name": "Lung consortium", "address": "localhost:9443", "sites": SITES}
    (tmp_path / "consortium.yaml").write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(app, ["provision", str(tmp_path / "consortium.yaml")])
    assert done.exit_code == 0, done.output
    tell = events(tmp_path).tell
    tell("run_started", run="brain", study_digest="d", sites=SITES, rounds=20, from_round=0)
    for site in SITES:
        tell("joined", site=site, n_images=1200, n_used=1250, n_declared=1300)
    for number in (1, 2):
        tell("round_started", round=number, closing=False, asked=SITES, until=deadline())
        answer(tmp_path, number, *SITES)
        facts = {"answered": SITES, "missing": {}, "model_hash": HASH, "best_round": number - 1, "seconds": 1.0}
        tell("round_done", round=number, closing=False, validation_error=0.5 / number, **facts)
    tell("round_started", round=3, closing=False, asked=SITES, until=deadline())
    for line in (tmp_path / "consortium" / "sites").glob("*.json"):
        line.write_text(line.read_text().replace('"invited"', '"admitted"'))
    return tmp_path


def events(folder):
    return Events(folder / "consortium" / "runs" / "brain" / "events.jsonl")


def deadline():
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")


def answer(folder, number, *sites):
    for site in sites:
        metrics = {"validation_error": 0.5 / number, "error": 0.4 / number}
        events(folder).tell("answered", round=number, site=site, seconds=300.0, metrics=metrics)


@pytest.fixture
def address(folder):
    """Where the command serves, as it says itself."""
    command = [executable("ra-server"), "dashboard", "--consortium", str(folder / "consortium.yaml"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"open (http://127\.0\.0\.1:\d+/)\n", line)
        assert found, (line, process.poll() is None or process.stderr.read())
        yield found[1]
        process.terminate()
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_page_updates_itself(browser, address, folder):
    browser.open(address, 1280)
    assert "0 of 3 sites answered" in browser.text("verdict")
    browser.ask("window.scrolled = document.getElementById('verdict')")
    answer(folder, 3, *SITES)
    until(lambda: "All is well: round 3 of 20, all 3 sites answered" in browser.text("verdict"))
    assert browser.ask("document.title") == "✓ Lung consortium"
    events(folder).tell("rejected", round=3, site="hospital-b", reason=EVIL)
    until(lambda: f"goes on without hospital-b ({EVIL})" in browser.text("verdict"))
    assert browser.ask("document.title") == "! Lung consortium"
    assert EVIL in browser.ask("document.getElementById('reasons').nextElementSibling.innerText")
    assert browser.ask("document.images.length") == 0
    assert browser.ask("window.scrolled.isConnected")  # the page was not loaded anew
    assert {url for url in browser.requests() if url != f"{address}favicon.ico"} == {address}
    assert [text for text in browser.complaints() if "404" not in text] == []


def test_the_page_updates_without_scripts(browser, address, folder):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(address, 1280)
        assert "0 of 3 sites answered" in browser.text("verdict")
        answer(folder, 3, "hospital-a")
        until(lambda: "1 of 3 sites answered" in browser.text("verdict"))
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_an_old_page_says_so(browser, address):
    browser.open(address, 1280)
    assert not browser.ask("document.getElementById('stale').checkVisibility()")
    browser.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    try:
        until(lambda: browser.ask("document.getElementById('stale').checkVisibility()"))
        assert browser.ask("document.title") == "? Lung consortium"
        assert "no answer since" in browser.ask("document.getElementById('stale').innerText")
    finally:
        anew = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.call("Network.emulateNetworkConditions", offline=False, **anew)
    until(lambda: not browser.ask("document.getElementById('stale').checkVisibility()"))
    assert browser.ask("document.title") == "✓ Lung consortium"


def test_it_fits_and_can_be_read(browser, address):
    for width, scheme in itertools.product((390, 1280), ("light", "dark")):
        browser.open(address, width, scheme)
        assert browser.ask("document.documentElement.scrollWidth") <= width
        box = "document.querySelector('.verdict').getBoundingClientRect()"
        assert 0 <= browser.ask(f"{box}.top") < browser.ask(f"{box}.bottom") < 450  # seen without scrolling
        assert browser.ask("document.querySelectorAll('figure > svg').length") == 2
        pairs = browser.ask(
            "['.verdict', '.verdict .mark', '.state', 'footer', 'td', 'h1'].map(s => ["
            "getComputedStyle(document.querySelector(s)).color, getComputedStyle(document.body).backgroundColor])"
        )
        assert [pair for pair in pairs if contrast(*pair) < 4.5] == []
        assert (luminance(pairs[0][1]) < 0.2) == (scheme == "dark")


def luminance(colour):
    """Relative luminance of "rgb(r, g, b)", as the guidelines for accessible pages define it."""
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_only_loopback_names_are_answered(address):
    port = int(re.search(r":(\d+)/", address)[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 403
    connection.close()
    listening = {line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if f":{port:04X} " in line}
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening
