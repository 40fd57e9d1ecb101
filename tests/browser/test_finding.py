"""How `dev.py` finds a browser, or makes one ready, with programs on PATH that stand for the real ones."""

import os
import sys
from pathlib import Path

import pytest

from devtools import browser
from devtools.console import SetupError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs on PATH are shell scripts")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with nothing on it, no browser in the usual places, no downloads; `programs(name, script)` adds a program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(browser.VARIABLE, raising=False)
    monkeypatch.setattr(browser, "PLACES", {})
    monkeypatch.setattr(browser, "DOWNLOADS", "http://127.0.0.1:9/")

    def add(name: str, script: str) -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return add


@pytest.fixture
def nothing(tmp_path, programs) -> Path:
    """A Python without Playwright."""
    return Path(programs("python", "exit 1"))


def test_the_variable_decides(programs, monkeypatch, nothing):
    other = programs("other", "true")
    programs("chromium", "echo Chromium 1")
    monkeypatch.setenv(browser.VARIABLE, other)
    assert browser.ready(nothing, Path(os.devnull)) == other
    monkeypatch.setenv(browser.VARIABLE, "no-such-program")
    with pytest.raises(SetupError, match="PUSA_CHROMIUM is no-such-program, which is not a program"):
        browser.installed()


def test_an_installed_one_is_found_and_a_hint_to_install_is_not_one(programs):
    programs("chromium", "echo 'Please install the snap'; exit 1")
    assert browser.installed() == ""
    chrome = programs("google-chrome", "echo Google Chrome 140")
    assert browser.installed() == chrome


def test_debians_package_is_installed_once_its_lists_are_fresh(programs, tmp_path, nothing, monkeypatch):
    monkeypatch.setattr(browser, "apt_works", lambda: True)
    made = f"printf '#!/bin/sh\\necho Chromium 1\\n' > {tmp_path}/chromium; /bin/chmod 755 {tmp_path}/chromium"
    fresh = tmp_path / "fresh"
    programs("apt-get", f'if [ "$1" = update ]; then : > {fresh}; exit; fi; [ -e {fresh} ] || exit 100; {made}')
    log = tmp_path / "log"
    assert browser.ready(nothing, log) == str(tmp_path / "chromium")


def test_where_none_can_be_had_it_ends_quietly(programs, tmp_path, nothing, monkeypatch, capsys):
    monkeypatch.setattr(browser, "apt_works", lambda: True)
    programs("apt-get", "echo no network >&2; exit 100")
    assert browser.ready(nothing, tmp_path / "log") == ""
    assert "no network" in (tmp_path / "log").read_text() and "no network" not in capsys.readouterr().out
