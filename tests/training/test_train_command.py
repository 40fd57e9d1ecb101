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
from accelerate.commands.launch import launch_command, launch_command_parser
from pusa.training.data.encoded import EncodedDataset
from pusa.training.keeping.checkpoint import checkpoints, read_checkpoint
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
    options = ["--rank", "4", "--learning_rate", "1e-3", "--save_dtype", "fp32", "--mixed_precision", "no", "--cpu"]
    return [str(store), "--model", str(wan_file), *options]


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
    del command[command.index("--rank") : command.index("--rank") + 2]
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


def test_accelerate_s_launcher(command, tmp_path, monkeypatch):
    """`accelerate launch`, but for the process that it would need itself; the run has its own."""
    monkeypatch.chdir(host_comfyui.ROOT)
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    launch = ["--cpu", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "bf16", "--dynamo_backend", "no"]
    run = ["-m", "training.train", *command, "--output", str(tmp_path / "out"), "--steps", "1"]
    launch_command(launch_command_parser().parse_args([*launch, *run]))
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
    assert main([*run, "--steps", "4", "--resume", "auto"]) == 0
    assert "Changed on resume, at step 3: processes (2 then, 1 now)." in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model", "gone.safetensors"], "`model`: there is no file gone.safetensors"),
        (["--steps", "0"], "`steps` is 0; it must be 1 or more"),
        (["--targets", "q,to_k"], "`targets`: to_k is no linear layer of the blocks"),
        (["--rank", "0"], "`rank` is 0"),
        (["--resume", "gone.pt"], "there is no checkpoint gone.pt"),
        (["--expert", "high", "--sigma_max", "0.9"], "--expert sets the range"),
        (["--model", "wan.gguf"], "wan.gguf is GGUF, which cannot be trained on; use the bf16 or fp8 file"),
        (["--resume", "pusa.safetensors"], "pusa.safetensors is a LoRA or a model, which holds no state of a run"),
        (["--train_architecture", "full"], "--rank belong to a LoRA and have no effect with --train_architecture full"),
        (["--timesteps", "scalar", "--p_async", "0.5"], "--p_async has no effect with --timesteps scalar"),
        (["--output", ""], "`output` is empty; give a value, or leave it out"),
        (["--gradient_checkpointing", "--blocks_on_cpu", "3"], "`blocks_on_cpu` is 3; the network has 2 blocks"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_words(command, tmp_path, capsys, arguments, words):
    assert main([*command, "--output", str(tmp_path / "out"), *arguments]) == 1
    assert words in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name, words",
    [
        ("gone.safetensors", "`init`: there is no file"),
        (
            "notes.txt",
            "`init`: notes.txt cannot be read as a model: it is damaged, another kind of file, or holds more than tensors",
        ),
        ("lora.safetensors", "`init`: ComfyUI does not know what kind of model lora.safetensors is"),
    ],
)
def test_a_file_to_begin_from_that_cannot_be_used_is_refused_by_its_option(command, tmp_path, capsys, name, words):
    (tmp_path / "notes.txt").write_text("# no model\n")
    save_file({"blocks.0.lora_A.weight": torch.zeros(4, 4)}, tmp_path / "lora.safetensors")
    del command[command.index("--rank") : command.index("--rank") + 2]
    full = ["--train_architecture", "full", "--init", str(tmp_path / name), "--steps", "1"]
    assert main([*command, *full, "--output", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1 and "weights_only" not in told


def test_the_other_expert_s_file_is_refused(command, tmp_path, wan_file, capsys):
    high = wan_file.rename(tmp_path / "wan2.2_t2v_high_noise_14B.safetensors")
    run = [*command[:2], str(high), *command[3:], "--output", str(tmp_path / "out"), "--steps", "1"]
    assert main([*run, "--expert", "low"]) == 1
    assert "--expert is low, but wan2.2_t2v_high_noise_14B.safetensors is the high-noise expert" in capsys.readouterr().err
    assert main([*run, "--expert", "high"]) == 0 and "high_noise" in trained_file(tmp_path / "out").name


def test_what_has_an_odd_effect_or_none_is_told(command, tmp_path, capsys):
    run = [*command, "--steps", "1", "--output"]
    assert main([*run, str(tmp_path / "a"), "--expert", "high", "--alpha", "0.0132"]) == 0
    told = capsys.readouterr().out
    assert "nothing in the name tiny_wan.safetensors says that it is one" in told
    assert "--alpha 0.0132 at rank 4 multiplies the update by 0.0033" in told
    assert "Disk: " in told and "8 clips: 8 of 3 x 4 x 4; 8 steps show each once. Processes: 1." in told
    assert "step00001.safetensors: put it into models/loras; strength 1 is what was trained." in told


def test_a_finished_run_says_so_before_the_model_is_read(command, tmp_path, wan_file, capsys):
    run = [*command, "--output", str(tmp_path / "out"), "--steps", "1"]
    assert main(run) == 0
    wan_file.write_bytes(b"no model any more")
    assert main([*run, "--resume", "auto"]) == 0
    assert "Finished already at step 1; --steps is 1." in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_model_is_read(command, tmp_path, capsys):
    (tmp_path / "out").write_text("a file in the way")
    command[2] = str(tmp_path / "no_model.safetensors")
    (tmp_path / "no_model.safetensors").write_bytes(b"")
    assert main([*command, "--output", str(tmp_path / "out")]) == 1
    assert "out cannot be written: a file is where its folder should be" in capsys.readouterr().err


def test_other_trainers_names_of_options(store, wan_file, tmp_path):
    """A line that people have in their notes, but for the program at its beginning."""
    line = f"--base_model {wan_file} --data_root {store} --rank 4 --alpha 1.7 --lr 1e-4 --max_steps 1 --output_dir"
    assert main([*line.split(), str(tmp_path / "out"), "--mixed_precision", "no", "--cpu"]) == 0
    with safetensors.safe_open(trained_file(tmp_path / "out"), framework="pt") as file:
        record = json.loads(file.metadata()["pusa_training"])
    assert (record["alpha"], record["settings"]["learning_rate"], record["steps"]) == (1.7, 1e-4, 1)


def test_clips_for_another_model_are_refused(command, tmp_path, capsys):
    with StoreWriter(tmp_path / "other") as writer:
        writer.add("a", torch.zeros(48, 1, 2, 2), "a", torch.ones(2, tiny.TEXT_WIDTH))
    assert main([str(tmp_path / "other"), *command[1:], "--output", str(tmp_path / "out")]) == 1
    assert "the clips have 48 channels and embeddings of width 4096; the model takes 16 and 4096" in capsys.readouterr().err


def test_help_needs_no_comfyui():
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"training.{name}", "--help"], cwd=host_comfyui.ROOT, stdout=subprocess.PIPE, text=True,
            env={key: value for key, value in os.environ.items() if key != "COMFYUI_PATH"},
        )
        for name in ("encode", "train")
    ]  # fmt: skip
    for process in processes:
        printed, _ = process.communicate()
        assert process.returncode == 0 and "COMFYUI_PATH" in printed
