"""The command line as a user starts it, and servers with the embedded model."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from host_comfyui import ROOT

from cli.server import ComfyServer, cpu_arguments, free_port
from devtools.places import prepare_base

GIVEN = ROOT / "assets" / "nano" / "input"
SMALL = ("--num_inference_steps", "2", "--num_frames", "9", "--width", "32", "--height", "32")


def command(task: str, out: Path, *flags) -> list:
    """A command line for the embedded model."""
    given = ["-m", "cli", task, "--model", "nano", "--output_dir", out, *flags]
    return [sys.executable, *map(str, given)]


def run(task: str, out: Path, *flags, code: int = 0) -> subprocess.CompletedProcess:
    """Run a command line to its end."""
    done = subprocess.run(command(task, out, *flags), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def start(task: str, out: Path, *flags, **settings) -> subprocess.Popen:
    """Start a command line; its output is read line by line."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT} | settings
    return subprocess.Popen(command(task, out, *flags), **settings)


def lines_until(process: subprocess.Popen, word: str) -> list:
    """Its lines up to the first with a word in it."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"ended without {word!r}:\n" + "".join(lines))


def ask(url: str, path: str):
    """The JSON at a path of a server."""
    with urllib.request.urlopen(url + path, timeout=20) as answer:
        return json.load(answer)


def tell(url: str, path: str, **words) -> None:
    """Post JSON to a path of a server."""
    urllib.request.urlopen(url + path, json.dumps(words).encode(), timeout=20).close()


def make_server(base: Path, port: int | None = None) -> ComfyServer:
    """A server with the pack and the embedded model, and nothing in its input folder."""
    prepare_base(base, ROOT)
    shutil.copytree(ROOT / "assets" / "nano" / "models", base / "models", dirs_exist_ok=True)
    return ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, port or free_port(), cpu_arguments(sys.executable))
