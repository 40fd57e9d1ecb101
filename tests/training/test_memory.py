"""Memory: what is computed before anything is loaded, and that what saves it changes no number."""

import importlib.util
from dataclasses import replace

import host_comfyui
import pytest
import tiny
import torch
from pusa.pusa_model.families.table import WAN
from pusa.schedulers import InputError
from pusa.training.loop import train
from pusa.training.memory.budget import advice, chosen, fitted, need, tokens
from pusa.training.memory.optimizers import check_optimizer, make_optimizer, state_size
from pusa.training.memory.outline import Outline, outline
from pusa.training.memory.placing import place
from pusa.training.memory.quantised import FILE, LOSES
from pusa.training.method.lora import add_lora
from pusa.training.method.network import training_mode, velocity
from pusa.training.options import memory_of, parser
from pusa.training.settings import Settings
from safetensors.torch import save_file

TARGETS = WAN.targets
WIDTH, FFN, BLOCKS = 5120, 13824, 40
P480, P720 = (16, 21, 60, 104), (16, 21, 90, 160)


def wan_14b(dtype):
    """The shapes of Wan2.1-T2V-14B's matrices, which are nearly all of it."""
    matrices = {f"{attention}.{name}": (WIDTH, WIDTH) for attention in ("self_attn", "cross_attn") for name in "qkvo"}
    matrices |= {"ffn.0": (FFN, WIDTH), "ffn.2": (WIDTH, FFN)}
    shapes = {f"blocks.{block}.{name}.weight": shape for block in range(BLOCKS) for name, shape in matrices.items()}
    size = dtype.itemsize * sum(a * b for a, b in shapes.values())
    return Outline(
        WAN, shapes | {"patch_embedding.weight": (WIDTH, 16, 1, 2, 2)}, size + dtype.itemsize * 200_000_000, size, size, dtype
    )


BF16, FP8 = wan_14b(torch.bfloat16), wan_14b(torch.float8_e4m3fn)
TIGHT = Settings(activations="bf16", gradient_checkpointing=True)


def test_the_sums_are_those_of_the_shapes():
    """Of the page on training: the parts for Wan 14B in GB."""
    for rank, size in ((512, 39.3), (256, 19.6), (128, 9.8), (32, 2.5)):
        assert round(need(BF16, BF16.lora(rank, TARGETS), 1, TIGHT).trained / 1e9, 1) == size
    assert (tokens([P480]), tokens([(16, 1, 60, 104), P720])) == (32760, 75600)
    for count, kept, inside in ((32760, 13.4, 13.7), (75600, 31.0, 31.6)):
        found = need(BF16, 1, count, TIGHT)
        assert (round(found.activations / 1e9, 1), round(found.block / 1e9, 1)) == (kept, inside)
    assert round(need(BF16, 1, 1, TIGHT).base / 1e9, 1) == 28.5 and round(need(FP8, 1, 1, TIGHT).base / 1e9, 1) == 14.3
    assert [round(need(BF16, 1, 1, replace(TIGHT, base_dtype=kind)).base / 1e9, 1) for kind in LOSES] == [14.5, 7.6]
    assert need(BF16, 1, 32760, Settings(activations="bf16")).total > 400e9, "without checkpointing every block keeps its own"


@pytest.mark.parametrize("options", [{}, {"mixed_precision": "no"}])
def test_a_network_that_is_trained_itself_takes_the_same_from_every_file(options):
    """It is held in float32, whatever the file has."""
    made = [need(found, BF16.numbers, 32760, Settings(**options), full=True) for found in (wan_14b(torch.float32), BF16, FP8)]
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    "limit, found, rank, count, options",
    [
        (80, BF16, 256, 32760, "--gradient_checkpointing"),
        (80, FP8, 128, 75600, "--gradient_checkpointing --offload_activations"),
        (48, BF16, 32, 32760, "--gradient_checkpointing --offload_activations"),
        (32, FP8, 32, 32760, "--gradient_checkpointing --offload_activations --blocks_on_cpu 4"),
        (24, BF16, 32, 32760, "--gradient_checkpointing --offload_activations --blocks_on_cpu 34"),
    ],
)
def test_a_card_gets_what_makes_a_run_fit(limit, found, rank, count, options):
    before = Settings(activations="bf16")
    after = fitted(limit * 1e9, found, found.lora(rank, TARGETS), count, before)
    assert need(found, found.lora(rank, TARGETS), count, after).total <= limit * 1e9
    assert chosen(before, after) == options


CARDS = (16, 24, 32, 48, 80)
SIZES = {
    "480p, 81 frames": 21 * 30 * 52,
    "480p, 49 frames": 13 * 30 * 52,
    "720p, 81 frames": 21 * 45 * 80,
    "720p, 33 frames": 9 * 45 * 80,
}


