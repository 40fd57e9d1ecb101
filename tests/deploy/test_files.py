"""The files of deploy/ name what there is: paths, versions, graphs, and what the registry's package holds."""

import fnmatch
import importlib.metadata
import json
import re
import subprocess

import host_comfyui
import pytest
import yaml

from devtools import pins
from devtools.pages import project
from devtools.weights.models import MODELS

ROOT = host_comfyui.ROOT
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="ascii")
IGNORED = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="ascii").splitlines()
COMPOSE, RAYJOB = (yaml.safe_load((DEPLOY / name).read_text(encoding="ascii")) for name in ("compose.yaml", "rayjob.yaml"))
TEXTS = {path.name: path.read_text(encoding="ascii") for path in sorted(DEPLOY.iterdir())}
COMFYUI = "/opt/ComfyUI"
PACK = "custom_nodes/pusa"


def instructions(word):
    """Arguments of an instruction of the Dockerfile, each time that it stands there."""
    whole = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.M))
    return re.findall(rf"^{word} (.*)$", whole, re.M)


ARGUMENTS = dict(line.split("=", 1) for line in instructions("ARG"))
PACKAGED = {
    name
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    if not any(fnmatch.fnmatch(f"{name}/", f"{line}/*") for line in (ROOT / ".comfyignore").read_text().split())
}
"""What the registry's package of the pack holds: everything that .comfyignore does not leave out."""


def left_out(name):
    """Whether a file does not reach the build, by patterns of a path and what lies below it."""
    parts = name.split("/")
    paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatch.fnmatchcase(path, line) or fnmatch.fnmatchcase(f"/{path}", line[2:]) for path in paths for line in IGNORED)


def copied():
    """What the COPY lines take from a repository, by where it lies in the image."""
    found = {}
    for line in instructions("COPY"):
        *sources, target = line.split()
        for source in sources:
            for name in sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / source, *(ROOT / source).rglob("*"))):
                if (ROOT / name).is_file() and not left_out(name):
                    inside = name.removeprefix(f"{source}/") if (ROOT / source).is_dir() else name
                    found[f"{target.rstrip('/')}/{inside}"] = name
    return found


def test_the_image_has_the_files_of_a_user_s_install():
    """Each under its own place in custom_nodes, and of those that are packaged all but the dotfiles."""
    tracked = {place: name for place, name in copied().items() if name in PACKAGED}
    assert all(place == f"{PACK}/{name}" for place, name in tracked.items())
    assert set(tracked.values()) == {name for name in PACKAGED if not name.startswith(".")}


