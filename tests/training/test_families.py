"""Wan2.2 TI2V 5B and Mochi as something to train: objective, gradients, files that load again."""

import json

import comfy.ldm.genmo.vae.model
import comfy.lora
import comfy.model_detection
import comfy.model_management
import comfy.samplers
import comfy.sd
import comfy.utils
import mochi
import pytest
import tiny
import torch
from comfy.latent_formats import Mochi
from pusa.pusa_model.families.mochi import velocity as of_mochi
from pusa.pusa_model.families.table import WAN22_5B
from pusa.pusa_model.lora.load import load_lora
from pusa.schedulers import InputError
from pusa.training.data.encoded import EncodedDataset
from pusa.training.data.order import Order, generator
from pusa.training.loop import train
from pusa.training.method.lora import add_lora, lora_tensors
from pusa.training.method.network import Base, load_weights, network_to_train, training_mode, velocity
from pusa.training.output import save_trained
from pusa.training.run import Run
from pusa.training.settings import Settings
from pusa.training.store import StoreWriter
from pusa.training.train import main as train_main
from safetensors.torch import load_file, save_file

FAST = {"mixed_precision": "no", "learning_rate": 3e-3, "steps": 10, "batch_size": 2, "seed": 3}
WEIGHTS_5B = tiny.wan_weights(0, channels=48, out_dim=48)
WIDTHS = {"5B": tiny.TEXT_WIDTH, "Mochi": mochi.CONFIG["t5_feat_dim"]}
CHANNELS = {"5B": 48, "Mochi": 12}
FAMILIES = ("5B", "Mochi")


def network(name, full=False):
    """The tiny network of a family, to be trained."""
    return network_to_train(mochi.model(), full) if name == "Mochi" else load_weights(WEIGHTS_5B, full=full)