def cell(card, rank, count, base_dtype):
    """What makes a run fit, from the bf16 file if it does, else from the fp8 file."""
    for name, found in (("", BF16), ("fp8 ", FP8))[: 1 + (base_dtype == FILE)]:
        before = Settings(activations="bf16", base_dtype=base_dtype)
        try:
            made = fitted(card * 1e9, found, found.lora(rank, TARGETS), count, before, quantise=base_dtype == FILE)
        except InputError:
            continue
        assert made.base_dtype == base_dtype, "none of these needs 8 bits that are not asked for"
        letters = "C" + "A" * made.offload_activations + (f" {made.blocks_on_cpu}" if made.blocks_on_cpu else "")
        return f"{name}{letters} ({need(found, found.lora(rank, TARGETS), count, made).total / 1e9:.0f})"
    return "no"


def test_the_table_of_the_page_is_what_is_computed():
    rows = [
        f"| {name}, {words} | {' | '.join(cell(card, rank, count, kind) for card in CARDS)} |"
        for words, rank, kind in [(f"rank {rank}", rank, FILE) for rank in (32, 128, 512)] + [(kind, 32, kind) for kind in LOSES]
        for name, count in SIZES.items()
    ]
    page = (host_comfyui.ROOT / "training" / "README.md").read_text()
    missing = [row for row in rows if row not in page]
    assert not missing, "\n".join(missing)


def test_a_run_whose_blocks_come_and_go_is_told_what_8_bits_would_spare():
    trained, before = BF16.lora(32, TARGETS), Settings(activations="bf16")
    for card, kind, words in (
        (24, FILE, "it takes --gradient_checkpointing --offload_activations --blocks_on_cpu 26 --base_dtype int8."),
        (48, FILE, None),
        (24, "int8", None),
    ):
        given = replace(before, base_dtype=kind)
        spared = advice(card * 1e9, BF16, trained, 32760, given, fitted(card * 1e9, BF16, trained, 32760, given))
        assert spared is None if words is None else spared.endswith(words)


def test_a_card_that_is_too_small_is_told_what_would_take_less():
    with pytest.raises(InputError, match="`memory`: 12 GB are not enough, with everything in RAM that can be: .* a lower --rank"):
        fitted(12e9, BF16, BF16.lora(32, TARGETS), 32760, Settings(activations="bf16"))


def test_the_outline_of_a_file(tmp_path, wan_weights):
    save_file(wan_weights, tmp_path / "wan.safetensors")
    save_file({f"model.diffusion_model.{name}": value for name, value in wan_weights.items()}, tmp_path / "prefix.safetensors")
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    for name in ("wan", "prefix"):
        found = outline(tmp_path / f"{name}.safetensors")
        assert (found.blocks, found.width, found.size) == (2, 128, sum(value.nbytes for value in wan_weights.values()))
        assert found.numbers == sum(value.numel() for value in wan_weights.values())
        assert found.lora(4, TARGETS) == sum(value.numel() for value in tiny.lora_weights(rank=4).values())
    diffusers = {
        name.replace("attn.q", "attn1.to_q").replace("ffn.0", "ffn.net.0.proj"): value for name, value in wan_weights.items()
    }
    save_file(diffusers, tmp_path / "diffusers.safetensors")
    for name in ("other", "broken", "diffusers"):
        assert outline(tmp_path / f"{name}.safetensors") is None
    assert outline(tmp_path / "wan.gguf") is None


@pytest.mark.parametrize("text, size", [("24G", 24e9), ("24", 24e9), ("23.5 GB", 23.5e9), ("80gib", 80e9)])
def test_the_size_of_a_card(text, size):
    assert memory_of(parser().parse_args(["s", "--model", "m", "--output", "o", "--memory", text])) == size


@pytest.mark.parametrize("text", ["much", "0", "-5G", "24T"])
def test_a_size_that_cannot_be_meant_is_refused(text):
    with pytest.raises(InputError, match="give the gigabytes of the GPU"):
        memory_of(parser().parse_args(["s", "--model", "m", "--output", "o", f"--memory={text}"]))


def trained(network, clips, full=False, **settings):
    made = network(full)
    if not full:
        add_lora(made, 4)
    usual = {"steps": 2, "batch_size": 2, "learning_rate": 1e-2, "mixed_precision": "no", "save_every": 0}
    result = train(made, clips, Settings(**usual | {"gradient_checkpointing": True} | settings), show=False)
    return made.state_dict(), result.losses


@pytest.mark.parametrize(
    "options", [{"offload_activations": True}, {"blocks_on_cpu": 1}, {"offload_activations": True, "blocks_on_cpu": 2}]
)
def test_what_saves_memory_changes_no_bit(network, clips, options):
    (weights, losses), (again, same) = trained(network, clips), trained(network, clips, **options)
    assert losses == same and all(torch.equal(value, again[name]) for name, value in weights.items())


