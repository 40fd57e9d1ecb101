"""A real server with every file that the workflows name, and one page of a real Chromium, for the whole session."""

import os
import sys
from pathlib import Path

import host_comfyui
import pytest

# Behind ComfyUI, whose `nodes` must be found first.
sys.path += [str(host_comfyui.ROOT), str(Path(__file__).parent)]

from cli.server import ComfyServer, cpu_arguments  # noqa: E402
from devtools import browser  # noqa: E402
from workflows.source.page.host import make_base  # noqa: E402

NO_BROWSER = "no Chromium: set PUSA_CHROMIUM to one, or install Chromium, Chrome or Edge"
ARTIFACTS = "PUSA_ARTIFACTS"
kept = []


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return make_base(tmp_path_factory.mktemp("workflows"))


@pytest.fixture(scope="session")
def server(base) -> ComfyServer:
    arguments = cpu_arguments(sys.executable)
    with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=arguments) as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser, or the test is skipped by name."""
    path = browser.installed()
    if not path:
        pytest.skip(NO_BROWSER)
    return path


@pytest.fixture(scope="session")
def editor(chromium, server):
    from workflows.source.page.editor import Editor

    with Editor(server.url, chromium) as editor:
        yield editor


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Where screenshots are kept: the folder that PUSA_ARTIFACTS names, or one of this run."""
    named = os.environ.get(ARTIFACTS)
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    kept.append(folder)
    return folder


def pytest_terminal_summary(terminalreporter):
    """Say where the screenshots are, and name each browser test that did not run."""
    for folder in kept:
        terminalreporter.line(f"Screenshots of the workflows: {folder}")
    missed = [report.nodeid for report in terminalreporter.stats.get("skipped", []) if NO_BROWSER in str(report.longrepr)]
    if missed:
        terminalreporter.section("browser tests that were not run")
        terminalreporter.line(f"There is {NO_BROWSER}. Not run:")
        for name in missed:
            terminalreporter.line(f"  {name}")
