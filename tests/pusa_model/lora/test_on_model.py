"""The LoRAs on a MODEL, whichever node put them there: the same one twice is told, another never; Pusa's is known by its shape."""

import itertools
import math

import comfy.hooks
import comfy.sd
import comfy.utils
import pytest
import tiny
import torch
from comfy_extras.nodes_model_merging import ModelMergeSimple
from pusa.pusa_model.guards import advice
from pusa.pusa_model.lora.load import load_lora
from pusa.pusa_model.lora.on_model import check_lora_once, has_unknown_loras, pusa_lora_on
from pusa.schedulers import InputError
from safetensors.torch import save_file
from sampled import empty, given, run
from torch.utils._python_dispatch import TorchDispatchMode

PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
PLAIN = {f"diffusion_model.{key.replace('.default', '')}": value for key, value in tiny.lora_weights().items()}
BLOCKS, STYLE = 2, 30


@pytest.fixture
def file(tmp_path):
    """Writer of a LoRA file with the keys that ComfyUI's loaders know; returns the path."""

    def write(name="pusa", seed=2, dtype=torch.float32, change=lambda lora: lora, metadata=None) -> str:
        lora = change({key: value for key, value in zip(PLAIN, tiny.lora_weights(seed).values())})
        path = str(tmp_path / f"{name}.safetensors")
        save_file({key: value.to(dtype) for key, value in lora.items()}, path, metadata)
        return path

    return write


def ours(model, path):
    return load_lora(model, path, 1.4, warn=lambda text: None)


def core(model, path):
    lora, metadata = comfy.utils.load_torch_file(path, return_metadata=True)
    return comfy.sd.load_lora_for_models(model, None, lora, 1.4, 0.0, lora_metadata=metadata)[0]


def bypass(model, path):
    return comfy.sd.load_bypass_lora_for_models(model, None, comfy.utils.load_torch_file(path), 1.4, 0.0)[0]


def hooked(model, path):
    """The LoRA as a hook that is registered with the model, as it is while it is sampled."""
    hooks = comfy.hooks.create_hook_lora(comfy.utils.load_torch_file(path), 1.0, 0.0)
    model = model.clone()
    model.register_all_hook_patches(hooks, comfy.hooks.create_target_dict(comfy.hooks.EnumWeightTarget.Model))
    return model


LOADERS = {"ours": (ours, torch.float32), "core": (core, torch.float32), "bypass": (bypass, torch.float32)}
LOADERS |= {f"core, {name}": (core, dtype) for name, dtype in PRECISIONS.items()}
LOADERS |= {f"ours, {name}": (ours, dtype) for name, dtype in PRECISIONS.items()}
every_two = pytest.mark.parametrize("first, second", list(itertools.product(LOADERS, LOADERS)))


def put_on(model, names, paths):
    for name, path in zip(names, paths):
        model = LOADERS[name][0](model, path)
    check_lora_once(model)
    return model


@every_two
def test_the_same_lora_twice_is_told_in_any_order_precision_and_way(wan, file, first, second):
    paths = [file(f"pusa{i}", dtype=LOADERS[name][1]) for i, name in enumerate((first, second))]
    if first == second == "bypass":  # ComfyUI lets the second one take the place of the first
        put_on(wan, (first, second), paths)
        return
    with pytest.raises(InputError, match="(on this model already|is on it twice).*flashes. Remove one of the two loaders") as error:
        put_on(wan, (first, second), paths)
    assert "ours" not in first + second or "pusa0" in str(error.value) or "pusa1" in str(error.value)
    assert not wan.patches and not wan.injections


@every_two
def test_a_style_lora_beside_it_is_never_told(wan, file, first, second):
    both = put_on(wan, (first, second), (file("pusa", dtype=LOADERS[first][1]), file("style", STYLE, LOADERS[second][1])))
    assert pusa_lora_on(both)


def faint(lora):
    """Values that float8 rounds to zero, all but those of one module."""
    return {key: value * (1.0 if "blocks.1.ffn.2" in key else 1e-6) for key, value in lora.items()}


