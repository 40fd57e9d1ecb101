"""Builds workflows/ and subgraphs/ in a real ComfyUI and a real browser. Started by `python dev.py workflows`."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from cli.server import ComfyServer, ServerDied, cpu_arguments
from devtools import browser
from devtools.console import SetupError, say
from devtools.places import REPOSITORY
from hosting.process import start_comfyui

from .apps import apps
from .blueprints import BLUEPRINTS
from .drawing.diagrams import drawn
from .drawing.pictures import draw_all
from .drawing.runs import draw_runs
from .drawing.thumbnails import save
from .page.build import all_graphs, build, thumbnail, versions
from .page.editor import Editor
from .page.film import GRAPH, film
from .page.front import front
from .page.host import INPUTS, make_base
from .page.wrapped import build_apps, build_blueprints

PICTURES = "pictures"  # the name for those of README and of help pages


def main(arguments: list) -> int:
    """Build everything, or what is named."""
    top = argparse.ArgumentParser(prog="dev.py workflows")
    top.add_argument("names", nargs="*", metavar="NAME")
    top.add_argument("--to", type=Path, default=REPOSITORY)
    chosen = top.parse_args(arguments)
    graphs, forms, nodes = all_graphs(), apps(), BLUEPRINTS
    names = [*(graph.name for graph in graphs), *(app.graph.name for app in forms), *(node.words.name for node in nodes), PICTURES]
    if unknown := set(chosen.names) - set(names):
        top.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    wanted = set(chosen.names or names)
    if not chosen.names:
        draw_all(INPUTS)
    # Leaving by an exception is what stops the server.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder))
        extra = cpu_arguments(sys.executable)
        with (
            ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=extra) as server,
            Editor(server.url, browser.installed()) as editor,
        ):
            write_all(
                editor,
                base,
                chosen.to,
                [graph for graph in graphs if graph.name in wanted],
                [app for app in forms if app.graph.name in wanted],
                [node for node in nodes if node.words.name in wanted],
            )
            if PICTURES in wanted:
                files = {graph.name: REPOSITORY / "workflows" / f"{graph.title}.json" for graph in graphs}
                front(editor, base, files, chosen.to)
                film(editor, base, files[GRAPH], chosen.to)
                draw_runs(server.url, base, chosen.to)
                start_comfyui()
                for file, picture in drawn().items():
                    picture.quantize(96).save(chosen.to / "web" / "docs" / file, optimize=True)
    say(f"{len(wanted)} of {len(names)} written to {chosen.to / 'workflows'} and {chosen.to / 'subgraphs'}")
    return 0


def write_all(editor: Editor, base: Path, folder: Path, graphs: list, forms: list, nodes: list) -> None:
    """Write workflows with their twins and thumbnails, and blueprints."""
    version = versions(editor.evaluate("async () => (await fetch('/system_stats')).json()"))
    workflows = folder / "workflows"
    build(editor, version, graphs, workflows)
    build_apps(editor, version, forms, workflows)
    build_blueprints(editor, version, nodes, folder / "subgraphs")
    for graph in [*(app.graph for app in forms), *graphs]:
        save(thumbnail(editor, base, graph, workflows), workflows / f"{graph.title}.jpg")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (SetupError, ServerDied) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