def test_all_that_the_blocks_keep_is_offloaded(network, clips):
    """Hooks around the forward pass see one activation for each block, and nothing of what is inside."""
    made = network()
    add_lora(made, 4)
    kept = []
    x = torch.randn(1, 16, 3, 4, 4, generator=tiny.seeded(1))
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tuple(tensor.shape)) or tensor, lambda tensor: tensor
    )
    with training_mode(), hooks:
        velocity(made, x, torch.full((1, 3), 0.5), torch.ones(1, 8, tiny.TEXT_WIDTH), checkpointing=True)
    assert kept.count((1, 12, tiny.WIDTH)) >= len(made.blocks) and not any(2 * tiny.WIDTH in shape for shape in kept), kept


def test_quantised_blocks_may_come_and_go(wan_weights):
    from pusa.training.method.network import load_weights

    weights = dict(wan_weights) | {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    for name in [name for name, value in wan_weights.items() if name.startswith("blocks.") and value.ndim == 2]:
        scale = weights[name].abs().max() / 448
        weights |= {name: (weights[name] / scale).to(torch.float8_e4m3fn), name.removesuffix("weight") + "scale_weight": scale}
    results = []
    for streamed in (0, 2):
        made = load_weights(weights)
        add_lora(made, 4)
        place(made, torch.device("cpu"), streamed)
        with training_mode():
            out = velocity(
                made, torch.ones(1, 16, 3, 4, 4), torch.full((1, 3), 0.5), torch.ones(1, 8, tiny.TEXT_WIDTH), True, streamed
            )
            out.square().mean().backward()
        results.append([out, *(parameter.grad for parameter in made.parameters() if parameter.requires_grad)])
    assert len(results[0]) == 41 and all(torch.equal(a, b) for a, b in zip(*results))


def test_more_blocks_than_there_are_and_saving_without_checkpointing_are_refused(network):
    with pytest.raises(InputError, match="`blocks_on_cpu` is 3; the network has 2 blocks"):
        place(network(), torch.device("cpu"), 3)
    for option in ({"offload_activations": True}, {"blocks_on_cpu": 1}):
        with pytest.raises(InputError, match="it must be off unless `gradient_checkpointing` is on"):
            Settings(**option)


needs = {name: pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=name) for name in ("bitsandbytes", "torchao")}
NAMED = [
    *("sgd", "adafactor", "torch.optim:RAdam"),
    *(pytest.param(name, marks=needs["bitsandbytes"]) for name in ("adamw8bit", "paged_adamw8bit", "lion8bit")),
    *(pytest.param(name, marks=needs["torchao"]) for name in ("ao_adamw8bit", "ao_adamw4bit")),
]


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU", "ignore:torch.compile with fullgraph")
@pytest.mark.parametrize("name", NAMED)
def test_optimisers_by_name_train_and_resume_to_the_bit(network, clips, tmp_path, name):
    """Rank 32 makes matrices of 4,096 numbers, the smallest that bitsandbytes keeps in 8 bits; torchao goes uncompiled here."""

    def run(folder, steps, **how):
        made = network()
        add_lora(made, 32)
        settings = Settings(steps=steps, learning_rate=1e-2, mixed_precision="no", save_every=0, optimizer=name)
        with torch._dynamo.config.patch(disable=True):
            result = train(made, clips, settings, folder, show=False, **how)
        return made.state_dict(), result.losses

    run(tmp_path / "parts", 1)
    (parts, _), (whole, losses) = run(tmp_path / "parts", 3, resume="auto"), run(tmp_path / "whole", 3)
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert len(set(losses)) == 3 and any(value.any() for key, value in whole.items() if "lora_B" in key)


@needs["bitsandbytes"]
@pytest.mark.parametrize("name", ["adamw8bit", "lion8bit"])
def test_an_8_bit_state_takes_as_many_bytes_as_is_computed(name):
    weights = torch.nn.Parameter(torch.randn(256, 256, generator=tiny.seeded(0)))
    optimizer = make_optimizer([weights], Settings(optimizer=name))
    weights.square().sum().backward()
    optimizer.step()
    state = [value for value in optimizer.state[weights].values() if isinstance(value, torch.Tensor) and value.numel() > 256]
    assert {value.dtype for value in state} == {torch.uint8}
    assert sum(value.nbytes for value in state) == state_size(name) * weights.numel()


def test_adamw_is_the_default_and_has_the_settings():
    optimizer = make_optimizer([torch.nn.Parameter(torch.ones(2))], Settings(weight_decay=0.25))
    assert type(optimizer) is torch.optim.AdamW and optimizer.param_groups[0]["weight_decay"] == 0.25


@pytest.mark.parametrize(
    "name, words",
    [
        ("adam", "`optimizer` is adam; use adamw, adamw8bit,"),
        ("no_such_package:Adam", "needs the package no_such_package, which is not installed: pip install no_such_package"),
    ],
)
def test_optimisers_that_cannot_be_had_are_refused(name, words):
    with pytest.raises(InputError, match=words):
        check_optimizer(name)


def test_what_is_no_optimiser_is_refused():
    for name, words in (("torch.nn:Linear", "is no optimiser"), ("torch.optim:NoSuch", "cannot be had")):
        with pytest.raises(InputError, match=words):
            make_optimizer([torch.nn.Parameter(torch.ones(2))], Settings(optimizer=name))
