"""Every spelling of a LoRA on every precision of the model gives what the official merge ``W + alpha B A`` gives."""

import functools
import json

import comfy.model_management
import comfy.sd
import pytest
import tiny
import torch
from pusa.pusa_model.lora.load import load_lora
from safetensors.torch import save_file
from sampled import empty, given, run

STRENGTH, RANK, ALPHA = 1.4, 4, 2.0
FP8 = torch.float8_e4m3fn
FACTORS = {key: 2 * factor for key, factor in tiny.lora_weights(layers=1, rank=RANK).items()}  # well above fp8's rounding
MODULES = sorted({key.split(".lora_")[0] for key in FACTORS})
PEFT, UP_DOWN = ("lora_A", "lora_B"), ("lora_down", "lora_up")
ALPHAS = {f"{module}.alpha": torch.tensor(ALPHA) for module in MODULES}
DIFFERENCES = {
    "blocks.0.self_attn.q.diff": "blocks.0.self_attn.q.weight",
    "blocks.0.self_attn.q.diff_b": "blocks.0.self_attn.q.bias",
    "blocks.0.self_attn.norm_q.diff": "blocks.0.self_attn.norm_q.weight",
    "blocks.0.ffn.2.diff_b": "blocks.0.ffn.2.bias",
    "patch_embedding.diff": "patch_embedding.weight",
    "head.head.diff_b": "head.head.bias",
}

# The dtype that weight_dtype asks for, or the two layouts of scaled fp8 files that ComfyUI reads.
PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp8 e4m3": FP8,
    "fp8 e5m2": torch.float8_e5m2,
    "fp8 scaled, scaled_fp8": None,
    "fp8 scaled, comfy_quant": None,
}


def pair(module, factors=FACTORS):
    return factors[f"{module}.lora_A.default.weight"], factors[f"{module}.lora_B.default.weight"]


def factors(prefix, names, adapter="", alpha=False):
    tensors = {f"{module}.{name}{adapter}.weight": factor for module in MODULES for name, factor in zip(names, pair(module))}
    return {prefix + key: tensor for key, tensor in (tensors | (ALPHAS if alpha else {})).items()}


def flat(tensors, prefix="lora_unet_"):
    """Keys as kohya's trainer writes them: underscores within the module's name."""
    parts = {key: next(part for part in (".lora_", ".alpha", ".diff") if part in key) for key in tensors}
    return {
        prefix + key.partition(part)[0].replace(".", "_") + part + key.partition(part)[2]: tensors[key]
        for key, part in parts.items()
    }


@functools.cache
def differences():
    weights, generator = tiny.wan_weights(layers=1), tiny.seeded(5)
    return {key: 0.3 * torch.randn(weights[target].shape, generator=generator) for key, target in DIFFERENCES.items()}


PREFIXES = ("", "diffusion_model.", "base_model.model.", "transformer.", "pipe.dit.")
STYLES = {
    f"{prefix}*.lora_A{adapter}": ("no alpha", factors(prefix, PEFT, adapter))
    for prefix in PREFIXES
    for adapter in ("", ".default")
}
STYLES |= {
    f"{prefix}*.lora_down{' + alpha' * alpha}": (("no alpha", "alpha")[alpha], factors(prefix, UP_DOWN, alpha=alpha))
    for prefix in PREFIXES[:2]
    for alpha in (False, True)
}
STYLES |= {
    "lora_unet_": ("no alpha", flat(factors("", UP_DOWN))),
    "lora_unet_ + alpha": ("alpha", flat(factors("", UP_DOWN, alpha=True))),
    "lora_unet__": ("alpha", flat(factors("", UP_DOWN, alpha=True), "lora_unet__")),
    "*.diff and diff_b": ("differences", differences()),
    "diffusion_model.*.diff and diff_b": ("differences", {f"diffusion_model.{key}": t for key, t in differences().items()}),
    "lora_unet_*.diff and diff_b": ("differences", flat(differences())),
}


