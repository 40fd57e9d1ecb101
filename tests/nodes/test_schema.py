"""What a graph shows of every node: ids, sockets, widgets and words, before anything runs."""

import asyncio
import inspect
from pathlib import Path

import host_comfyui
import pusa
import pytest
from comfy_api.latest import io
from pusa.nodes.common import CATEGORY

EXTENSION = asyncio.run(pusa.comfy_entrypoint())
asyncio.run(EXTENSION.on_load())
NODES = {node.GET_SCHEMA().node_id: node for node in asyncio.run(EXTENSION.get_node_list())}
SCHEMAS = {name: node.GET_SCHEMA() for name, node in NODES.items()}
INPUTS = [(name, each) for name, schema in SCHEMAS.items() for each in schema.inputs]
every_node = pytest.mark.parametrize("name", NODES)
every_input = pytest.mark.parametrize("name, each", INPUTS, ids=[f"{name}-{each.id}" for name, each in INPUTS])

# Saved graphs hold these ids and the order of these outputs, so they never change: `id: TYPE = default`, ? is optional.
CONTRACT = {
    "PusaModelLoader": (
        "unet_name: COMBO, weight_dtype: COMBO = default, lora_name: COMBO, strength: FLOAT = 1.4, "
        "distill_lora_name: COMBO? = none, distill_strength: FLOAT? = 1.0",
        "model: MODEL",
    ),
    "PusaModelPairLoader": (
        "unet_name_high: COMBO, unet_name_low: COMBO, weight_dtype: COMBO = default, lora_name_high: COMBO, "
        "strength_high: FLOAT = 1.5, lora_name_low: COMBO, strength_low: FLOAT = 1.4, "
        "distill_lora_name_high: COMBO? = none, distill_strength_high: FLOAT? = 1.0, "
        "distill_lora_name_low: COMBO? = none, distill_strength_low: FLOAT? = 1.0",
        "model: MODEL, model_low: MODEL",
    ),
    "PusaLoraLoader": ("model: MODEL, lora_name: COMBO, strength: FLOAT = 1.4", "model: MODEL"),
    "PusaKeyframes": (
        "vae: VAE, latent: LATENT, images: COMFY_AUTOGROW_V3, positions: STRING = 0, unit: COMBO = frame, "
        "noise: STRING = 0.2, fit: COMBO = crop, encode: COMBO = still, condition: PUSA_CONDITION?",
        "condition: PUSA_CONDITION",
    ),
    "PusaVideoFrames": (
        "vae: VAE, latent: LATENT, video: IMAGE, take: COMBO = end, frames: INT = 13, place: COMBO = start, "
        "noise: STRING = 0.0, 0.3, 0.4, 0.5, fit: COMBO = crop, condition: PUSA_CONDITION?",
        "condition: PUSA_CONDITION",
    ),
    "PusaLatentFrames": (
        "latent: LATENT, frames: LATENT, positions: STRING = 0, noise: STRING = 0.2, condition: PUSA_CONDITION?",
        "condition: PUSA_CONDITION",
    ),
    "PusaKSampler": (
        "model: MODEL, positive: CONDITIONING, negative: CONDITIONING, latent_image: LATENT, seed: INT = 0, "
        "steps: INT = 10, cfg: FLOAT = 3.0, shift: FLOAT = 5.0, sampler_name: COMBO = euler, "
        "scheduler: COMBO = flow_match, denoise: FLOAT = 1.0, condition: PUSA_CONDITION?, model_low: MODEL?, "
        "boundary: FLOAT? = 0.875, cfg_low: FLOAT? = 0.0",
        "latent: LATENT",
    ),
    "PusaExtendVideo": (
        "model: MODEL, vae: VAE, video: VIDEO,IMAGE, positive: COMFY_AUTOGROW_V3, negative: CONDITIONING, overlap: INT = 13, "
        "new_frames: INT = 68, hops: INT = 1, noise: STRING = 0.0, 0.3, 0.4, 0.5, direction: COMBO = forwards, seed: INT = 0, "
        "hop_seed: COMBO = increment, steps: INT = 10, cfg: FLOAT = 3.0, shift: FLOAT = 5.0, sampler_name: COMBO = euler, "
        "scheduler: COMBO = flow_match, color_match: FLOAT = 0.0, cross_fade: INT = 0, fps: FLOAT = 16.0, "
        "resample: COMBO = keep, frames_in: COMBO = memory, model_low: MODEL?, boundary: FLOAT? = 0.875, cfg_low: FLOAT? = 0.0",
        "joined: IMAGE, new_frames: IMAGE, overlap: IMAGE, video: VIDEO",
    ),
    "PusaTransition": (
        "model: MODEL, vae: VAE, video: VIDEO,IMAGE, positive: CONDITIONING, negative: CONDITIONING, overlap: INT = 13, "
        "new_frames: INT = 55, noise: STRING = 0, seed: INT = 0, steps: INT = 10, cfg: FLOAT = 3.0, shift: FLOAT = 5.0, "
        "sampler_name: COMBO = euler, scheduler: COMBO = flow_match, color_match: FLOAT = 0.0, cross_fade: INT = 0, "
        "fps: FLOAT = 16.0, frames_in: COMBO = memory, video_after: VIDEO,IMAGE?, model_low: MODEL?, "
        "boundary: FLOAT? = 0.875, cfg_low: FLOAT? = 0.0",
        "joined: IMAGE, new_frames: IMAGE, overlap: IMAGE, video: VIDEO",
    ),
    "PusaApplyCondition": (
        "model: MODEL, latent: LATENT, condition: PUSA_CONDITION, shift: FLOAT = 5.0",
        "model: MODEL, latent: LATENT",
    ),
    "PusaScheduler": ("steps: INT = 10, shift: FLOAT = 5.0, denoise: FLOAT = 1.0", "sigmas: SIGMAS"),
    "PusaConditionPlot": (
        "condition: PUSA_CONDITION, steps: INT = 10, shift: FLOAT = 5.0, sigmas: SIGMAS?",
        "image: IMAGE",
    ),
    "PusaSavePrompt": ("conditioning: CONDITIONING, prompt_name: STRING = prompt, overwrite: BOOLEAN = False", ""),
    "PusaLoadPrompt": ("prompt_name: COMBO", "conditioning: CONDITIONING"),
    "PusaMergeLora": (
        "base_name: COMBO, lora_name: COMBO, strength: FLOAT = 1.4, filename: STRING = wan_pusa, "
        "overwrite: BOOLEAN = False, lora_name_2: COMBO? = none, strength_2: FLOAT? = 1.0",
        "file_name: STRING",
    ),
}
OPTIONS = {
    "unit": ["frame", "latent"],
    "fit": ["crop", "pad", "stretch"],
    "encode": ["still", "causal"],
    "take": ["end", "start"],
    "place": ["start", "end"],
}


