"""Seeing that a run learns: the conditional loss, the table and its plot, trackers, the best file, the running mean."""

import csv
import json
import math

import pytest
import safetensors
import tiny
import torch
from accelerate import tracking
from PIL import Image
from pusa.schedulers import InputError
from pusa.training.data.encoded import EncodedDataset
from pusa.training.keeping.checkpoint import checkpoints, read_checkpoint
from pusa.training.loop import train
from pusa.training.method.average import Average
from pusa.training.method.lora import add_lora
from pusa.training.settings import Settings
from pusa.training.train import main
from pusa.training.watch.log import COLUMNS, Log
from pusa.training.watch.plot import SIZE, draw, running_mean
from pusa.training.watch.validation import LEVELS, ConditionalLoss
from safetensors.torch import load_file


class Knows(torch.nn.Module):
    """Says the clean clip's velocity as far as its frames are clean: 0 elsewhere. A loss by hand is possible for it."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.5))
        self.asked = []

    def forward(self, x, timestep, context, transformer_options):
        self.asked.append((x, timestep))
        return self.factor * x


def made(frames, count=2):
    latents = [torch.randn(16, frames, 4, 4, generator=tiny.seeded(index)) for index in range(count)]
    return EncodedDataset.from_tensors(latents, [torch.ones(2, tiny.TEXT_WIDTH)], [0] * count)


def test_given_frames_are_clean_and_do_not_count():
    network, dataset = Knows(), made(6)
    found = ConditionalLoss(dataset)(network, 0)
    assert list(found) == ["t2v", "i2v", "start_end", "extension", "validation"]
    clean = torch.stack([dataset[index][0] for index in range(2)])
    seen = {}
    for x, timestep in network.asked:
        zero = tuple((timestep[0] == 0).nonzero().flatten().tolist())
        clip = next(index for index in range(2) if not zero or torch.equal(x[0, :, zero[0]], clean[index, :, zero[0]]))
        seen.setdefault(zero, []).append(timestep.amax().item() / 1000)
        assert all(torch.equal(x[0, :, frame], clean[clip, :, frame]) for frame in zero)
    assert sorted(seen) == [(), (0,), (0, 1, 2, 3), (0, 5)]
    assert all(sorted(set(levels)) == pytest.approx(LEVELS) and len(levels) == 6 for levels in seen.values())
    assert found["validation"] == pytest.approx((found["i2v"] + found["start_end"] + found["extension"]) / 3)
    assert found["t2v"] == pytest.approx(found["i2v"], rel=1e-5), (
        "this network looks at no other frame, and both count the same ones"
    )


def test_the_same_call_gives_the_same_numbers_and_leaves_the_network_as_it_was():
    network, validate = Knows().train(), ConditionalLoss(made(6), batch_size=2)
    first = validate(network, 0)
    torch.manual_seed(9)
    assert validate(network, 7) == first and network.training and network.factor.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_stored_dtypes_go_with_matrix_products_in_bf16(dtype):
    """PyTorch's autocast on a CPU refuses float16 where it does not expect it."""
    clips = made(3, count=2)
    stored = EncodedDataset.from_tensors([clip.to(dtype) for clip, _ in clips], [torch.ones(2, tiny.TEXT_WIDTH)], [0, 0])
    found = ConditionalLoss(stored, batch_size=2, autocast=True)(Knows(), 0)
    assert found == pytest.approx(ConditionalLoss(clips, batch_size=2)(Knows(), 0), rel=1e-2)


def test_a_caller_ends_a_run_after_a_step(network, clips, tmp_path):
    """By what it returns where it is told of the step."""
    new = network()
    add_lora(new, 4)
    result = train(new, clips, Settings(steps=4), tmp_path, on_step=lambda step, *_: step == 2, show=False)
    assert result.interrupted and [path.name for path in checkpoints(tmp_path)] == ["step-00000002.pt"]


