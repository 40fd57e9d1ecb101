"""The commands of dev.py."""

import argparse
import os
import shutil
import signal
import subprocess
import sys

from cli.demo.tasks import TASKS

from . import browser
from .console import SetupError, say
from .pins import COMFYUI, DEFAULT_COMFYUI
from .places import REPOSITORY, cache_root
from .setup import Host, set_up
from .weights import download as weights

MOST_PROCESSES = 4  # of the tests
DESCRIPTION = """\
Develop Pusa for ComfyUI. Every command first makes everything ready: a pinned ComfyUI and a virtual environment with
PyTorch, in a per-user cache that all clones share. The first time that takes some minutes and several GB; afterwards
no time and no network."""

EPILOG = """\
environment variables:
  COMFYUI_PATH     an existing ComfyUI checkout to use instead of a pinned one
  PUSA_COMFYUI     the pinned ComfyUI version, like --comfyui
  PUSA_DEV_CACHE   the cache folder
  PUSA_CHROMIUM    the browser for the browser tests, a Chromium, Chrome or Edge
  PUSA_ARTIFACTS   a folder for the screenshots that the browser tests make

examples:
  python dev.py demo
  python dev.py demo --task transition
  python dev.py test -k schedulers
  python dev.py --comfyui 0.18.2 test tests/host
  python dev.py serve --port 8188 -- --preview-method auto
  python dev.py run -- ruff check .
  python dev.py download wan22 --dry-run"""


def parser() -> argparse.ArgumentParser:
    """The command line, less everything behind `--`."""
    top = argparse.ArgumentParser(
        prog="dev.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument(
        "--comfyui",
        metavar="VERSION",
        choices=COMFYUI,
        help=f"pinned ComfyUI version: {', '.join(COMFYUI)} (default {DEFAULT_COMFYUI})",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, usage, text):
        return commands.add_parser(
            name,
            usage=f"dev.py [--comfyui VERSION] {usage}",
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            allow_abbrev=False,
        )

    usage = f"demo [--task {'|'.join(TASKS)}|all] [--seed N]"
    demo = add("demo", usage, "make a short video with the embedded model, headless, and say where it is")
    demo.add_argument("--task", choices=[*TASKS, "all"], default="i2v", help="what to make (default i2v: a picture comes alive)")
    demo.add_argument("--seed", type=int, default=0, help="another seed is another video (default 0)")
    add("test", "test [PYTEST ARGUMENTS ...]", "run all tests, or those that the pytest arguments choose")
    text = "build the workflows, their API twins, thumbnails and blueprints from workflows/source, in a real browser"
    add("workflows", "workflows [NAME ...]", text).add_argument("names", nargs="*", help="only these; all without a name")
    serve = add("serve", "serve [--port N] [-- COMFYUI ARGUMENTS ...]", "start a ComfyUI with this pack for a browser")
    serve.add_argument("--port", type=int, help="port to listen on (default 8188, or a free one if that is taken)")
    add("run", "run -- COMMAND ...", "run any command inside the environment, with COMFYUI_PATH set")
    names = "|".join(weights.MODELS)
    usage = f"download {names} [--comfyui-models DIR] [--dry-run] [--yes]"
    weights.add_arguments(add("download", usage, "fetch the official model files into a ComfyUI's folders"))
    usage, names = "bench [NAME] [-- ARGUMENTS ...]", ", ".join(measurements())
    bench = add("bench", usage, "measure what a vector of timesteps costs into benchmarks/RESULTS.md, or run one measurement")
    bench.add_argument("name", nargs="?", help=f"one of {names}; without it, all that go into RESULTS.md")
    add("readme", "readme", "write the parts of README.md that are computed, or follow from the files")
    add("setup", "setup", "only make everything ready")
    return top