def default_of(each):
    return getattr(each, "default", None)


def written(each) -> str:
    default = "" if default_of(each) is None else f" = {default_of(each)}"
    return f"{each.id}: {each.get_io_type()}{'?' * each.optional}{default}"


@every_node
def test_inputs_and_outputs_are_those_that_saved_graphs_hold(name):
    inputs, outputs = CONTRACT[name]
    assert ", ".join(map(written, SCHEMAS[name].inputs)) == inputs
    assert ", ".join(f"{each.display_name}: {each.get_io_type()}" for each in SCHEMAS[name].outputs) == outputs


def test_no_node_of_the_contract_is_missing():
    assert set(NODES) == set(CONTRACT)


@every_node
def test_a_node_says_what_it_is_for_and_can_be_found(name):
    schema = SCHEMAS[name]
    schema.validate()
    assert name.startswith("Pusa") and name == NODES[name].__name__
    assert "Pusa" in schema.display_name and schema.category == CATEGORY
    assert schema.description.endswith(".") and len(schema.description) > 40
    assert len(set(schema.search_aliases)) == len(schema.search_aliases) >= 2


def test_display_names_are_all_different():
    assert len({schema.display_name for schema in SCHEMAS.values()}) == len(NODES)


@every_node
def test_every_socket_and_widget_has_a_tooltip(name):
    described = [*SCHEMAS[name].inputs, *SCHEMAS[name].outputs]
    described += [each.template.input for each in SCHEMAS[name].inputs if isinstance(each, io.Autogrow.Input)]
    for each in described:
        assert each.tooltip and each.tooltip.endswith("."), each.id


@every_input
def test_a_number_has_a_range_that_holds_its_default(name, each):
    if isinstance(each, (io.Int.Input, io.Float.Input)):
        assert each.min <= each.default <= each.max
        assert isinstance(each, io.Int.Input) or 0 < each.step < each.max - each.min


@every_input
def test_a_choice_offers_the_options_of_the_contract_and_its_default(name, each):
    if isinstance(each, io.Combo.Input):
        assert each.default is None or each.default in each.options
        assert each.options == OPTIONS.get(each.id, each.options)


def test_frames_can_only_be_counted_in_lengths_that_the_vae_takes():
    (frames,) = [each for each in SCHEMAS["PusaVideoFrames"].inputs if each.id == "frames"]
    assert (frames.min - 1) % 4 == (frames.max - 1) % 4 == 0 and frames.step == 4


@every_node
def test_execute_takes_exactly_the_inputs_and_the_same_defaults(name):
    parameters = inspect.signature(NODES[name].execute).parameters
    assert set(parameters) == {each.id for each in SCHEMAS[name].inputs}
    for each in SCHEMAS[name].inputs:
        default = parameters[each.id].default
        assert default == (default_of(each) if each.optional else inspect.Parameter.empty)


@pytest.mark.parametrize("name", ["PusaKeyframes", "PusaLatentFrames"])
@pytest.mark.parametrize(
    "text, answer", [("0, 2-last", True), (None, True), ("0, x", "`x` in `positions` is not a position")]
)
def test_positions_are_checked_before_the_graph_runs(name, text, answer):
    found = NODES[name].validate_inputs(positions=text)
    assert found is True if answer is True else found.startswith(answer)


@pytest.mark.parametrize(
    "name", ["PusaKeyframes", "PusaVideoFrames", "PusaLatentFrames", "PusaExtendVideo", "PusaTransition"]
)
@pytest.mark.parametrize(
    "text, answer", [("0.0..0.5", True), (None, True), ("2", "the noise multiplier 2 is outside 0 to 1")]
)
def test_noise_is_checked_before_the_graph_runs(name, text, answer):
    found = NODES[name].validate_inputs(noise=text)
    assert found is True if answer is True else found.startswith(answer)


def sources() -> list[Path]:
    root = host_comfyui.ROOT
    files = [path for kind in ("py", "md", "toml", "ini", "js") for path in root.rglob(f"*.{kind}")]
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def test_every_source_can_be_read_and_shown_on_a_western_windows():
    """Plain UTF-8 without a mark at the start, in characters that code page 1252 has too; that leaves no emoji."""
    assert len(sources()) > 50
    for path in sources():
        text = path.read_bytes().decode("utf-8")
        assert not text.startswith("\ufeff"), path
        text.encode("cp1252")
