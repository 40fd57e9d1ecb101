"""dev.py download: the real client against a small hub on this machine."""

import os
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(Path(__file__).parent)]

from hub import download, present, python  # noqa: E402

from devtools import commands, venvs  # noqa: E402
from devtools.pins import DOWNLOAD  # noqa: E402
from devtools.weights.download import command  # noqa: E402
from devtools.weights.models import MODELS, JoinedFile  # noqa: E402

HIGH, LOW = MODELS["lightx2v"]
CHUNK = 10 << 20  # in which the client writes to disk


def expected(name):
    return {f"{file.folder}/{file.name}" for file in MODELS[name]}


def contents(hub, models, *files):
    return all((models / file.folder / file.name).read_bytes() == hub.repositories[file.repository][file.source] for file in files)


def halves(file):
    return file.halves if isinstance(file, JoinedFile) else (file,)


# The table


def test_every_file_has_a_place_of_its_own_and_nothing_leaves_its_folder():
    for files in MODELS.values():
        places = [(file.folder, file.name) for file in files]
        assert len(set(places)) == len(places)
        assert all(file.folder in ("diffusion_models", "text_encoders", "vae", "loras") for file in files)
        assert all(Path(file.name).name == file.name for file in files)
    every = {file for files in MODELS.values() for file in files}
    assert len({(file.folder, file.name) for file in every}) == len(every)
    assert set(MODELS["wan21"]) & set(MODELS["wan22"]) & set(MODELS["vace"]) & set(MODELS["skyreels"])


# From nothing to everything


@pytest.mark.parametrize("name", MODELS)
def test_all_files_land_in_the_right_folders_and_the_second_run_fetches_none(name, hub, models):
    first = download(name, hub, models, "--yes")
    assert first.returncode == 0, first.stderr
    assert present(models) == expected(name)
    assert contents(hub, models, *(file for file in MODELS[name] if halves(file) == (file,)))
    assert len(hub.served) == sum(len(halves(file)) for file in MODELS[name])
    if name == "lightx2v":
        second = download(name, hub, models, "--yes")
        assert second.returncode == 0
        assert "All of it is there." in second.stdout
        assert len(hub.served) == len(MODELS[name])


def test_only_what_is_missing_is_fetched(hub, models):
    (models / "loras").mkdir()
    (models / "loras" / HIGH.name).write_bytes(hub.repositories[HIGH.repository][HIGH.source])
    result = download("lightx2v", hub, models, "--yes")
    assert result.returncode == 0
    assert f"loras/{HIGH.name}  (there already)" in result.stdout
    assert hub.served == [(LOW.source, None)]


@pytest.mark.parametrize("existing", [False, True])
def test_without_a_folder_it_is_that_of_comfyui_path_or_the_base_directory(existing, hub, tmp_path):
    code = """if True:
        import sys; from pathlib import Path
        from devtools import commands; from devtools.setup import Host
        host = Host(checkout=Path(sys.argv[1], "checkout"), venv=Path(sys.prefix), base=Path(sys.argv[1], "base"))
        sys.exit(commands.download(host, commands.parser().parse_args(["download", "lightx2v", "--yes"]), []))"""
    for name in ("checkout", "base"):
        (tmp_path / name / "models").mkdir(parents=True)
    given = {"COMFYUI_PATH": str(tmp_path / "checkout")} if existing else {}
    result = python(hub, tmp_path / "home", "-c", code, tmp_path, **given)
    assert result.returncode == 0, result.stderr
    assert present(tmp_path / "checkout" / "models") == (expected("lightx2v") if existing else set())
    assert present(tmp_path / "base" / "models") == (set() if existing else expected("lightx2v"))


