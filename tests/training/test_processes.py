"""Two processes over gloo on the CPU, with whole weights (DDP) and with spread ones (FSDP2): the run of one process, and back."""

import os
import subprocess
import sys

import host_comfyui
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState, PartialState
from forks import train_mochi
from pusa.schedulers import InputError
from pusa.training.keeping.checkpoint import checkpoints
from pusa.training.processes.sharded import check_launch, is_asked, take_deepspeed
from pusa.training.settings import Settings
from pusa.training.train import main
from run_files import everything
from safetensors.torch import load_file, save_file

CONFIGS = sorted((host_comfyui.ROOT / "training" / "processes" / "configs").glob("*.yaml"))
STEPS = int(os.environ.get("PUSA_STEPS", "5"))  # 50 for the whole proof
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}  # what accelerate's launcher makes of a config file
ZERO3, ZERO2 = (FSDP | {"FSDP_RESHARD_AFTER_FORWARD": again} for again in ("true", "false"))


@pytest.fixture
def command(store_and_model, tmp_path):
    """Arguments of a run into a folder."""
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    options = ["--learning_rate", "1e-3", "--grad_clip", "0.5", "--save_dtype", "fp32", "--steps", str(STEPS)]
    return lambda name, *more: [*store_and_model, *options, "--output", str(tmp_path / name), *more]


def left(folder):
    """The newest checkpoint of a run, and the tensors of its newest file."""
    return everything(checkpoints(folder)[-1]), load_file(max(folder.glob("pusa_*_step*.safetensors")))


LORA, FULL = ["--rank", "4"], ["--train_architecture", "full"]


@pytest.mark.parametrize(
    "kind, environment",
    [(LORA, {}), ([*LORA, "--base_dtype", "int8"], {}), (LORA, ZERO3), (FULL, ZERO3), (FULL, ZERO2)],
    ids=["lora ddp", "int8 ddp", "lora fsdp2", "full fsdp2", "full zero2"],
)
def test_two_processes_are_the_run_of_one(together, command, tmp_path, kind, environment):
    """The clips, the draws and the losses of every step, the weights and the optimiser, in files of one form."""
    validated = ["--validate", "0.3", "--validate_every", "2", "--gradient_checkpointing"]
    assert main(command("one", *kind, *validated, "--accumulate", "4")) == 0
    printed = together(environment, "train", *command("two", *kind, *validated, "--accumulate", "2"))
    assert ("Processes: 2, weights spread over them (FSDP2)." in printed) == bool(environment)
    (one, file), (two, other) = left(tmp_path / "one"), left(tmp_path / "two")
    assert len(one["losses"]) == STEPS and two["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert file.keys() == other.keys() and all((file[name] - other[name]).abs().max() < 1e-3 for name in file)
    assert len(list((tmp_path / "two").glob("*_best.safetensors"))) == len(list((tmp_path / "one").glob("*_best.safetensors")))
    assert [each.shape for each in one["trained"].values()] == [each.shape for each in two["trained"].values()]
    for index, state in one["optimizer"]["state"].items():
        assert (state["exp_avg"] - two["optimizer"]["state"][index]["exp_avg"]).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn], ids=["bf16", "fp8"])
def test_a_base_of_another_dtype_than_the_lora_is_spread_too(together, command, tmp_path, wan_weights, dtype):
    weights = {name: weight.to(dtype) if weight.ndim == 2 else weight.bfloat16() for name, weight in wan_weights.items()}
    save_file(weights, tmp_path / "wan.safetensors")
    assert main(command("one", *LORA, "--steps", "2", "--accumulate", "2")) == 0
    together(ZERO3, "train", *command("two", *LORA, "--steps", "2"))
    (one, file), (two, other) = left(tmp_path / "one"), left(tmp_path / "two")
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-5)
    assert all((file[name] - other[name]).abs().max() < 1e-3 for name in file)


def test_a_quantised_base_and_memory_are_refused_with_spread_weights(together, command, tmp_path, wan_weights):
    with pytest.raises(AssertionError, match="--memory counts the whole weights on each GPU, and FSDP spreads them"):
        together(ZERO3, "train", *command("out", *LORA, "--memory", "24G"))
    scaled = {}
    for name, weight in wan_weights.items():
        linear = name.startswith("blocks.") and weight.ndim == 2
        scaled[name] = weight.to(torch.float8_e4m3fn) if linear else weight
        scaled |= {name.removesuffix("weight") + "scale_weight": torch.tensor(1.0)} if linear else {}
    save_file(scaled | {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}, tmp_path / "wan.safetensors")
    with pytest.raises(AssertionError, match="so FSDP cannot spread it; use the bf16 file"):
        together(ZERO3, "train", *command("out", *LORA))