def test_clips_that_are_too_short_for_a_pattern_are_left_out_of_it():
    assert list(ConditionalLoss(made(3))(Knows(), 0)) == ["t2v", "i2v", "start_end", "validation"]
    assert ConditionalLoss(made(1))(Knows(), 0) == {}
    many = ConditionalLoss(made(3, count=40), limit=4)
    assert sorted(sum(many.batches, [])) == [0, 13, 26, 39]


def test_the_table_has_a_row_a_step_and_goes_on_after_a_stop(tmp_path):
    log = Log(tmp_path, 0)
    log.step(0, math.nan, 0.0, {"i2v": 0.5, "validation": 0.5})
    for step in range(1, 6):
        log.step(step, 1 / step, 1e-3, {"i2v": 0.1 * step, "other": 9.0} if step == 4 else None)
    with open(tmp_path / "log.csv", "a") as file:
        file.write("6,0.1")  # a process that was killed
    again = Log(tmp_path, 4)
    again.step(5, 7.0, 1e-3, None)
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and [row["step"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert (rows[0]["loss"], rows[0]["i2v"], rows[4]["i2v"], rows[4]["loss"], rows[5]["loss"]) == ("", "0.5", "0.4", "0.25", "7")
    with Image.open(tmp_path / "log.png") as picture:
        assert picture.size == SIZE


def test_a_table_of_something_else_is_refused_and_a_plot_can_be_of_anything(tmp_path):
    (tmp_path / "log.csv").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="log.csv cannot be read"):
        Log(tmp_path, 0)
    empty = draw({})
    curve = draw({"loss": [(1, 1.0), (2, math.nan), (3, 0.5)], "i2v": [(2, 0.3)]})
    assert empty.size == curve.size == SIZE and empty.tobytes() != curve.tobytes()
    assert running_mean([(1, 1.0), (2, 3.0), (3, 5.0)], 2) == [(1, 1.0), (2, 2.0), (3, 4.0)]


def test_trackers_that_cannot_be_had_are_refused_before_the_model_is_read(command, capsys):
    assert main([*command, "--log_with", "no_such_tracker", "--steps", "1"]) == 1
    told = capsys.readouterr()
    assert "`log_with`: no_such_tracker is not installed" in told.err and "Loading" not in told.out


class Kept(tracking.GeneralTracker):
    """A tracker that keeps what it is told, in accelerate's register as that of a package that is installed."""

    name, requires_logging_directory, tracker, told = "kept", True, None, []

    def __init__(self, run_name, logging_dir):
        super().__init__()
        self.about = run_name, logging_dir

    def start(self):
        self.told.append(self.about)

    def store_init_configuration(self, values):
        self.told.append(values)

    def log(self, values, step, **further):
        self.told.append((step, values))


def test_trackers_are_told_of_steps_and_validations(command, tmp_path, monkeypatch):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "kept", Kept)
    monkeypatch.setattr(tracking, "_available_trackers", ["kept"])
    assert main([*command, "--log_with", "kept", "--validate", "0.25", "--validate_every", "1", "--steps", "1"]) == 0
    (name, folder), config, (first, start), (second, values) = Kept.told
    assert (name, folder, first, second) == ("out", str(tmp_path / "out"), 0, 1)
    assert config["rank"] == 2 and config["learning_rate"] == 3e-3 and "targets" not in config
    assert set(start) == {f"validation/{name}" for name in ("t2v", "i2v", "start_end", "validation")}
    assert set(values) == set(start) | {"loss", "learning_rate"} and values["learning_rate"] == 3e-3


@pytest.fixture
def command(tmp_path, store_and_model):
    return [*store_and_model, "--rank", "2", "--lr", "3e-3", "--save_dtype", "fp32", "--output", str(tmp_path / "out")]


