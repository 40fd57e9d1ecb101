"""Checkpoints in parts: written by each process, read by any number of them, complete or not there."""

import pickle
import shutil
import signal

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from pusa.pusa_model.storage.files import is_part
from pusa.schedulers import InputError
from pusa.training.keeping.checkpoint import RUN_FILE, checkpoints, find_checkpoint, read_checkpoint
from pusa.training.keeping.parts import load_parts, save_parts
from pusa.training.train import main
from run_files import everything, written

SPREAD = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_RESHARD_AFTER_FORWARD": "true"}
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # where one process writes parts
SAVES = "step-00000002", "step-00000004", "step-00000005"


@pytest.fixture(scope="module")
def command(clips, wan_weights, tmp_path_factory):
    """Arguments of a run of five steps into a folder, and on from a checkpoint."""
    begun = written(tmp_path_factory.mktemp("data"), clips, wan_weights)
    options = ["--rank", "4", "--learning_rate", "1e-3", "--steps", "5", "--save_every", "2", "--keep", "9"]
    return lambda folder, resume, *more: [*begun, *options, "--output", str(folder), "--resume", str(resume), *more]


@pytest.fixture(scope="module")
def whole(together, command, tmp_path_factory):
    """The folder of a run on two processes that nothing stopped; a step has six passes."""
    folder = tmp_path_factory.mktemp("whole")
    together(SPREAD, "train", *command(folder, "auto", "--accumulate", "3"))
    assert [path.name for path in checkpoints(folder)] == [*SAVES]
    return folder


def same(one, two):
    """Whether two checkpoints are of one run, to the bit."""
    pairs = [(value, two["trained"][name]) for name, value in one["trained"].items()]
    for index, state in one["optimizer"]["state"].items():
        pairs += [(value, two["optimizer"]["state"][index][name]) for name, value in state.items()]
    bits = all(torch.equal(*pair) for pair in pairs)
    return bits and one["losses"] == two["losses"] and torch.equal(*(each["random"][1]["torch"] for each in (one, two)))


def test_parts_are_the_weights_once(whole):
    """As many bytes as one process would write, half of them in the file of each."""
    path = checkpoints(whole)[0]
    content = everything(path)
    tensors = [*content["trained"].values(), *(value for kept in content["optimizer"]["state"].values() for value in kept.values())]
    sizes = [file.stat().st_size for file in path.glob("*.distcp")]
    assert len(sizes) == 2 and max(sizes) < 0.6 * sum(sizes) and len(tensors) == 160
    size = sum(tensor.nbytes for tensor in tensors)
    assert size < sum(sizes) < size + 2 * 160 * 2000, "what PyTorch notes beside a tensor"
    plain = torch.load(path / RUN_FILE, weights_only=True)
    assert "trained" not in plain and not any(plain["optimizer"]["state"].values()) and len(plain["random"]) == 2


def test_a_run_goes_on_with_the_same_bits_and_over_another_number_of_processes(whole, together, command, tmp_path):
    expected, start = everything(checkpoints(whole)[-1]), checkpoints(whole)[0]
    together(SPREAD, "train", *command(tmp_path / "two", start, "--accumulate", "3"))
    assert same(expected, everything(checkpoints(tmp_path / "two")[-1]))

    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    assert main(command(tmp_path / "one", start / RUN_FILE, "--accumulate", "6")) == 0
    printed = together(SPREAD, "train", *command(tmp_path / "three", start, "--accumulate", "2"), processes=3, codes=(0, 0, 0))
    assert "Changed on resume, at step 2: processes (2 then, 3 now)." in printed
    for name, changed in (("one", "accumulate (3 then, 6 now)"), ("three", "accumulate (3 then, 2 now)")):
        found = everything(checkpoints(tmp_path / name)[-1])
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5) and changed in found["changes"][-1]["changed"]
        assert all((value - found["trained"][each]).abs().max() < 1e-4 for each, value in expected["trained"].items())

    (*_, file) = checkpoints(tmp_path / "one")
    assert file.name == "step-00000005.pt", "one process writes one file, which two go on from"
    together(SPREAD, "train", *command(tmp_path / "one", "auto", "--accumulate", "3", "--steps", "6"))
    assert [path.name for path in checkpoints(tmp_path / "one")][-2:] == ["step-00000005.pt", "step-00000006"]