def test_nothing_else_is_copied():
    """Neither what the packaged tree leaves out nor what Python writes beside its files."""
    listed = subprocess.run(["git", "ls-files", "-o", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(copied().values()) <= PACKAGED | set(listed.stdout.splitlines())
    assert left_out("cli/__pycache__/x.pyc") and left_out("deploy/Dockerfile") and not left_out("nodes/loaders.py")
    assert set((ROOT / ".comfyignore").read_text().split()) <= set(IGNORED)


def test_versions_are_those_of_the_pins():
    """Of ComfyUI, PyTorch and Ray, wherever a file here names one; of the pack as pyproject.toml has it."""
    assert ARGUMENTS["COMFYUI"] == pins.DEFAULT_COMFYUI
    torch = ARGUMENTS["TORCH"].strip('"').split()
    assert torch[: len(pins.TORCH)] == list(pins.TORCH)
    assert torch[len(pins.TORCH) :] == [f"torchaudio=={importlib.metadata.version('torchaudio').split('+')[0]}"]
    known = dict(each.split("==") for each in (*pins.TORCH, *pins.CLUSTER))
    named = [
        found for text in TEXTS.values() for found in re.findall(r"\b(torch|torchvision|ray|s3fs)(?:\[\w+\])?==([\w.]+)", text)
    ]
    assert {name for name, _ in named} == {"torch", "torchvision", "ray", "s3fs"}
    assert all(known[name] == version for name, version in named)
    assert RAYJOB["spec"]["rayClusterSpec"]["rayVersion"] == known["ray"]
    tags = [tag for text in TEXTS.values() for tag in re.findall(r"\bpusa:(\d[\d.]*\d)", text)]
    assert tags and set(tags) == {project("version")}
    assert set(re.findall(r"ComfyUI (\d+\.\d+\.\d+)", TEXTS["README.md"])) == {pins.DEFAULT_COMFYUI}


def test_cuda_is_that_of_pytorch():
    """The base and the index of wheels that the page, the file and compose name for a GPU."""
    for text in (DOCKERFILE, TEXTS["compose.yaml"], TEXTS["README.md"]):
        base = re.search(r"BASE[=:] ?nvidia/cuda:(\d+)\.(\d+)\.\d+-base-ubuntu24\.04", text)
        index = re.search(r"https://download\.pytorch\.org/whl/cu(\d+)", text)
        assert base[1] + base[2] == index[1]
    assert ARGUMENTS["BASE"] == "ubuntu:24.04" and ARGUMENTS["TORCH_INDEX"].endswith("/cpu")


def test_the_image_serves_as_nobody_in_particular_and_says_whether_it_does():
    user = instructions("USER")[-1]
    assert int(user) >= 1000 and any(f"--uid {user} " in line for line in instructions("RUN"))
    assert "/system_stats" in DOCKERFILE.split("HEALTHCHECK")[1].split("\nCMD")[0]
    assert json.loads(instructions("CMD")[-1])[:2] == ["python", "main.py"]
    for health in re.findall(r'CMD (\["python", "-c".*\])', DOCKERFILE):
        compile(json.loads(health)[2], "health", "exec")


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_compose_builds_the_file_for_this_machine_alone(name):
    service = COMPOSE["services"][name]
    build = service["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert set(build["args"]) <= set(ARGUMENTS)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    places = {volume.rsplit(":", 1)[1] for volume in service["volumes"]}
    assert places == {f"{COMFYUI}/models", f"{COMFYUI}/output"}
    gpu = bool(service["deploy"])
    assert gpu == ("--cpu" not in service.get("command", [])) == bool(build["args"])


def test_the_cluster_s_job_runs_the_command_line_of_the_image_on_its_gpus():
    spec = RAYJOB["spec"]["rayClusterSpec"]
    command = RAYJOB["spec"]["entrypoint"].split()
    assert command[:3] == ["python", "-m", "cli"]
    assert command[command.index("--comfyui") + 1] == COMFYUI == instructions("WORKDIR")[0]
    assert spec["headGroupSpec"]["template"]["spec"]["containers"][0]["workingDir"] == f"{COMFYUI}/{PACK}"
    assert spec["authOptions"] == {"mode": "token"}
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    pods = [group["template"]["spec"] for group in groups]
    assert {pod["securityContext"]["runAsUser"] for pod in pods} == {int(instructions("USER")[-1])}
    assert len({container["image"] for pod in pods for container in pod["containers"]}) == 1
    mounts = [{mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} for pod in pods]
    assert [set(mount) == {volume["name"] for volume in pod["volumes"]} for mount, pod in zip(mounts, pods)] == [True, True]
    assert command[command.index("--jobs") + 1].startswith(f"{mounts[0]['jobs']}/") and mounts[1]["models"] == f"{COMFYUI}/models"
    gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for pod in pods]
    assert gpus == [None, "1"]


@pytest.mark.parametrize("name", [name for name in TEXTS if name.endswith(".md")])
def test_pages_name_files_and_graphs_that_exist(name):
    text = TEXTS[name]
    paths = re.findall(r"`((?:workflows|deploy|assets|cli|benchmarks|devtools|tests)/[\w./-]+)`", text)
    assert all((ROOT / path).exists() for path in paths), paths
    graphs = {path.stem for path in (ROOT / "workflows" / "api").glob("*.json")}
    named = set(re.findall(r"`((?:wan2\d|demo|mochi|skyreels|prompt)_\w+)`", text))
    assert named <= graphs and (named or name != "README.md")
    commands = re.findall(r"python dev\.py (\w+)", text)
    assert all(command in ("bench", "download", "run", "test") for command in commands)


def test_the_page_says_of_every_command_whether_it_was_tried():
    """Each indented line of the page begins with a program; a block ends with a line that says so."""
    blocks = re.findall(r"((?:^    .*\n)+)\n(.*)", TEXTS["README.md"], re.M)
    assert len(blocks) >= 5
    assert [behind for _, behind in blocks if not re.match(r"\*(Tried|Untried|Tried in part)\b.*", behind)] == []


def test_titles_and_inputs_that_the_page_names_are_in_the_graph():
    """The table of what a program fills in: title of the node, its input, and the file that comes with the pack."""
    graph = json.loads((ROOT / "workflows" / "api" / "wan22_lightx2v_i2v.json").read_text(encoding="utf-8"))
    nodes = {node["_meta"]["title"]: node["inputs"] for node in graph.values()}
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (`.+?`) \|", TEXTS["README.md"], re.M)
    assert len(rows) >= 6
    for title, inputs in rows:
        assert set(re.findall(r"`(\w+)`", inputs)) <= set(nodes[title]), title
    files = {value for node in nodes.values() for value in node.values() if str(value).endswith((".safetensors", ".pt"))}
    assert files and all(f"`{file}`" in TEXTS["README.md"] for file in files)
    sets = re.findall(r"python dev\.py download (\w+)", TEXTS["README.md"])
    assert files == {file.name for each in sets for file in MODELS[each]}