def test_a_run_with_clips_held_out_leaves_a_table_a_plot_and_the_best_file(command, tmp_path, capsys):
    first = [*command, "--validate", "0.25", "--validate_every", "2", "--steps", "4"]
    assert main([*first, "--save_every", "2"]) == 0
    assert "6 clips: 6 of 3 x 4 x 4" in capsys.readouterr().out
    out = tmp_path / "out"
    names = sorted(path.name for path in out.iterdir() if path.is_file())
    assert names == ["log.csv", "log.png", *(f"pusa_wan_rank2_{name}.safetensors" for name in ("best", "step00002", "step00004"))]
    with open(out / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    scores = {int(row["step"]): float(row["validation"]) for row in rows if row["validation"]}
    assert list(scores) == [0, 2, 4] and len(rows) == 5 and scores[4] < scores[0]
    best = min((2, 4), key=scores.get)
    assert (out / "pusa_wan_rank2_best.safetensors").exists()
    with safetensors.safe_open(out / "pusa_wan_rank2_best.safetensors", framework="pt") as file:
        record = json.loads(file.metadata()["pusa_training"])
        weights = {name: file.get_tensor(name) for name in file.keys()}
    assert record["steps"] == best and record["validation"]["validation"] == pytest.approx(scores[best], rel=1e-4)
    kept = load_file(out / f"pusa_wan_rank2_step{best:05}.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in weights.items())
    assert main([*first[:-1], "6", "--resume", "auto"]) == 0
    with open(out / "log.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == [str(step) for step in range(7)]


def test_validation_options_that_cannot_be_meant_are_refused(command, tmp_path, capsys):
    for further, words in (
        (["--validate_every", "5"], "--validate_every has no effect without --validate"),
        (["--validate", "1.5"], "give a store, or a share of the clips above 0 and below 1"),
        (["--validate", str(tmp_path / "nowhere")], "holds no encoded clips"),
        (["--validate", str(tmp_path / "store")], "`validate` names the clips that are trained on"),
        (["--validate", "0.5", "--validate_clips", "0"], "`validate_clips` is 0"),
        (["--validate_clips", "5"], "--validate_clips has no effect without --validate"),
        (["--validate", "0.5", "--validate_every", "0"], "--validate has no effect with --validate_every 0"),
        (["--repeats", "2", "--validate", str(tmp_path / "store")], "`validate` names the clips that are trained on"),
        (["--data_root", str(tmp_path / "store"), "--validate", "0.5"], "store is given twice"),
    ):
        assert main([*command, *further, "--steps", "1"]) == 1
        assert words in capsys.readouterr().err


def test_the_running_mean_is_what_is_saved_and_the_run_itself_is_unchanged(clips, tmp_path):
    def run(folder, steps=4, resume=None, **settings):
        network, seen = Knows(), []
        usual = {"steps": steps, "learning_rate": 1e-2, "mixed_precision": "no", "save_every": 1}
        save = {"on_save": lambda trained, result: seen.append(trained.factor.item())}
        train(network, clips, Settings(**usual | settings), folder, resume, show=False, **save)
        return network.factor.item(), seen

    plain, raw = run(tmp_path / "plain")
    final, means = run(tmp_path / "mean", ema=0.9)
    assert final == plain and means != raw
    expected, mean = [], 0.5
    for step, value in enumerate(raw, 1):
        mean += (1 - min(0.9, (1 + step) / (10 + step))) * (value - mean)
        expected.append(mean)
    assert means == pytest.approx(expected, rel=1e-5)
    run(tmp_path / "parts", steps=2, ema=0.9)
    assert run(tmp_path / "parts", resume="auto", ema=0.9) == (final, means[2:])
    assert read_checkpoint(checkpoints(tmp_path / "mean")[-1])["average"]["factor"].item() == pytest.approx(means[-1])


def test_the_mean_stands_in_the_network_only_within():
    parameter = torch.nn.Parameter(torch.tensor(1.0))
    average = Average({"a": parameter}, 0.5)
    parameter.data.fill_(3.0)
    with pytest.raises(RuntimeError), average.applied():
        assert parameter.item() == 1.0
        raise RuntimeError
    assert parameter.item() == 3.0