def test_what_float8_makes_of_small_values_is_no_likeness(wan, file):
    put_on(wan, ("core, fp8", "core, fp8"), (file("a", 2, torch.float8_e4m3fn, faint), file("b", 3, torch.float8_e4m3fn, faint)))
    with pytest.raises(InputError, match="twice"):
        put_on(wan, ("core", "core, fp8"), (file("a", 2, change=faint), file("b", 2, torch.float8_e4m3fn, faint)))


def other_half(lora):
    return {key: -value if ".lora_A." in key else value for key, value in lora.items()}


def test_loras_are_told_apart_by_all_of_their_tensors(wan, file):
    put_on(wan, ("core", "core"), (file(), file("half", change=other_half)))


def test_a_hook_is_held_against_the_model_and_hooks_are_not_held_against_each_other(wan, file):
    path, style = file(), file("style", STYLE)
    check_lora_once(hooked(hooked(wan, path), path))
    check_lora_once(hooked(ours(wan, path), style))
    for loader in (ours, bypass):
        with pytest.raises(InputError, match="twice"):
            check_lora_once(hooked(loader(wan, path), path))


def test_the_file_is_named_among_others(wan, file):
    model = ours(core(ours(wan, file("lightx2v", 8)), file("style", STYLE)), file())
    for name in ("lightx2v", "pusa"):
        with pytest.raises(InputError, match=rf"the same LoRA \({name}.safetensors\) is on it twice"):
            check_lora_once(core(model, file(name, 8 if name == "lightx2v" else 2)))
    with pytest.raises(InputError, match="`model_low`: the same LoRA is on it twice"):
        check_lora_once(core(model, file("style", STYLE)), "model_low")


@pytest.mark.parametrize("low", [False, True])
def test_a_run_tells_before_anything_is_sampled(wan, file, positive, negative, low):
    twice = core(ours(wan, file()), file())
    models = (tiny.wan_model(tiny.wan_weights(10)), twice) if low else (twice, None)
    with pytest.raises(InputError, match=rf"`model{'_low' * low}`: the same LoRA"):
        run(models[0], positive, negative, empty(), given(empty(), "0", "0.2"), model_low=models[1], warn=lambda text: None)