def test_a_signal_saves_and_a_kill_in_the_midst_of_writing_leaves_the_last(whole, together, command, tmp_path):
    kept = tmp_path / "checkpoints"
    shutil.copytree(checkpoints(whole)[0], kept / SAVES[0])

    def on(codes, **befalls):
        asked = command(tmp_path, "auto", "--accumulate", "3", "--save_every", "1")
        return together(SPREAD, "train", *asked, codes=codes, befalls=befalls)

    ask = {"signal": signal.SIGTERM, "event": "open", "path": "part/__1_0.distcp"}
    printed = on((130, 130), **{"1": ask})
    assert "Interrupted after step 4, which is saved." in printed and checkpoints(tmp_path)[-1].name == SAVES[1]
    there = sorted(path.name for path in kept.iterdir())

    for codes, what in (((130, 130), {"error": "KeyboardInterrupt"}), ((1, -signal.SIGKILL), {"signal": signal.SIGKILL})):
        on(codes, **{"1": ask | what})
        assert sorted(path.name for path in kept.iterdir()) == there
    on((-signal.SIGKILL, 1), **{"0": {"signal": signal.SIGKILL, "event": "os.rename", "path": f"{SAVES[2]}$"}})
    (left,) = (path for path in kept.iterdir() if path.name not in there)
    assert is_part(left.name) and (left / RUN_FILE).exists(), "written, but not in its place"
    on((0, 0))
    assert sorted(path.name for path in kept.iterdir()) == [*there, SAVES[2]]
    assert same(everything(checkpoints(whole)[-1]), everything(checkpoints(tmp_path)[-1]))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_disk_that_is_full_for_one_process_is_told_by_all(whole, together, command, tmp_path, rank):
    """Of the trained file too, which only the first writes and all are asked for."""
    shutil.copytree(checkpoints(whole)[0], tmp_path / "checkpoints" / SAVES[0])
    asked = command(tmp_path, "auto", "--accumulate", "3", "--save_every", "1", "--steps", "4")
    printed = together(SPREAD, "train", *asked, codes=(1, 1), befalls={str(rank): {"largest": 20_000}})
    words = "{} cannot be written: the disk takes no file of this size."
    assert printed.count(f"{words.format('step-00000003')} The run goes on, and tries again at the next save.") == 1
    assert printed.count(words.format(SAVES[1])) == 2 and "Traceback" not in printed
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [SAVES[0]]
    assert printed.count(words.format("_step00004.safetensors")) == (0 if rank else 2)
    assert len(list(tmp_path.glob("pusa_*.safetensors"))) == (2 if rank else 0) and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "environment, words, files",
    [
        (SPREAD, "so nothing after step 0 is saved. `resume` auto goes on from the last checkpoint.", []),
        ({}, "so there is none of what came after step 0. What step 1 has made is in the trained file.", ["00001"]),
    ],
    ids=["spread", "whole"],
)
def test_an_error_of_one_process_says_what_is_saved(together, command, tmp_path, environment, words, files):
    befalls = {"0": {"event": "open", "path": "log.csv$", "error": "RuntimeError"}}
    printed = together(environment, "train", *command(tmp_path, "auto"), codes=(1, 1), befalls=befalls)
    assert f"The error below ends the run over 2 processes, which a checkpoint needs all, {words}" in printed
    assert "RuntimeError: as a test asks" in printed and not checkpoints(tmp_path)
    assert [path.stem[-5:] for path in tmp_path.glob("*.safetensors")] == files


def test_a_folder_that_the_processes_do_not_share_is_refused_first(together, command, tmp_path):
    asked = command(tmp_path / "outRANK", "auto")
    printed = together(SPREAD, "train", *asked, codes=(1, 1))
    assert "out0 is another folder for process 1 than for process 0" in printed and "Loading" not in printed


@pytest.fixture
def parts(tmp_path):
    """A checkpoint in parts of a single process, its weight and what was saved; one step of AdamW."""
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(2, 3)
    optimizer.step()
    content = {"trained": {"layer.weight": weight.detach()}, "optimizer": optimizer.state_dict(), "random": []}
    save_parts(tmp_path, 1, content, keep=1)
    return checkpoints(tmp_path)[0], weight, content


def test_parts_of_one_process_are_read_again(parts):
    path, weight, content = parts
    before = weight.detach().clone()
    torch.nn.init.zeros_(weight)
    state = load_parts(path, read_checkpoint(path), {"layer.weight": weight})
    assert torch.equal(weight, before) and state["param_groups"] == content["optimizer"]["param_groups"]
    assert all(torch.equal(value, state["state"][0][name]) for name, value in content["optimizer"]["state"][0].items())


def test_only_whole_checkpoints_in_parts_are_found(parts, tmp_path):
    path, *_ = parts
    assert find_checkpoint(tmp_path, "auto") == find_checkpoint(None, path) == find_checkpoint(None, path / RUN_FILE) == path
    with pytest.raises(InputError, match="there is no checkpoint .*checkpoints. Give one of the folder checkpoints of the run"):
        find_checkpoint(None, path.parent)


@pytest.mark.parametrize("shape", [{"layer.weight": (3, 2)}, {"other.weight": (2, 3)}, {}])
def test_parts_of_another_network_are_refused(parts, shape):
    path, *_ = parts
    network = {name: torch.nn.Parameter(torch.zeros(size)) for name, size in shape.items()}
    with pytest.raises(InputError, match="step-00000001 holds other trained parameters than this network has"):
        load_parts(path, read_checkpoint(path), network)


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


class Program:
    """What a pickle can do to its reader."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a program of a stranger')",)


@pytest.mark.parametrize(
    "name, damage, words",
    [
        ("__0_0.distcp", cut, "a part of it is missing or damaged"),
        ("__0_0.distcp", lambda path: path.unlink(), "a part of it is missing or damaged .*__0_0.distcp"),
        (".metadata", cut, "a part of it is missing or damaged"),
        (".metadata", lambda path: path.write_bytes(pickle.dumps(Program())), r"its table names builtins\.exec"),
    ],
    ids=["cut", "gone", "table cut", "table of a stranger"],
)
def test_parts_that_are_damaged_or_dangerous_are_told_in_words(parts, name, damage, words):
    path, weight, _ = parts
    damage(path / name)
    with pytest.raises(InputError, match=words):
        load_parts(path, read_checkpoint(path), {"layer.weight": weight})