def merged(weights, kind):
    """The official merge in float32: ``W + s B A``, LightX2V's with s alpha / rank, or ``W + s D``."""
    if kind == "differences":
        return weights | {to: weights[to] + STRENGTH * differences()[key] for key, to in DIFFERENCES.items()}
    scale = STRENGTH * (ALPHA / RANK if kind == "alpha" else 1)
    return added(weights, FACTORS, scale)


def added(weights, factors, scale):
    sums = {f"{module}.weight": scale * (pair(module, factors)[1] @ pair(module, factors)[0]) for module in MODULES}
    return weights | {key: weights[key] + update for key, update in sums.items()}


def file_content(weights, precision):
    """Float32 weights as a model file of a precision holds them; every value rounded to the nearest.

    The patch embedding stays in float32, as ComfyUI's network keeps it whatever dtype is asked for.
    """
    if PRECISIONS[precision]:
        wide = {key: weight for key, weight in weights.items() if key.startswith("patch_embedding.")}
        return {key: weight.to(PRECISIONS[precision]) for key, weight in weights.items()} | wide
    tensors, old = dict(weights), precision.endswith("scaled_fp8")
    for key in [key for key, weight in weights.items() if key.startswith("blocks.") and weight.ndim == 2]:
        scale = weights[key].abs().amax() / torch.finfo(FP8).max
        tensors[key] = (weights[key] / scale).to(FP8)
        tensors[key.removesuffix("weight") + ("scale_weight" if old else "weight_scale")] = scale
        if not old:
            layer = json.dumps({"format": "float8_e4m3fn"}).encode()
            tensors[key.removesuffix("weight") + "comfy_quant"] = torch.tensor(list(layer), dtype=torch.uint8)
    return tensors | ({"scaled_fp8": torch.zeros(2, dtype=FP8)} if old else {})


def held(model):
    """What a MODEL holds once ComfyUI has loaded it: its tensors by key; scaled weights beside their ``weight_scale``."""
    comfy.model_management.load_models_gpu([model])
    return {key: tensor.clone() for key, tensor in model.model.diffusion_model.state_dict().items()}


def scale_of(tensors, key):
    return tensors.get(key.removesuffix("weight") + "weight_scale", torch.ones(()))


def values(tensors):
    """The float32 weights that held tensors stand for."""
    weights = {key: tensor for key, tensor in tensors.items() if not key.endswith(("comfy_quant", "weight_scale"))}
    return {key: tensor.float() * scale_of(tensors, key) for key, tensor in weights.items()}


def step(value, dtype):
    """The distance of the two neighbours in a dtype that enclose each float32 value."""
    exponent = torch.frexp(value.abs().clamp(min=torch.finfo(dtype).smallest_normal)).exponent - 1
    return torch.finfo(dtype).eps * torch.exp2(exponent.float())


def assert_rounded_once(found, exact):
    """Each value is the float32 result, rounded once into the dtype that holds it.

    To the nearest in float32, bfloat16 and float16: half a step. ComfyUI rounds to fp8 stochastically, to one of the two
    neighbours: less than a step, times the scale that maps the largest value to fp8's largest. It takes the exponent in
    half precision, so that up to 0.3 % below a power of two the step is the one above it.
    """
    for key, expected in exact.items():
        tensor, scale = found[key], scale_of(found, key)
        if scale != 1:
            assert scale == pytest.approx((expected.abs().amax() / torch.finfo(FP8).max).item(), rel=1e-5)
        share, near = (1, 1.003) if tensor.element_size() == 1 else (0.5, 1)
        bound = share * step(near * expected / scale, tensor.dtype) * scale + 1e-6
        error = (tensor.float() * scale - expected).abs()
        assert (error <= bound).all(), f"{key}: {(error / bound).max()} of the bound"


def rms(tensor):
    return tensor.square().mean().sqrt().item()


