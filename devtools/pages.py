"""The parts of README that a program writes: each stands between `<!-- NAME -->` and `<!-- end of NAME -->`.

Here are those that follow from the files of the repository; `benchmarks/card` has those that are computed.
"""

import re
from pathlib import Path
from urllib.parse import quote

from .places import REPOSITORY

README = REPOSITORY / "README.md"
WORKFLOWS = REPOSITORY / "workflows"
TITLES = WORKFLOWS / "source" / "words" / "titles.py"
SHEET, SHOT = "assets/tasks.png", "assets/graph.png"  # pictures that `python dev.py workflows pictures` makes
FORMS, DEMOS = "App", "Demo"


def part(text: str, name: str) -> str:
    """What stands in a part of a page."""
    return text.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- end of {name} -->")[0]


def with_part(text: str, name: str, block: str) -> str:
    """A page with another text in one of its parts."""
    before, behind = text.split(f"<!-- {name} -->\n")
    return f"{before}<!-- {name} -->\n{block}\n<!-- end of {name} -->{behind.split(f'<!-- end of {name} -->')[1]}"


def project(key: str) -> str | None:
    """A value of pyproject.toml, whose keys each stand there once at most."""
    found = re.search(rf'^{key} = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    return found[1] if found else None


def install() -> str:
    """The ways to install, with the address of the repository that pyproject.toml has under `[project.urls]`."""
    address = project("Repository") or "ADDRESS"
    needed = project("requires-comfyui").removeprefix(">=").removesuffix(".0")
    lines = [f"You need ComfyUI {needed} or newer and nothing else."]
    if address == "ADDRESS":
        lines += ["`ADDRESS` stands for the address of the repository in which you read this: the pack has no fixed one yet."]
    lines += [
        "",
        f"- **ComfyUI Manager**: Custom Nodes Manager, *Install via Git URL*, `{address}`.",
        f"- **By hand**: `git clone {address} ComfyUI/custom_nodes/pusa`, or unpack a download of this folder there.",
        "- **Portable build for Windows**: in the folder that holds `run_nvidia_gpu.bat`,",
        f"  `git clone {address} ComfyUI\\custom_nodes\\pusa`.",
    ]
    return "\n".join(lines)


def title(path: Path) -> tuple[str, str]:
    """Group and name of a ready graph: `Image-to-Video_Wan2.2_4-steps` is Image to Video in the group "Wan2.2, 4 steps"."""
    first, *others = path.stem.replace("-", " ").split("_")
    return (first, ", ".join(others)) if first == FORMS else (", ".join(others), first)


def graphs() -> str:
    """Every ready graph as a link, a line for each group, in the order of the table of titles; the demos come first."""
    groups: dict[str, list[str]] = {}
    for path in sorted(WORKFLOWS.glob("*.json")):
        group, name = title(path)
        groups.setdefault(group, []).append(f"[{name}](workflows/{quote(path.name)})")
    titles = re.findall(r'": "(.+)",$', TITLES.read_text(encoding="utf-8"), re.M)
    known = list(dict.fromkeys(title(Path(f"{stem}.json"))[0] for stem in titles))
    order = sorted(groups, key=lambda group: (not group.startswith(DEMOS), known.index(group)))
    return "\n".join(["| for | graphs |", "| --- | --- |", *(f"| {group} | {', '.join(groups[group])} |" for group in order)])


PARTS = {"install": install, "graphs": graphs}
