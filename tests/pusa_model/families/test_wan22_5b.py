"""Wan2.2 TI2V 5B in every node: its geometry and words come from its VAE and its network."""

from fractions import Fraction

import comfy.sample
import comfy.samplers
import folder_paths
import pytest
import tiny
import torch
from pusa.nodes import PusaExtendVideo, PusaKeyframes, PusaKSampler, PusaLatentFrames, PusaTransition, PusaVideoFrames
from pusa.pusa_model import sampling, timeline
from pusa.pusa_model.families.lookup import of_latent, of_model, of_vae
from pusa.pusa_model.families.table import WAN, WAN22_5B, sized
from pusa.pusa_model.lora.load import load_lora
from pusa.schedulers import InputError, flow_match_sigmas
from safetensors.torch import save_file

SHAPE = (1, 48, 5, 4, 6)  # 17 frames of 96 x 64
LATENT = {"samples": torch.zeros(SHAPE)}


@pytest.fixture(scope="module")
def model():
    return tiny.wan22_model()


@pytest.fixture(scope="module")
def vae22():
    return tiny.wan22_vae()


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    with torch.inference_mode():
        yield


def pictures(count, height=64, width=96, seed=0):
    return torch.rand(count, height, width, 3, generator=tiny.seeded(seed))


def settings(**changes):
    return {"steps": 2, "cfg": 1.0, "shift": 5.0, "sampler_name": "euler", "scheduler": "flow_match"} | changes


def ends():
    return {"color_match": 0.0, "cross_fade": 0, "fps": 24.0, "resample": "keep", "frames_in": "memory"}


def extended(model, vae, video, positive, negative, direction="forwards", hops=3, **changes):
    given = {"overlap": 5, "new_frames": 8, "hops": hops, "noise": "0", "direction": direction, "seed": 1, "hop_seed": "increment"}
    prompts = {"prompt0": positive}
    return PusaExtendVideo.execute(model, vae, video, prompts, negative, **given | settings() | ends() | changes).result


def test_it_is_known_by_its_network_its_vae_and_its_latent(model, vae22, wan, vae):
    assert of_model(model) is of_vae(vae22) is of_latent(LATENT["samples"]) is WAN22_5B
    assert of_model(wan) is of_vae(vae) is of_latent(torch.zeros(1, 16, 5, 4, 6)) is WAN
    assert (WAN22_5B.ratio, WAN22_5B.factor) == (vae22.spacial_compression_encode(), vae22.downscale_index_formula[0])
    assert (WAN22_5B.rate, WAN22_5B.channels, WAN22_5B.grid) == (Fraction(24), 48, 32)


@pytest.mark.parametrize("height, width", [(64, 96), (48, 80), (61, 50)], ids=["on the grid", "half a patch off", "odd"])
@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_a_clip_is_extended_three_hops_and_stays_bit_for_bit(model, vae22, positive, negative, height, width, direction):
    video = pictures(9, height, width)
    joined, new, *_ = extended(model, vae22, video, positive, negative, direction)
    assert joined.shape == (9 + 24, height, width, 3) and new.isfinite().all()
    assert torch.equal(joined[:9] if direction == "forwards" else joined[-9:], video)


def test_a_transition_keeps_both_clips(model, vae22, positive, negative):
    first, second = pictures(9, 50, 61), pictures(7, 50, 61, seed=1)
    given = {"overlap": 5, "new_frames": 7, "noise": "0", "seed": 1, "video_after": second} | settings() | ends()
    joined = PusaTransition.execute(model, vae22, first, positive, negative, **given).result[0]
    assert torch.equal(joined[:9], first) and torch.equal(joined[-7:], second) and len(joined) == 9 + 7 + 7


@pytest.mark.parametrize("encode", ["still", "causal"])
def test_keyframes_take_any_position(model, vae22, positive, negative, encode):
    images = {"image0": pictures(3)}
    condition = PusaKeyframes.execute(vae22, LATENT, images, "0, 7, last", "frame", "0, 0.3, 0", "crop", encode).result[0]
    assert condition.positions == (0, 2, 4) and condition.frames.shape == (1, 48, 3, 4, 6)
    result = sampling.sample(model, positive, negative, LATENT, seed=1, denoise=1.0, condition=condition, **settings())["samples"]
    assert torch.equal(result[:, :, [0, 4]], condition.frames[:, :, [0, 2]]) and result.isfinite().all()


