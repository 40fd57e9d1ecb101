"""`python -m training.train` as a person runs it: in a process of its own, stopped by Ctrl-C, over two processes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import host_comfyui
import pytest
import safetensors
import tiny
import torch
from pusa.training.checkpoint import checkpoints, read_checkpoint
from pusa.training.data.encoded import EncodedDataset
from pusa.training.method.network import load_base
from pusa.training.output import pack_version
from pusa.training.store import StoreWriter
from pusa.training.train import main
from safetensors.torch import load_file, save_file

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def wan_file(tmp_path, wan_weights):
    save_file(wan_weights, tmp_path / "tiny_wan.safetensors")
    return tmp_path / "tiny_wan.safetensors"


@pytest.fixture
def store(tmp_path, clips):
    with StoreWriter(tmp_path / "store") as writer:
        for index, (latent, context) in enumerate(clips):
            writer.add(f"{index}.mp4", latent, f"caption {index % 2}", context)
    return tmp_path / "store"


@pytest.fixture
def command(store, wan_file):
    """Arguments of a small training, but for the folder."""
    return [str(store), "--model", str(wan_file), "--rank", "4", "--learning_rate", "1e-3", "--save_dtype", "fp32", "--cpu"]


def trained_file(folder):
    (path,) = folder.glob("pusa_*.safetensors")
    return path


def test_a_run_leaves_a_lora_with_its_record(command, tmp_path, store, wan_file):
    assert main([*command, "--output", str(tmp_path / "out"), "--steps", "2", "--alpha", "2", "--preload"]) == 0
    path = tmp_path / "out" / "pusa_tiny_wan_rank4_step00002.safetensors"
    assert trained_file(tmp_path / "out") == path and len(load_file(path)) == 40
    with safetensors.safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["pusa_training"])
    assert record["base"] == "tiny_wan.safetensors" and len(record["base_sha256"]) == 64
    assert (record["rank"], record["alpha"], record["steps"], record["version"]) == (4, 2.0, 2, pack_version())
    assert record["dataset_hash"] == EncodedDataset(store).hash and record["settings"]["shift"] == 5.0


def test_full_training_leaves_a_model(command, tmp_path, wan_weights):
    assert main([*command, "--output", str(tmp_path / "out"), "--steps", "1", "--train_architecture", "full"]) == 0
    trained = load_base(trained_file(tmp_path / "out"), full=True).network.state_dict()
    assert trained.keys() == wan_weights.keys()
    changes = [(trained[name] - wan_weights[name]).abs().max() for name in trained]
    assert 0 < min(changes) and max(changes) < 0.01


def test_ctrl_c_saves_and_the_resumed_run_has_the_bits_of_an_uninterrupted_one(command, tmp_path):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-m", "training.train", *command, "--output", str(parts), "--steps", "100000", "--save_every", "2"],
        cwd=host_comfyui.ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not checkpoints(parts) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, printed
    stopped = read_checkpoint(checkpoints(parts)[-1])["step"]
    assert f"Interrupted after step {stopped}, which is saved" in printed and "loss=" in printed
    steps = ["--steps", str(stopped + 3), "--save_every", "2"]
    assert main([*command, "--output", str(parts), *steps, "--resume", "auto"]) == 0
    assert main([*command, "--output", str(whole), *steps]) == 0
    name = f"pusa_tiny_wan_rank4_step{stopped + 3:05}.safetensors"
    assert (parts / name).read_bytes() == (whole / name).read_bytes()


def started(launch, run):
    """Run a launcher to its end; nothing that it started is left."""
    process = subprocess.Popen(
        [sys.executable, *launch, *run], cwd=host_comfyui.ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        _, printed = process.communicate(timeout=120)
        assert process.returncode == 0, printed[-3000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_accelerate_s_launcher(command, tmp_path):
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "--num_machines", "1"]
    launch += ["--mixed_precision", "bf16", "--dynamo_backend", "no", "-m", "training.train"]
    run = [*command, "--output", str(tmp_path / "out"), "--steps", "1"]
    started(launch, run)
    assert len(load_file(trained_file(tmp_path / "out"))) == 40


def test_two_processes_train_one_lora(command, tmp_path, capsys):
    """Started as `accelerate launch` starts several GPUs, which it cannot do for CPUs; one process writes."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "training.train"]
    run = [*command, "--output", str(tmp_path / "out"), "--steps", "3", "--accumulate", "2", "--gradient_checkpointing"]
    started(launch, run)
    tensors = load_file(trained_file(tmp_path / "out"))
    assert len(tensors) == 40 and all(torch.isfinite(tensor).all() and tensor.any() for tensor in tensors.values())
    (checkpoint,) = checkpoints(tmp_path / "out")
    assert len(read_checkpoint(checkpoint)["random"]) == 2
    assert main([*run, "--resume", "auto"]) == 1
    assert "is of a run with 2 processes; this one has 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model", "gone.safetensors"], "`model`: there is no file gone.safetensors"),
        (["--steps", "0"], "`steps` is 0; it must be 1 or more"),
        (["--targets", "q,to_k"], "`targets`: to_k is no linear layer of the blocks"),
        (["--rank", "0"], "`rank` is 0"),
        (["--resume", "gone.pt"], "there is no checkpoint gone.pt"),
        (["--expert", "high", "--sigma_max", "0.9"], "--expert sets the range"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_words(command, tmp_path, capsys, arguments, words):
    assert main([*command, "--output", str(tmp_path / "out"), *arguments]) == 1
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_other_expert_s_file_is_refused(command, tmp_path, wan_file, capsys):
    high = wan_file.rename(tmp_path / "wan2.2_t2v_high_noise_14B.safetensors")
    run = [*command[:2], str(high), *command[3:], "--output", str(tmp_path / "out"), "--steps", "1"]
    assert main([*run, "--expert", "low"]) == 1
    assert "--expert is low, but wan2.2_t2v_high_noise_14B.safetensors is the high-noise expert" in capsys.readouterr().err
    assert main([*run, "--expert", "high"]) == 0 and "high_noise" in trained_file(tmp_path / "out").name


def test_clips_for_another_model_are_refused(command, tmp_path, capsys):
    with StoreWriter(tmp_path / "other") as writer:
        writer.add("a", torch.zeros(48, 1, 2, 2), "a", torch.ones(2, tiny.TEXT_WIDTH))
    assert main([str(tmp_path / "other"), *command[1:], "--output", str(tmp_path / "out")]) == 1
    assert "the clips have 48 channels and embeddings of width 4096; the model takes 16 and 4096" in capsys.readouterr().err


def test_help_needs_no_comfyui():
    for name in ("encode", "train"):
        answer = subprocess.run(
            [sys.executable, "-m", f"training.{name}", "--help"], cwd=host_comfyui.ROOT, capture_output=True, text=True,
            env={key: value for key, value in os.environ.items() if key != "COMFYUI_PATH"},
        )  # fmt: skip
        assert answer.returncode == 0 and "COMFYUI_PATH" in answer.stdout