def test_the_client_is_installed_where_it_is_not(tmp_path, monkeypatch):
    (name, version), info = DOWNLOAD[0].split("=="), "huggingface_hub-{}.dist-info"
    with zipfile.ZipFile(tmp_path / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(f"{info.format(version)}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info.format(version)}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info.format(version)}/RECORD", "")
    for variable, value in {"CONFIG_FILE": os.devnull, "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{variable}", value)
    monkeypatch.setenv("PUSA_DEV_CACHE", str(tmp_path / "home"))
    venv, asked = tmp_path / "venv", commands.parser().parse_args(["download", "wan22", "--dry-run"])
    (tmp_path / "home").mkdir()
    venvs.create_venv(venv, "Making an environment", tmp_path / "log")
    for _ in range(2):
        line = command(venvs.venv_python(venv), venv, tmp_path, asked)
        assert line[1:] == ["-m", "devtools.weights.download", "wan22", "--comfyui-models", tmp_path, "--dry-run"]
    assert (tmp_path / "home" / "setup.log").read_text().count("== Installing huggingface_hub") == 1


# Before anything is fetched


def test_a_dry_run_and_a_no_fetch_nothing(hub, models):
    dry = download("lightx2v", hub, models, "--dry-run")
    assert dry.returncode == 0
    assert f"loras/{LOW.name}" in dry.stdout and f"from {LOW.repository}" in dry.stdout and "MB to fetch" in dry.stdout
    for answer in ("", "n\n", "\n"):
        assert download("lightx2v", hub, models, answer=answer).returncode == 1
    assert hub.served == []
    assert present(models) == set()


def test_a_yes_at_the_question_is_enough(hub, models):
    assert download("lightx2v", hub, models, answer="y\n").returncode == 0
    assert present(models) == expected("lightx2v")


def test_too_little_space_is_said_before_anything_is_fetched(hub, models):
    code = "import sys, pathlib; from devtools.weights.download import download; "
    code += "download('lightx2v', pathlib.Path(sys.argv[1]), yes=True, free=lambda folder: 1000)"
    result = python(hub, models.parent / "home", "-c", code, models)
    assert "has 0.0 MB free" in result.stderr
    assert hub.served == []
    assert present(models) == set()


def test_another_file_of_that_name_is_left_alone(hub, models):
    (models / "loras").mkdir()
    mine = models / "loras" / LOW.name
    mine.write_bytes(b"x" * len(hub.repositories[LOW.repository][LOW.source]))
    result = download("lightx2v", hub, models, "--yes")
    assert result.returncode == 1
    assert f"{mine} is another file" in result.stderr
    assert set(mine.read_bytes()) == {ord("x")}
    assert hub.served == []


def test_no_hub_is_one_sentence(hub, models):
    hub.close()
    result = download("wan22", hub, models, "--yes")
    assert result.returncode == 1
    assert f"The model hub {hub.url} could not be asked" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_what_is_gone_from_the_hub_is_named(hub, models):
    hub.repositories[LOW.repository] = {"other/low.safetensors": b"x"}
    result = download("lightx2v", hub, models, "--yes")
    assert result.returncode == 1
    assert f"has no file {HIGH.source} any more. It has: other/low.safetensors." in result.stderr
    del hub.repositories[LOW.repository]
    assert f"has no public repository {LOW.repository}" in download("lightx2v", hub, models, "--yes").stderr


def test_a_folder_that_is_not_there_is_a_typing_error(hub, models):
    result = download("wan21", hub, models / "mdoels")
    assert result.returncode == 2
    assert "is not a folder" in result.stderr


# Trouble on the way


def test_a_broken_transfer_goes_on_where_it_stopped(hub, models):
    big = hub.repositories[HIGH.repository][HIGH.source] = os.urandom(CHUNK + 200_000)
    hub.stop_after, hub.transfers_left = CHUNK + 100_000, 1
    first = download("lightx2v", hub, models, "--yes")
    assert first.returncode == 1
    assert "goes on after the 10.5 MB that are there" in first.stderr
    assert "Traceback" not in first.stderr
    assert [path.endswith(".part") for path in present(models)] == [True]

    hub.stop_after = hub.transfers_left = None
    assert download("lightx2v", hub, models, "--yes").returncode == 0
    assert hub.served[:2] == [(HIGH.source, None), (HIGH.source, f"bytes={CHUNK}-")]
    assert present(models) == expected("lightx2v")
    assert (models / "loras" / HIGH.name).read_bytes() == big


def test_a_wrong_checksum_is_refused_and_nothing_of_it_stays(hub, models):
    hub.checksums[HIGH.source] = "0" * 64
    result = download("lightx2v", hub, models, "--yes")
    assert result.returncode == 1
    assert f"{HIGH.name} has the wrong checksum and was deleted" in result.stderr
    assert present(models) == set()


def test_a_damaged_part_is_not_taken_over(hub, models):
    size = len(hub.repositories[HIGH.repository][HIGH.source])
    hub.transfers_left = 0
    assert download("lightx2v", hub, models, "--yes").returncode == 1
    (part,) = (models / "loras").iterdir()
    hub.transfers_left = None
    part.write_bytes(b"x" * (size + 1))
    assert download("lightx2v", hub, models, "--yes").returncode == 0
    assert hub.served[0] == (HIGH.source, None)
    assert contents(hub, models, HIGH, LOW)