def clips(name, count=4):
    """Latents far from noise, with prompts of five and of three tokens, and an empty one of one."""
    draws = tiny.seeded(0)
    latents = torch.randn(2, CHANNELS[name], 1, 1, 1, generator=draws)[[0, 1] * (count // 2)]
    latents = latents + 0.1 * torch.randn(count, CHANNELS[name], 3, 4, 4, generator=draws)
    contexts = [torch.randn(length, WIDTHS[name], generator=draws) for length in (5, 3, 1)]
    return EncodedDataset.from_tensors(latents, contexts, [0, 1] * (count // 2), empty=contexts[2])


def test_of_mochi_a_pass_is_the_official_objective():
    """An index in 0..998 for each frame, raw latents in, ((x - eps) - mean) / std to be said, the mean of the squared errors."""
    data, settings = clips("Mochi"), Settings(**FAST)
    made = network("Mochi")
    add_lora(made, 2)
    run = Run(made, data, settings, None, None, None, None)
    value = run.loss(4)

    schedule = comfy.samplers.calculate_sigmas(mochi.model().get_model_object("model_sampling"), "linear_quadratic", 1000)
    latents, context = data.batch(Order(data.shapes, 2, 3).batch(4))
    draws = generator("draws", 3, 4, 0)
    levels = run.levels(settings, 2, 3, draws)
    assert set(levels.flatten().tolist()) <= set(schedule[:999].tolist()) and len(levels.unique()) > 3
    noise = torch.randn(latents.shape, generator=draws)
    x = (1 - levels)[:, None, :, None, None] * latents + levels[:, None, :, None, None] * noise
    mask = torch.tensor([[1, 1, 1, 1, 1] if row[3].any() else [1, 1, 1, 0, 0] for row in context])
    with torch.no_grad():
        said = -of_mochi(made, x, levels, context, mask)  # the official network's sign
    wanted = ((latents - noise) - Mochi().latents_mean) / Mochi().latents_std
    assert value.item() == pytest.approx((said - wanted).square().mean().item(), rel=1e-5)


def test_of_5b_a_pass_is_wan_s_objective():
    data, settings = clips("5B"), Settings(**FAST)
    made = network("5B")
    add_lora(made, 2)
    value = Run(made, data, settings, None, None, None, None).loss(4)
    latents, context = data.batch(Order(data.shapes, 2, 3).batch(4))
    draws = generator("draws", 3, 4, 0)
    index = torch.randint(1000, (2, 1), generator=draws), torch.randint(1000, (2, 3), generator=draws)
    even = 1 - index[1] / 1000
    levels = 5 * even / (1 + 4 * even)
    torch.randint(3, (2, 1), generator=draws), torch.rand(2, 1, generator=draws)
    noise = torch.randn(latents.shape, generator=draws)
    x = (1 - levels)[:, None, :, None, None] * latents + levels[:, None, :, None, None] * noise
    with torch.no_grad():
        said = made(x, 1000 * levels, context)
    assert value.item() == pytest.approx((said - (noise - latents)).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("full", [False, True], ids=["lora", "full"])
@pytest.mark.parametrize("name", FAMILIES)
def test_ten_steps_lower_the_loss_and_the_file_loads_again(name, full, tmp_path):
    made, data = network(name, full), clips(name)
    if not full:
        add_lora(made, 4)
    settings = Settings(**FAST | {"learning_rate": 3e-3 if full else 1e-2}, caption_dropout=0.3)

    def judged():
        with torch.no_grad(), training_mode():
            run = Run(made, data, Settings(**FAST), None, None, None, None)
            return sum(run.loss(number).item() for number in range(100, 106))

    before = judged()
    train(made, data, settings, show=False)
    assert judged() < 0.97 * before
    save_trained(tmp_path / "made.safetensors", Base(made, {}, None), {"steps": 10}, torch.float32, not full)
    x = torch.randn(1, CHANNELS[name], 3, 4, 4, generator=tiny.seeded(5))
    sigma, context = torch.tensor([[0.0, 0.9, 0.5]]), data[0][1][None]
    with torch.no_grad(), training_mode():
        expected = velocity(made, x, sigma, context)

    def said_by(model):
        comfy.model_management.load_models_gpu([model])
        with torch.no_grad():
            return velocity(network_to_train(model), x, sigma, context)

    def base():
        return mochi.model() if name == "Mochi" else tiny.wan_model(WEIGHTS_5B)

    assert not torch.allclose(said_by(base()), expected, atol=1e-3)
    for loaded in again(tmp_path / "made.safetensors", name, full, base):
        assert torch.allclose(said_by(loaded), expected, atol=1e-4)


def again(path, name, full, base):
    """The file as ComfyUI and the pack load it; a whole Mochi of another size than the real one is told by its keys."""
    if not full:
        yield load_lora(base(), str(path), 1.0, warn=lambda words: None)
        lora = comfy.utils.load_torch_file(str(path), safe_load=True)
        assert len(comfy.lora.load_lora(lora, comfy.lora.model_lora_keys_unet(base().model, {}))) == len(lora) / 2
        yield comfy.sd.load_lora_for_models(base(), None, lora, 1.0, 0.0)[0]
    elif name == "5B":
        yield comfy.sd.load_diffusion_model(str(path), {"dtype": torch.float32})
    else:
        weights = load_file(path)
        assert comfy.model_detection.detect_unet_config(weights, "")["image_model"] == "mochi_preview"
        yield mochi.model(weights=weights)


def test_of_mochi_checkpointing_changes_no_gradient():
    results = []
    for checkpointing in (False, True):
        made, data = network("Mochi", full=True), clips("Mochi")
        with training_mode():
            Run(made, data, Settings(**FAST, gradient_checkpointing=checkpointing), None, None, None, None).loss(0).backward()
        results.append({name: parameter.grad for name, parameter in made.named_parameters()})
    for name, plain in results[0].items():
        if plain is not None:
            assert torch.allclose(plain, results[1][name], rtol=0, atol=1e-5 * plain.abs().max()), name


def test_of_mochi_a_dropped_caption_is_no_prompt():
    """The rows of its text are not attended, and what they hold counts for nothing, as in the official training."""
    made, data = network("Mochi"), clips("Mochi")
    add_lora(made, 2)

    def value(dataset):
        return Run(made, dataset, Settings(**FAST, caption_dropout=1.0), None, None, None, None).loss(0)

    other = clips("Mochi")
    other.empty = torch.randn(1, WIDTHS["Mochi"])
    assert torch.equal(value(data), value(other))
    other.empty = None
    assert torch.equal(value(data), value(other))
    made.zero_grad()
    value(data).backward()
    of_text = [parameter for name, parameter in made.named_parameters() if "qkv_y.lora_B" in name]
    assert of_text and not any(parameter.grad is not None and parameter.grad.any() for parameter in of_text)


def test_a_lora_of_mochi_is_on_attention_and_feed_forward_of_both_streams():
    made = network("Mochi")
    add_lora(made, 2)
    ends = {key.split("blocks.0.")[1].split(".lora_")[0] for key in lora_tensors(made) if "blocks.0." in key}
    assert ends >= {f"attn.{name}_{side}" for name in ("qkv", "proj") for side in "xy"} | {"mlp_x.w1", "mlp_x.w2", "mlp_y.w1"}


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"shift": 3.0}, "`shift` and `weighting` are of Wan's schedule. Mochi"),
        ({"weighting": "official"}, "`shift` and `weighting` are of Wan's schedule"),
        ({"blocks_on_cpu": 1, "gradient_checkpointing": True}, "`blocks_on_cpu` is for the blocks of Wan"),
    ],
)
def test_settings_that_mochi_has_nothing_for_are_refused(settings, words):
    made = network("Mochi")
    add_lora(made, 2)
    with pytest.raises(InputError, match=words):
        train(made, clips("Mochi"), Settings(**FAST | settings), show=False)


def command(tmp_path, weights, *arguments):
    save_file(weights, tmp_path / "model.safetensors")
    with StoreWriter(tmp_path / "store") as writer:
        for index, (latent, context) in enumerate(clips("5B")):
            writer.add(f"{index}.mp4", latent, f"caption {index % 2}", context)
    return [str(tmp_path / "store"), "--model", str(tmp_path / "model.safetensors"), "--output", str(tmp_path / "out"), *arguments]


def test_the_command_line_trains_5b(tmp_path, capsys):
    options = ["--cpu", "--mixed_precision", "no", "--steps", "2", "--rank", "2", "--validate", "0.5"]
    assert train_main(command(tmp_path, WEIGHTS_5B, *options)) == 0
    path = tmp_path / "out" / "pusa_model_rank2_step00002.safetensors"
    with comfy.utils.safetensors.safe_open(path, "pt") as file:
        record = json.loads(file.metadata()["pusa_training"])
    assert record["family"] == "Wan2.2 TI2V 5B" and record["targets"] == list(WAN22_5B.targets)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--memory", "80G"], "is no .safetensors file of Wan, so what it takes is not known"),
        (["--shift", "3", "--cpu"], "`shift` and `weighting` are of Wan's schedule"),
        (["--targets", "q", "--cpu"], "q is no linear layer of the blocks, which have "),
    ],
)
def test_of_mochi_the_command_line_refuses_before_it_loads(tmp_path, capsys, arguments, words):
    """Its family is seen in the header of its file."""
    weights = load_file(mochi.FOLDER / mochi.INDEX["weights"]["file"])
    assert train_main(command(tmp_path, weights, "--rank", "2", *arguments)) == 1
    assert words in capsys.readouterr().err
