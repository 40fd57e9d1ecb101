"""The VAE of Mochi, which the hub has in halves: fetched, joined, and found again; joined by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parent))

from hub import ROOT, download, half, present, python  # noqa: E402

from devtools.weights.join import MARKS, checksum_inside  # noqa: E402
from devtools.weights.models import MODELS, JoinedFile  # noqa: E402

(VAE,) = (file for file in MODELS["mochi"] if isinstance(file, JoinedFile))
PLACE = f"{VAE.folder}/{VAE.name}"
PLACES = {f"{file.folder}/{file.name}" for file in MODELS["mochi"]}


@pytest.fixture
def halves(tmp_path):
    """Both halves as files."""
    paths = {stem: tmp_path / f"{stem}.safetensors" for stem in MARKS}
    for stem, path in paths.items():
        path.write_bytes(half(stem))
    return paths


def join(*arguments):
    command = [sys.executable, "-m", "devtools.weights.join", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


def is_whole(path, halves):
    """Whether a file holds just the tensors of both halves, bit for bit."""
    wanted = {f"{stem}.{name}": tensor for stem, file in halves.items() for name, tensor in load_file(file).items()}
    found = load_file(path)
    return found.keys() == wanted.keys() and all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_the_halves_are_fetched_and_joined_and_found_again(hub, models, halves):
    first = download("mochi", hub, models, "--yes")
    assert first.returncode == 0, first.stderr
    assert present(models) == PLACES
    assert is_whole(models / PLACE, halves)
    count = len(hub.served)
    second = download("mochi", hub, models, "--yes")
    assert second.returncode == 0 and "All of it is there." in second.stdout
    assert second.stdout.count(f"{PLACE}  (there already)") == 2
    assert len(hub.served) == count


def test_what_the_hub_has_changed_is_not_taken_for_the_same(hub, models):
    assert download("mochi", hub, models, "--yes").returncode == 0
    hub.repositories[VAE.halves[1].repository][VAE.halves[1].source] += b"more"
    before = (models / PLACE).read_bytes()
    result = download("mochi", hub, models, "--yes")
    assert result.returncode == 1
    assert f"{models / PLACE} is another file than decoder.safetensors of RaphaelLiu/Pusa-V0.5" in result.stderr
    assert (models / PLACE).read_bytes() == before


def test_a_damaged_whole_is_told(hub, models):
    assert download("mochi", hub, models, "--yes").returncode == 0
    content = bytearray((models / PLACE).read_bytes())
    content[-1] ^= 1
    (models / PLACE).write_bytes(content)
    assert "or a broken one" in download("mochi", hub, models, "--yes").stderr


def test_a_transfer_that_stops_between_the_halves_leaves_no_whole_and_goes_on(hub, models, halves):
    hub.transfers_left = 3
    assert download("mochi", hub, models, "--yes").returncode == 1
    assert PLACE not in present(models)
    hub.transfers_left = None
    assert download("mochi", hub, models, "--yes").returncode == 0
    assert [path for path, _ in hub.served].count("encoder.safetensors") == 1
    assert present(models) == PLACES and is_whole(models / PLACE, halves)


@pytest.mark.parametrize("joined", [False, True])
def test_the_disk_needs_room_for_the_whole_beside_its_halves(hub, models, joined):
    """One byte less than what is fetched and joined is too little; nothing more is asked for what is there."""
    sizes = [len(content) for file in MODELS["mochi"] for content in contents(hub, file)]
    needed = 0 if joined else sum(sizes) + sum(len(content) for content in contents(hub, VAE))
    if joined:
        assert download("mochi", hub, models, "--yes").returncode == 0
    code = "import sys, pathlib; from devtools.weights.download import download; "
    code += "sys.exit(download('mochi', pathlib.Path(sys.argv[1]), yes=True, free=lambda folder: int(sys.argv[2])))"
    if needed:
        result = python(hub, models.parent / "home", "-c", code, models, needed - 1)
        assert "SetupError" in result.stderr and "are to come" in result.stderr and hub.served == []
    assert python(hub, models.parent / "home", "-c", code, models, needed).returncode == 0
    assert present(models) == PLACES


def contents(hub, file):
    files = file.halves if isinstance(file, JoinedFile) else [file]
    return [hub.repositories[each.repository][each.source] for each in files]


# By hand


def test_two_files_are_joined_by_hand(halves, tmp_path):
    whole = tmp_path / "models" / "whole.safetensors"
    result = join(*halves.values(), whole)
    assert result.returncode == 0, result.stderr
    assert is_whole(whole, halves) and [path.name for path in whole.parent.iterdir()] == [whole.name]
    with safe_open(whole, framework="pt") as file:
        assert set(file.metadata()) == {"header_of_encoder", "header_of_decoder"}
    again = join(*halves.values(), whole)
    assert again.returncode == 1 and "is there already" in again.stderr


def test_what_is_joined_by_hand_is_found_by_the_download(hub, models, halves):
    assert join(*halves.values(), models / PLACE).returncode == 0
    assert download("mochi", hub, models, "--yes").returncode == 0
    assert "encoder.safetensors" not in [path for path, _ in hub.served]


WRONG = {
    "exchanged": "is not the encoder of Mochi's VAE",
    "missing": "cannot be read",
    "cut": "is incomplete",
    "no header": "is damaged or no safetensors file",
    "empty": "is damaged or no safetensors file",
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_half_is_one_sentence_and_leaves_nothing(halves, tmp_path, mistake):
    encoder, decoder = halves.values()
    content = encoder.read_bytes()
    if mistake == "exchanged":
        encoder, decoder = decoder, encoder
    elif mistake == "missing":
        encoder.unlink()
    else:
        encoder.write_bytes({"cut": content[:-1], "no header": b"x" * 40, "empty": b""}[mistake])
    before = sorted(tmp_path.iterdir())
    result = join(encoder, decoder, tmp_path / "whole.safetensors")
    assert result.returncode == 1 and WRONG[mistake] in result.stderr and len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


# A disk that takes no more, or Ctrl-C, while blocks are copied: a limit of the system, and a signal to the process itself.
TROUBLE = {
    "full": "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))",
    # What a shell starts in the background ignores the signal until it is told otherwise.
    "interrupted": "import threading, os, signal; sys.setswitchinterval(1e-6); "
    "signal.signal(signal.SIGINT, signal.default_int_handler); "
    "threading.Thread(target=lambda: ([None for _ in iter(whole.with_name(whole.name + '.part').exists, True)], "
    "os.kill(os.getpid(), signal.SIGINT)), daemon=True).start()",
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of Unix")
@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_join_that_fails_on_the_way_leaves_the_halves_alone(halves, tmp_path, trouble):
    padding = b"\0" * (64 << 20)
    for stem, path in halves.items():
        path.write_bytes(grown(half(stem), padding))
    before = {path: path.stat().st_size for path in tmp_path.iterdir()}
    code = f"""if True:
        import sys
        from pathlib import Path
        from devtools.weights.join import main
        whole = Path(sys.argv[3])
        {TROUBLE[trouble]}
        sys.exit(main(sys.argv[1:]))"""
    command = [sys.executable, "-c", code, *map(str, halves.values()), str(tmp_path / "whole.safetensors")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == before
    if trouble == "full":
        assert result.returncode == 1 and "The halves are as they were." in result.stderr
    else:
        assert result.returncode == 130 and "Traceback" not in result.stderr


def grown(content, padding):
    """The same file with one more tensor."""
    length = int.from_bytes(content[:8], "little")
    header, start = content[8 : 8 + length].rstrip(), len(content) - 8 - length
    stop = start + len(padding)
    entry = json.dumps({"dtype": "U8", "shape": [len(padding)], "data_offsets": [start, stop]})
    header = header[:-1] + f', "padding": {entry}}}'.encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :] + padding


def test_no_checksum_of_a_file_that_nobody_joined(halves):
    assert checksum_inside(halves["encoder"], "encoder") is None
    assert checksum_inside(halves["encoder"].with_name("none"), "encoder") is None