class Largest(TorchDispatchMode):
    """The size of the largest tensor that an operation makes."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **kwargs or {})
        self.size = max(self.size, made.numel() if isinstance(made, torch.Tensor) else 0)
        return made


def test_only_first_rows_are_read_of_loras_that_differ(wan, file):
    model = core(ours(wan, file()), file("style", STYLE))
    with Largest() as largest:
        check_lora_once(model)
    assert 0 < largest.size <= 2 * tiny.WIDTH, "a row of the widest tensor"


def with_alpha(alpha):
    def change(lora):
        return lora | {key.replace("lora_A.weight", "alpha"): torch.tensor(alpha) for key in lora if "lora_A" in key}

    return change


def resized(lora):
    """A rank of its own for each module, written as alpha as well, which is how the tools that resize LoRAs leave a file."""
    found = {}
    for i, module in enumerate(sorted({key.split(".lora_")[0] for key in lora})):
        rank = 1 + i % 4
        found |= {f"{module}.lora_A.weight": lora[f"{module}.lora_A.weight"][:rank], f"{module}.alpha": torch.tensor(float(rank))}
        found[f"{module}.lora_B.weight"] = lora[f"{module}.lora_B.weight"][:, :rank].contiguous()
    return found


def attention_only(lora):
    return {key: value for key, value in lora.items() if "attn" in key}


def with_head(lora):
    head = {"A": torch.ones(4, tiny.WIDTH), "B": torch.ones(64, 4)}
    return lora | {f"diffusion_model.head.head.lora_{name}.weight": value for name, value in head.items()}


def with_norms(lora):
    norms = {f"diffusion_model.blocks.{block}.self_attn.norm_q.diff": torch.ones(tiny.WIDTH) for block in range(BLOCKS)}
    return attention_only(lora) | norms


STYLES = {"attention only": attention_only, "the head too": with_head, "alpha": with_alpha(4.0), "norms": with_norms}
WAYS = {"core": core, "bypass": bypass, "a hook": hooked}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("style", STYLES)
def test_a_style_lora_alone_is_not_taken_for_pusas(wan, file, way, style):
    model = WAYS[way](wan, file("style", STYLE, change=STYLES[style]))
    assert not pusa_lora_on(model) and has_unknown_loras(model)
    (text,) = advice(model, 3.0, 10, True)
    assert text.startswith("No Pusa LoRA is on the model, only LoRAs of another kind. Without the Pusa LoRA the video follows")
    assert not advice(model, 3.0, 10, False)
    both = core(model, file()) if way != "core" else bypass(model, file())
    assert pusa_lora_on(both) and not advice(both, 3.0, 10, True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", [lambda lora: lora, resized])
def test_a_lora_of_pusas_shape_is_taken_for_it(wan, file, way, change):
    model = WAYS[way](wan, file("some", 5, torch.float16, change))
    assert pusa_lora_on(model) and not advice(model, 3.0, 10, True)


def test_a_pusa_lora_is_known_by_its_metadata_and_by_this_packs_note(wan, file):
    assert pusa_lora_on(core(wan, file("x", change=with_alpha(4.0), metadata={"title": "Pusa, resized"})))
    assert pusa_lora_on(ours(wan, file("x", change=attention_only)))
    fast = ours(wan, file("lightx2v_4steps"))
    assert advice(fast, 1.0, 4, True)[0].startswith("No Pusa LoRA is on the model, only lightx2v_4steps.safetensors. Without")
    assert pusa_lora_on(core(fast, file("unnamed", 5)))


def test_what_cannot_be_read_is_taken_for_it(wan, file):
    """A merge of two models, or an injection of another pack, may hold the Pusa LoRA: no alarm."""
    merged = ModelMergeSimple().merge(wan, ours(tiny.wan_model(tiny.wan_weights(3)), file()), 0.5)[0]
    foreign = wan.clone()
    foreign.set_injections("other", [comfy.patcher_extension.PatcherInjection(inject=print, eject=print)])
    weighted = wan.clone()
    weighted.add_patches({"diffusion_model.head.head.weight": ("diff", (torch.ones(64, tiny.WIDTH),))}, 1.0, 0.5)
    for model in (merged, foreign, weighted):
        assert pusa_lora_on(model) and has_unknown_loras(model) and not advice(model, 3.0, 10, True)
        check_lora_once(model)
    assert not pusa_lora_on(wan) and not has_unknown_loras(wan) and not has_unknown_loras(ours(wan, file()))


def test_a_model_that_the_trainer_wrote_needs_no_lora(tmp_path, wan_weights):
    for name, metadata in (("trained", {"pusa_training": "{}"}), ("plain", {"format": "pt"})):
        save_file(wan_weights, tmp_path / f"{name}.safetensors", metadata)
        model = comfy.sd.load_diffusion_model(str(tmp_path / f"{name}.safetensors"), model_options={"dtype": torch.float32})
        assert pusa_lora_on(model) is (name == "trained")


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf])
def test_a_strength_that_is_no_number_is_refused(wan, file, strength):
    with pytest.raises(InputError, match="`strength` is"):
        load_lora(wan, file(), strength)


OTHER_KINDS = {
    "LoHa": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"),
    "LoKr": ("lokr_w1", "lokr_w2", "alpha"),
    "OFT": ("oft_blocks", "alpha"),
    "GLoRA": ("a1.weight", "a2.weight", "b1.weight", "b2.weight"),
}


@pytest.mark.parametrize("prefix", ["diffusion_model.blocks.0.ffn.0", "lycoris_blocks_0_ffn_0"])
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_other_kinds_of_loras_are_named(wan, tmp_path, kind, prefix):
    path = tmp_path / "x.safetensors"
    save_file({f"{prefix}.{part}": torch.ones(4, 4) if part != "alpha" else torch.ones(()) for part in OTHER_KINDS[kind]}, path)
    with pytest.raises(InputError, match=f"`lora_name`: the file is a {kind}, a kind of LoRA that is not taken here") as error:
        load_lora(wan, str(path), 1.0)
    assert "ComfyUI's own Load LoRA takes" in str(error.value) and "match no weight" not in str(error.value)