def test_the_end_of_a_clip_is_placed_at_either_end(vae22):
    video = pictures(12)
    start = PusaVideoFrames.execute(vae22, LATENT, video, "end", 9, "start", "0", "crop").result[0]
    end = PusaVideoFrames.execute(vae22, LATENT, video, "start", 9, "end", "0", "crop").result[0]
    assert start.positions == (0, 1, 2) and end.positions == (3, 4)


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_a_clean_first_frame_is_comfyui_s_own_way_bit_for_bit(model, vae22, positive, negative, cfg):
    """Its noise mask of 0 tells the network 0 for the frame, and shows it unchanged."""
    frame = vae22.encode(pictures(1))
    ours = timeline.latent_frames(LATENT["samples"], frame, "0", "0")
    latent = model.model.process_latent_out(torch.zeros(SHAPE))
    latent[:, :, :1], mask = frame, torch.ones(1, 1, 5, 4, 6)
    mask[:, :, 0] = 0
    result = sampling.sample(model, positive, negative, LATENT, seed=7, denoise=1.0, condition=ours, **settings(steps=4, cfg=cfg))
    core = comfy.sample.sample_custom(
        sampling.with_shift(model, 5.0), comfy.sample.prepare_noise(LATENT["samples"], 7), cfg,
        comfy.samplers.sampler_object("euler"), flow_match_sigmas(4, 5.0), positive, negative, latent, noise_mask=mask,
    )  # fmt: skip
    assert torch.equal(result["samples"][:, :, 1:], core[:, :, 1:]) and torch.equal(result["samples"][:, :, :1], frame)


def test_both_ways_together_are_two_conditions(model, vae22, positive, negative):
    """A mask of 0 at the first frame, as Wan22ImageToVideoLatent makes it, with a condition of 0.3 on the last."""
    first, last = vae22.encode(pictures(1)), vae22.encode(pictures(1, seed=1))
    latent, mask = model.model.process_latent_out(torch.zeros(SHAPE)), torch.ones(1, 1, 5, 4, 6)
    latent[:, :, :1], mask[:, :, 0] = first, 0
    masked = {"samples": latent, "noise_mask": mask}
    one = timeline.latent_frames(latent, last, "last", "0.3")
    both = timeline.latent_frames(LATENT["samples"], first, "0", "0")
    both = timeline.latent_frames(LATENT["samples"], last, "last", "0.3", both)
    runs = [
        sampling.sample(model, positive, negative, target, seed=7, denoise=1.0, condition=given, **settings(steps=4))["samples"]
        for target, given in ((masked, one), (LATENT, both))
    ]
    assert torch.equal(runs[0][:, :, 1:], runs[1][:, :, 1:]) and torch.allclose(runs[0], runs[1], atol=1e-5)


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "lcm"])
def test_context_windows(model, vae22, positive, negative, sampler):
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    windowed = WanContextWindowsManualNode.execute(
        model=model, context_length=9, context_overlap=4, context_schedule="standard_static", context_stride=1,
        closed_loop=False, fuse_method="pyramid", freenoise=False,
    ).result[0]  # fmt: skip
    condition = timeline.latent_frames(LATENT["samples"], vae22.encode(pictures(1)), "0", "0")
    given = settings(sampler_name=sampler)
    result = sampling.sample(windowed, positive, negative, LATENT, seed=1, denoise=1.0, condition=condition, **given)["samples"]
    assert torch.equal(result[:, :, 0], condition.frames[:, :, 0]) and result.isfinite().all()


def test_no_lora_is_asked_for_and_its_own_rate_is_told(model, vae22, positive, negative, caplog):
    extended(model, vae22, pictures(9), positive, negative, hops=1)
    assert not caplog.records
    extended(model, vae22, pictures(9), positive, negative, hops=1, fps=16.0)
    assert [record.args[1] for record in caplog.records] == [
        "The clip has 16 frames per second, Wan2.2 TI2V 5B moves at 24. They are taken as they are; set `resample` if the new part "
        "moves too fast or too slowly."
    ]


@pytest.mark.parametrize("resample, length", [("keep", 9 + 8), ("blend", 9 + 10), ("nearest", 9 + 10)])
def test_a_clip_is_brought_to_its_rate_and_back(model, vae22, positive, negative, resample, length):
    joined = extended(model, vae22, pictures(9), positive, negative, hops=1, fps=30.0, resample=resample)[0]
    assert len(joined) == length