@pytest.mark.parametrize("environment", [{}, ZERO3], ids=["ddp", "fsdp2"])
def test_two_processes_train_mochi_too(together, tmp_path, environment):
    """Its blocks are no modules that are called; and where all captions are dropped, the layers of the text see no gradient."""
    train_mochi(tmp_path / "one", 2)
    together(environment, "mochi", tmp_path / "two", 1)
    one, two = (everything(checkpoints(tmp_path / name)[-1]) for name in ("one", "two"))
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-5) and len(one["losses"]) == 3
    assert all(torch.allclose(value, two["trained"][name], atol=1e-4) for name, value in one["trained"].items())


def test_accelerate_s_launcher_with_a_config_file(command, tmp_path):
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS[1]), "--num_processes", "2"]
    answer = subprocess.run(
        [sys.executable, *launcher, "-m", "training.train", *command("out", *LORA, "--steps", "1")], cwd=host_comfyui.ROOT,
        capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert "Processes: 2, weights spread over them (FSDP2)." in answer.stdout + answer.stderr
    assert len(left(tmp_path / "out")[1]) == 40


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_files_are_what_accelerate_takes(path):
    from accelerate.commands.config.config_args import ClusterConfig

    config = ClusterConfig.from_yaml_file(yaml_file=str(path))
    assert config.num_processes == 8 * config.num_machines and config.fsdp_config["fsdp_version"] == 2
    assert (config.main_process_ip is not None) == (config.num_machines > 1)
    assert config.fsdp_config["fsdp_reshard_after_forward"] == (not path.stem.startswith("zero2"))
    assert path.read_text().startswith(f"# accelerate launch --config_file training/processes/configs/{path.name} ")
    assert set(yaml.safe_load(path.read_text())) <= set(vars(config))


@pytest.mark.parametrize(
    "environment, settings, words",
    [
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, {}, "accelerate is set up for Megatron, which is not done here"),
        ({"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, {}, "accelerate is set up for FSDP 1; set `fsdp_version: 2`"),
        (FSDP | {"FSDP_OFFLOAD_PARAMS": "true"}, {}, "`fsdp_offload_params`, which is not done here"),
        (FSDP, {"ema": 0.9}, "`ema` is 0.9, which does not go with weights that are spread"),
        (FSDP, {"base_dtype": "int8"}, "`base_dtype` is int8, which does not go with weights that are spread"),
        (FSDP, {"optimizer": "adafactor"}, "Optimisers that go with it: adamw, sgd"),
        (FSDP, {"blocks_on_cpu": 2, "gradient_checkpointing": True}, "`blocks_on_cpu` is 2"),
    ],
)
def test_what_a_launcher_asks_for_and_is_not_done_is_refused_first(monkeypatch, environment, settings, words):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=words):
        check_launch(Settings(**settings))


@pytest.mark.parametrize("stage, again", [("1", "false"), ("2", "false"), ("3", "true")])
def test_zero_of_deepspeed_is_done_by_fsdp2(monkeypatch, stage, again):
    """As ``accelerate launch --config_file ds_config_zero2.yaml`` says it to its processes."""
    for name in ("ACCELERATE_USE_FSDP", "FSDP_VERSION", "FSDP_RESHARD_AFTER_FORWARD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", stage)
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "none")
    assert take_deepspeed() == f"DeepSpeed ZeRO-{stage} is asked for: PyTorch's FSDP2 does it, without DeepSpeed."
    check_launch(Settings())
    assert is_asked() and os.environ["FSDP_RESHARD_AFTER_FORWARD"] == again and take_deepspeed() is None


@pytest.mark.parametrize(
    "steps, clipping, told", [("1", "none", []), ("4", "1", ["4 has no effect, --accumulate", "1 has no effect"])]
)
def test_what_a_file_for_deepspeed_says_without_effect_is_told(monkeypatch, steps, clipping, told):
    asked = {
        "USE_DEEPSPEED": "true",
        "DEEPSPEED_ZERO_STAGE": "0",
        "GRADIENT_ACCUMULATION_STEPS": steps,
        "GRADIENT_CLIPPING": clipping,
    }
    for name, value in asked.items():
        monkeypatch.setenv(f"ACCELERATE_{name}", value)
    said = take_deepspeed()
    assert said.count("Warning") == len(told) and all(words in said for words in told)


@pytest.mark.parametrize("name, value", [("OFFLOAD_PARAM_DEVICE", "cpu"), ("CONFIG_FILE", "ds.json"), ("ZERO_STAGE", "")])
def test_what_of_deepspeed_is_not_done_is_refused(monkeypatch, name, value):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    monkeypatch.setenv(f"ACCELERATE_DEEPSPEED_{name}", value)
    with pytest.raises(InputError, match="accelerate is set up for DeepSpeed with a file of its own, or with weights"):
        take_deepspeed()