def main(argv: list) -> int:
    """Run one command line; returns the exit code."""
    cut = argv.index("--") if "--" in argv else len(argv)
    before, behind = argv[:cut], argv[cut + 1 :]
    arguments, unknown = parser().parse_known_args(before)
    if arguments.command == "test":
        behind = unknown + behind
    elif arguments.command == "run" and not behind:
        parser().error("run needs a command behind `--`, for example: dev.py run -- python -V")
    elif unknown or (behind and arguments.command not in ("run", "serve", "bench")):
        parser().error(f"unrecognized arguments: {' '.join(unknown or behind)}")
    # Leaving by an exception is what removes a half-made environment.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        host = set_up(*chosen_comfyui(arguments.comfyui, os.environ))
        return COMMANDS[arguments.command](host, arguments, behind)
    except SetupError as error:
        print(f"\nError: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def chosen_comfyui(option, environ) -> tuple:
    """(pinned version, existing checkout): the command line decides before the environment."""
    if option:
        return option, ""
    version = environ.get("PUSA_COMFYUI") or DEFAULT_COMFYUI
    if version not in COMFYUI:
        raise SetupError(f"PUSA_COMFYUI is {version}; the pinned versions are {', '.join(COMFYUI)}.")
    return version, environ.get("COMFYUI_PATH", "")


def setup(host: Host, arguments, behind) -> int:
    """Say where everything is."""
    say(f"Ready.\n  ComfyUI      {host.checkout}\n  environment  {host.venv}\n  base folder  {host.base}")
    return 0


def demo(host: Host, arguments, behind) -> int:
    """A task of the embedded model."""
    return hand_over([host.python, "-m", "cli.demo", host.base, "--task", arguments.task, "--seed", str(arguments.seed)], host)


def test(host: Host, arguments, behind) -> int:
    """All tests, unless the arguments name some; a browser is made ready where its tests are among them."""
    wanted = not behind or any("browser" in argument for argument in behind)
    if path := browser.ready(host.python, host.base / "browser.log") if wanted else browser.installed():
        os.environ[browser.VARIABLE] = path
    if wanted and path:
        os.environ.setdefault(browser.PAGE, browser.newest_page(host.venv, cache_root(), host.base / "browser.log"))
    cores = os.cpu_count() or 1
    arguments = pytest_arguments(behind, cores)
    if len(arguments) > len(behind):  # more threads than cores cost far more than they bring
        os.environ.setdefault("OMP_NUM_THREADS", str(cores // min(cores, MOST_PROCESSES)))
    return hand_over([host.python, "-m", "pytest", *arguments], host)


def pytest_arguments(given: list, cores: int) -> list:
    """The given arguments, and all tests unless they name a file or folder of them.

    All tests are spread over processes, file by file: one a core, four at most, because each takes some GB.
    """
    tests = REPOSITORY / "tests"
    paths = [REPOSITORY / argument.split("::")[0] for argument in given]
    if any(path.exists() and path.resolve().is_relative_to(tests) for path in paths):
        return given
    return [f"--numprocesses={min(cores, MOST_PROCESSES)}", "--dist=loadfile", *given, "tests"]


def workflows(host: Host, arguments, behind) -> int:
    """The graphs of workflows/source, built and saved by the real editor."""
    path = browser.ready(host.python, host.base / "browser.log")
    if not path:
        raise SetupError(f"There is no Chromium. Install Chromium, Chrome or Edge, or set {browser.VARIABLE} to one.")
    os.environ[browser.VARIABLE] = path
    return hand_over([host.python, "-m", "workflows.source", *arguments.names], host)


def serve(host: Host, arguments, behind) -> int:
    """A ComfyUI in the foreground."""
    from cli.server import cpu_arguments, free_port, server_command

    port = arguments.port or free_port(preferred=8188)
    extra = [*cpu_arguments(host.python), *behind]
    say(f"ComfyUI will answer at http://127.0.0.1:{port} in some seconds; Ctrl+C stops it.")
    return hand_over(server_command(host.python, host.checkout, host.base, port, extra), host)


def run(host: Host, arguments, behind) -> int:
    """Any command."""
    return hand_over(behind, host, folder=None)


def download(host: Host, arguments, behind) -> int:
    """The official model files, into the folder that was named, else the existing ComfyUI's, else the base directory's."""
    existing = chosen_comfyui(arguments.comfyui, os.environ)[1]
    models = arguments.comfyui_models or (host.checkout if existing else host.base) / "models"
    return hand_over(weights.command(host.python, host.venv, models, arguments), host)


def bench(host: Host, arguments, behind) -> int:
    """One measurement, or all that make up benchmarks/RESULTS.md."""
    if arguments.name is None:
        return hand_over([host.python, "-m", "benchmarks", *behind], host)
    if arguments.name not in measurements():
        raise SetupError(f"There is no measurement {arguments.name}; there are {', '.join(measurements())}.")
    return hand_over([host.python, "-m", f"benchmarks.{arguments.name}", *behind], host)


def readme(host: Host, arguments, behind) -> int:
    """The computed parts of README.md."""
    return hand_over([host.python, "-m", "benchmarks.card", "--write"], host)


def measurements() -> list:
    """Files and rooms in benchmarks/ that are a command of their own, without suffix."""
    folder = REPOSITORY / "benchmarks"
    files = [file.stem for file in folder.glob("[!_]*.py") if 'if __name__ == "__main__"' in file.read_text(encoding="utf-8")]
    return sorted([*files, *(file.parent.name for file in folder.glob("*/__main__.py"))])


COMMANDS = {
    "setup": setup, "demo": demo, "test": test, "serve": serve, "run": run, "download": download, "bench": bench,
    "workflows": workflows, "readme": readme,
}  # fmt: skip


def hand_over(command: list, host: Host, folder=REPOSITORY) -> int:
    """Become `command` inside the environment, so that signals and the exit code are its own."""
    environ = host.environ()
    command = [str(part) for part in command]
    program = shutil.which(command[0], path=environ["PATH"])
    if program is None:
        raise SetupError(f"There is no command {command[0]} in the environment or on PATH.")
    if folder is not None:
        os.chdir(folder)
    if sys.platform == "win32":
        return subprocess.run([program, *command[1:]], env=environ).returncode
    sys.stdout.flush()
    os.execve(program, command, environ)