def test_an_empty_latent_of_16_channels_is_understood_as_the_sampler_understands_it(model, vae22, positive, negative):
    """As EmptyHunyuanLatentVideo makes it for 96 x 64 pixels: at an eighth, with the scale said."""
    empty = {"samples": torch.zeros(1, 16, 5, 8, 12), "downscale_ratio_spacial": 8}
    condition = PusaKeyframes.execute(vae22, empty, {"image0": pictures(1)}, "0", "frame", "0", "crop", "causal").result[0]
    assert condition.target == SHAPE[1:]
    frames = {"samples": vae22.encode(pictures(1))}
    assert PusaLatentFrames.execute(empty, frames, "0", "0").result[0].target == SHAPE[1:]
    result = PusaKSampler.execute(model, positive, negative, empty, 1, **settings(), denoise=1.0, condition=condition).result[0]
    assert result["samples"].shape == SHAPE and torch.equal(result["samples"][:, :, 0], condition.frames[:, :, 0])


def test_a_lora_of_another_width_is_told_with_both(model, tmp_path, monkeypatch):
    """That of a network of 64, and in the names of real widths."""
    monkeypatch.setattr(tiny, "WIDTH", 64)
    save_file(tiny.lora_weights(), tmp_path / "lora.safetensors")
    with pytest.raises(InputError, match="whose width is 128. The file is made for 64. First of them"):
        load_lora(model, str(tmp_path / "lora.safetensors"), 1.4)
    assert [sized(width) for width in (1536, 3072, 5120)] == ["1536 (Wan 1.3B)", "3072 (Wan2.2 TI2V 5B)", "5120 (Wan 14B)"]


def noise_of(shape):
    return torch.randn(shape, generator=tiny.seeded(1))


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda t: PusaKeyframes.execute(
                t.vae, {"samples": noise_of(SHAPE)}, {"image0": pictures(1)}, "0", "frame", "0", "crop", "still"
            ),
            "16 channels \\(those of Wan2.1 \\(and 2.2 A14B\\)\\), the target is a latent of Wan2.2 TI2V 5B, .*wan2.2_vae",
        ),
        (
            lambda t: PusaLatentFrames.execute(
                {"samples": noise_of(SHAPE)}, {"samples": noise_of((1, 16, 1, 4, 6))}, "0", "0"
            ),
            "as those of Wan2.1 \\(and 2.2 A14B\\) have.* those of Wan2.2 TI2V 5B",
        ),
        (
            lambda t: PusaKSampler.execute(
                t.model, t.positive, t.negative, {"samples": noise_of((1, 16, 5, 4, 6))}, 1, **settings(), denoise=1.0
            ),
            "`latent` has 16 channels, as those of Wan2.1 \\(and 2.2 A14B\\) have; the model is Wan2.2 TI2V 5B \\(48 channels\\)",
        ),
        (
            lambda t: extended(t.model, t.vae, pictures(9), t.positive, t.negative),
            "the VAE is that of Wan2.1 \\(and 2.2 A14B\\), the model is Wan2.2 TI2V 5B. Use the Wan2.2 VAE",
        ),
        (
            lambda t: PusaTransition.execute(
                t.model, t.vae, pictures(9), t.positive, t.negative, 5, 7, "0", 1, **settings() | ends()
            ),
            "the VAE is that of Wan2.1 \\(and 2.2 A14B\\), the model is Wan2.2 TI2V 5B. Use the Wan2.2 VAE",
        ),
        (
            lambda t: PusaKSampler.execute(
                t.model, [[torch.zeros(1, 8, 768), {}]], t.negative, LATENT, 1, **settings(), denoise=1.0
            ),
            "`positive` is encoded for .*CLIP-L.*768\\), Wan2.2 TI2V 5B takes \\[batch, tokens, 4096\\]",
        ),
    ],
    ids=["VAE", "latent frames", "latent", "VAE of Extend Video", "VAE of Transition", "prompt"],
)  # fmt: skip
def test_what_is_of_another_family_is_told_with_both_names(model, vae, positive, negative, make, words):
    from types import SimpleNamespace

    with pytest.raises(ValueError, match=words) as told:
        make(SimpleNamespace(model=model, vae=vae, positive=positive, negative=negative))
    assert not isinstance(told.value, InputError)