class Base:
    """The tiny Wan, loaded from a file in one precision; beside it, files with the official merge in the same precision."""

    def __init__(self, precision, folder):
        self.precision, self.folder, self.references = precision, folder, {}
        self.model = self.load(tiny.wan_weights(layers=1), precision)
        self.held = held(self.model)
        self.values = values(self.held)

    def load(self, weights, precision):
        path = self.folder / f"{len(list(self.folder.iterdir()))}.safetensors"
        save_file(file_content(weights, precision), path)
        options = {"dtype": PRECISIONS[precision]} if PRECISIONS[precision] else {}
        return comfy.sd.load_diffusion_model(str(path), options)

    def patched(self, tensors, strength=STRENGTH, file="pusa.safetensors", model=None):
        path = self.folder / file
        save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
        return load_lora(model or self.model, str(path), strength, pytest.fail)

    @functools.cached_property
    def without_lora(self):
        return sampled(self.model)

    def reference(self, kind):
        """Latent of the official merge in this precision, and how far it is (rms) from the same merge kept in float32."""
        if kind not in self.references:
            exact = merged(self.values, kind)
            latent = sampled(self.load(exact, self.precision))
            self.references[kind] = latent, rms(latent - sampled(self.load(exact, "float32")))
        return self.references[kind]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small are several times faster without threads that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sampled(model):
    latent, prompt = empty(3), tiny.prompt(3)
    return run(model, prompt, prompt, latent, given(latent, "0", "0.2"), steps=2, warn=lambda text: None)


@pytest.fixture(scope="module", params=PRECISIONS)
def base(request, tmp_path_factory):
    return Base(request.param, tmp_path_factory.mktemp("formats"))


def assert_same_latent(latent, reference, precision, without_lora):
    """Equal to 1e-5 where both round to the nearest. In fp8 the file rounds to the nearest and the patcher stochastically.

    Over a uniform position between two neighbours, in steps, the one errs by sqrt(1/12) rms and the two differ by sqrt(1/4):
    1.73 times as much, and the latent follows both alike as long as they are small. 3 leaves room for the few that count.
    """
    expected, rounding = reference
    if precision.startswith("fp8"):
        assert rms(latent - expected) <= 3 * rounding
        assert rms(without_lora - expected) > 6 * rounding, "a missing LoRA would not show"
    else:
        assert (latent - expected).abs().max() <= 1e-5
        assert (without_lora - expected).abs().max() > 1e-2, "a missing LoRA would not show"


@pytest.mark.parametrize("style", STYLES)
def test_every_spelling_in_every_precision_is_the_official_merge(base, style):
    kind, tensors = STYLES[style]
    assert_rounded_once(held(base.patched(tensors, file="pusa.pt")), merged(base.values, kind))
    assert_same_latent(sampled(base.patched(tensors)), base.reference(kind), base.precision, base.without_lora)


LIGHTX2V = tiny.lora_weights(seed=8, layers=1, rank=8)
LIGHTX2V_FILE = {
    f"diffusion_model.{key.replace('lora_A.default', 'lora_down').replace('lora_B.default', 'lora_up')}": factor
    for key, factor in LIGHTX2V.items()
} | {f"diffusion_model.{module}.alpha": torch.tensor(4.0) for module in MODULES}


def test_pusa_and_lightx2v_add_up_in_any_order(base):
    """``W + 1.4 B A + (alpha / rank) up down``; the order can change the last bit of the float32 sum, and so a rare rounding."""
    lightx2v = functools.partial(base.patched, LIGHTX2V_FILE, 1.0, "lightx2v.safetensors")
    orders = [lightx2v(model=base.patched(FACTORS)), base.patched(FACTORS, model=lightx2v())]
    one, other = map(held, orders)
    exact = added(merged(base.values, "no alpha"), LIGHTX2V, 4.0 / 8)
    assert_rounded_once(one, exact)
    assert_rounded_once(other, exact)
    if base.precision == "float32":
        assert (sampled(orders[0]) - sampled(orders[1])).abs().max() <= 2e-5
    else:
        differing = sum((one[key].float() != other[key].float()).sum().item() for key in exact)
        assert differing <= 1e-4 * sum(weight.numel() for weight in exact.values())
    assert all(torch.equal(tensor, base.held[key]) for key, tensor in held(base.model).items()), "the base is as it was"
