"""Pictures and clips become latents as the Wan VAE means them, and pictures of another size keep what was asked for."""

import comfy.latent_formats
import comfy.sd
import pytest
import torch
from comfy.ldm.cogvideo.vae import AutoencoderKLCogVideoX
from comfy.ldm.cosmos.vae import CausalContinuousVideoTokenizer
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.taesd.taehv import TAEHV
from comfy.taesd.taesd import TAESD
from hypothesis import given
from hypothesis import strategies as st
from pusa.pusa_model.timeline import encode
from pusa.pusa_model.timeline import placing as timeline
from pusa.schedulers import InputError

TOLERANCE = 1e-5
WIDTH, HEIGHT = 24, 16


def pictures(count, seed=0, height=HEIGHT, width=WIDTH):
    return torch.rand(count, height, width, 3, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def as_in_a_graph():
    """ComfyUI runs every node in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def clip_latents(vae):
    """Latents of a clip of 17 frames: five of them."""
    with torch.inference_mode():
        return encode.encode_clip(vae, pictures(17))


def close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= TOLERANCE


def test_the_clip_has_something_to_compare(clip_latents):
    """The tolerance can fail: neighbouring latents differ by thousands of it."""
    assert clip_latents.shape == (1, 16, 5, 2, 3)
    assert (clip_latents.diff(dim=2).abs().amax((0, 1, 3, 4)) > 1000 * TOLERANCE).all()


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_the_first_frames_of_a_clip_give_its_first_latents(vae, clip_latents, frames):
    close(encode.encode_clip(vae, pictures(17)[:frames]), clip_latents[:, :, : (frames + 3) // 4])


def test_a_picture_is_the_first_latent_of_any_clip_that_starts_with_it(vae, clip_latents):
    close(encode.encode_images(vae, list(pictures(1)), [3], "still"), clip_latents[:, :, :1])


@pytest.mark.parametrize("mode", encode.ENCODINGS)
def test_pictures_do_not_see_each_other(vae, mode):
    several = list(pictures(3))
    together = encode.encode_images(vae, several, [0, 2, 5], mode)
    for i, (picture, position) in enumerate(zip(several, [0, 2, 5])):
        close(encode.encode_images(vae, [picture], [position], mode), together[:, :, i : i + 1])


def test_causal_is_the_second_latent_of_five_equal_frames(vae):
    (picture,) = pictures(1)
    second = vae.encode(torch.stack([picture] * 5))[:, :, 1:]
    found = encode.encode_images(vae, [picture], [4], "causal")
    close(found, second)
    assert (found - encode.encode_images(vae, [picture], [4], "still")).abs().max() > 1000 * TOLERANCE


def test_at_position_zero_both_encodings_are_one(vae):
    still, causal = (encode.encode_images(vae, list(pictures(1)), [0], mode) for mode in encode.ENCODINGS)
    assert torch.equal(still, causal)


def test_the_tail_is_the_clip_without_its_primer_latent(vae, clip_latents):
    close(encode.encode_tail(vae, pictures(17)), clip_latents[:, :, 1:])


def test_one_frame_makes_no_tail(vae):
    with pytest.raises(InputError, match=r"1 frame cannot be placed at the end .* Use 5 or more frames, or Keyframes \(Pusa\)"):
        encode.encode_tail(vae, pictures(1))


@pytest.mark.parametrize("frames", [2, 3, 4, 16])
def test_a_clip_off_the_grid_is_refused(vae, frames):
    with pytest.raises(InputError, match=f"`frames` is {frames}; a clip has 4n \\+ 1 frames"):
        encode.encode_clip(vae, pictures(frames))


def test_an_unknown_encoding_is_refused(vae):
    with pytest.raises(InputError, match="no encoding `moving`; use still or causal"):
        encode.encode_images(vae, list(pictures(1)), [0], "moving")


@given(st.integers(0, 5), st.integers(0, 12))
def test_take_is_one_end_of_the_video(n, more):
    count, video = 4 * n + 1, torch.arange(4 * n + 1 + more).reshape(-1, 1, 1, 1)
    assert encode.take_frames(video, count, "start").flatten().tolist() == list(range(count))
    assert encode.take_frames(video, count, "end").flatten().tolist() == list(range(more, more + count))


@pytest.mark.parametrize("length, longest", [(1, 1), (4, 1), (5, 5), (12, 9)])
def test_a_short_video_is_refused_with_the_longest_piece_it_has(length, longest):
    with pytest.raises(InputError, match=f"`frames` is 13, the video has only {length}. Use at most {longest}"):
        encode.take_frames(pictures(length, height=1, width=1), 13, "end")


def test_an_unknown_end_of_the_video_is_refused():
    with pytest.raises(InputError, match="`take` is `middle`; use start or end"):
        encode.take_frames(pictures(5), 5, "middle")


@pytest.mark.parametrize("fit", encode.FITS)
def test_pictures_of_the_right_size_pass_bit_for_bit(fit):
    assert torch.equal(encode.fit_images(pictures(2), WIDTH, HEIGHT, fit), pictures(2))


sides = st.integers(8, 96)


@given(sides, sides, st.sampled_from(encode.FITS))
def test_every_size_is_brought_to_the_target(width, height, fit):
    found = pictures(2, height=height, width=width)
    fitted = encode.fit_images(found, WIDTH, HEIGHT, fit)
    assert fitted.shape == (2, HEIGHT, WIDTH, 3)
    assert 0 <= fitted.min() and fitted.max() <= 1
    assert torch.equal(found, pictures(2, height=height, width=width))


@given(sides, sides)
def test_pad_keeps_the_aspect_ratio_in_the_middle_of_black_bars(width, height):
    bright = encode.fit_images(torch.ones(1, height, width, 3), WIDTH, HEIGHT, "pad")[0, ..., 0]
    rows, columns = bright.amax(1), bright.amax(0)
    assert torch.equal(bright, rows[:, None] * columns[None, :])
    assert HEIGHT == rows.sum() or WIDTH == columns.sum()
    assert abs(columns.sum() * height - rows.sum() * width) <= max(width, height)
    for edge in (rows, columns):
        inside = edge.nonzero().flatten()
        assert set(edge.tolist()) <= {0.0, 1.0} and len(inside) == inside[-1] - inside[0] + 1
        assert abs(inside[0] - (len(edge) - 1 - inside[-1])) <= 1


def test_crop_keeps_the_middle_and_the_scale():
    """Three squares side by side: the middle one fills a square target."""
    wide = torch.eye(3).repeat_interleave(32, 0).expand(1, 32, 96, 3)
    for images in (wide, wide.transpose(1, 2)):
        assert torch.equal(encode.fit_images(images, 32, 32, "crop"), torch.tensor([0.0, 1.0, 0.0]).expand(1, 32, 32, 3))


def test_stretch_keeps_everything():
    halves = torch.tensor([0.0, 1.0]).repeat_interleave(48)[None, None, :, None].expand(1, 16, 96, 3)
    fitted = encode.fit_images(halves, 32, 32, "stretch")
    assert (fitted[:, :, :12] == 0).all() and (fitted[:, :, 20:] == 1).all()


@pytest.mark.parametrize("shape", [(1, 8, 8, 4), (1, 8, 8, 1), (8, 8, 3), (1, 8, 8), (1, 1, 8, 8, 3)])
def test_pictures_that_are_not_rgb_are_refused(shape):
    with pytest.raises(InputError, match=r"RGB pictures \[frames, height, width, 3\] are needed") as refused:
        encode.fit_images(torch.zeros(shape), WIDTH, HEIGHT, "crop")
    assert str(shape) in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite_are_refused(value):
    bad = pictures(2)
    bad[1, 3, 4, 0] = value
    with pytest.raises(InputError, match="not finite"):
        encode.fit_images(bad, WIDTH, HEIGHT, "crop")


def test_an_unknown_fit_is_refused():
    with pytest.raises(InputError, match="no fit `zoom`; use crop, pad, stretch"):
        encode.fit_images(pictures(1), WIDTH, HEIGHT, "zoom")


def test_the_target_size_is_what_the_vae_decodes_to(vae):
    latent = torch.zeros(1, 16, 2, 2, 3)
    width, height = encode.target_size(vae, latent)
    assert vae.decode(latent).shape[-3:-1] == (height, width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("channels", [4, 48])
def test_a_latent_of_another_vae_is_refused(vae, channels):
    given, wanted = "16 channels \\(those of Wan2.1 .*", f"with {channels} channels. Use the Wan2.. VAE"
    message = f"makes video latents of {given}, the target is a latent of .*, {wanted}"
    with pytest.raises(InputError, match=message):
        encode.target_size(vae, torch.zeros(1, channels, 2, 2, 3))


@pytest.mark.parametrize("channels", [4, 16])
def test_a_vae_for_pictures_is_refused(channels):
    network = TAESD(latent_channels=channels)
    parts = {"taesd_encoder": network.taesd_encoder, "taesd_decoder": network.taesd_decoder}
    weights = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    with pytest.raises(InputError, match=f"makes picture latents of {channels} channels, .* Use the Wan2.1 VAE"):
        encode.target_size(comfy.sd.VAE(sd=weights), torch.zeros(1, 16, 2, 2, 3))


def others():
    """VAEs of other families, without weights, that make video latents of 16 channels and 8 x 8 x 4."""
    config = dict(
        double_z=True, z_channels=16, resolution=32, in_channels=3, out_ch=3, ch=32, ch_mult=[1, 1, 1, 1], num_res_blocks=1,
        attn_resolutions=[], dropout=0.0, conv3d=True, time_compress=4,
    )  # fmt: skip
    with torch.device("meta"):
        yield "HunyuanVideo", AutoencoderKL(ddconfig=config, embed_dim=16)
        yield "HunyuanVideo", TAEHV(latent_channels=16, latent_format=comfy.latent_formats.HunyuanVideo)
        yield "CogVideoX", AutoencoderKLCogVideoX(latent_channels=16)
        yield "Cosmos 1", bare(CausalContinuousVideoTokenizer)


def bare(kind):
    """A module of a class, with nothing in it."""
    module = object.__new__(kind)
    torch.nn.Module.__init__(module)
    return module


class Compiled:
    """What torch.compile leaves in place of a module."""

    def __init__(self, module):
        self._orig_mod = module


def holding(network):
    """A VAE of the form of Wan's that holds another network."""
    vae = object.__new__(comfy.sd.VAE)
    vae.first_stage_model, vae.latent_channels, vae.latent_dim = network, 16, 3
    vae.downscale_ratio = (lambda length: (length + 3) // 4, 8, 8)
    return vae


@pytest.mark.parametrize("wrapped", [lambda network: network, Compiled], ids=["plain", "compiled"])
@pytest.mark.parametrize("index", range(4))
def test_the_vae_of_another_family_is_refused_by_its_name(index, wrapped):
    family, network = list(others())[index]
    with pytest.raises(InputError, match=f"the VAE is that of {family}, the target is a latent of Wan2.1 .* Use the Wan2.1 VAE"):
        encode.target_size(holding(wrapped(network)), torch.zeros(1, 16, 2, 2, 3))


class SomebodysVAE(torch.nn.Module):
    """Of a pack that this one knows nothing of."""


def test_every_vae_of_wan_is_taken(vae):
    """Plain, compiled, within another module, as a subclass, as the tiny one of Wan, and unknown ones by their form."""
    network = vae.first_stage_model
    subclass = type("Tuned", (type(network),), {})
    held = [network, Compiled(network), torch.nn.Sequential(network), bare(subclass), TAEHV(16), SomebodysVAE()]
    for each in [*held, torch.compile(network, backend="eager")]:
        assert encode.target_size(holding(each), torch.zeros(1, 16, 2, 2, 3)) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (48, 40)])
def test_pictures_of_another_precision_are_those_in_float32(vae, dtype, size):
    given_pictures, latent = pictures(5, 0, *size).to(dtype), torch.zeros(1, 16, 2, 2, 3)
    for fit in encode.FITS:
        fitted = encode.fit_images(given_pictures, WIDTH, HEIGHT, fit)
        assert fitted.dtype == torch.float32
        assert torch.equal(fitted, encode.fit_images(given_pictures.float(), WIDTH, HEIGHT, fit))
    made = [
        (
            timeline.keyframes(vae, latent, {"image0": images[:1]}, "last", "frame", "0", "crop", "causal"),
            timeline.video_frames(vae, latent, images, "end", 5, "start", "0", "crop"),
        )
        for images in (given_pictures, given_pictures.float())
    ]
    for found, expected in zip(*made):
        assert torch.equal(found.frames, expected.frames)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 0, 8, 3), (1, 8, 0, 3)])
def test_pictures_without_pixels_are_refused(shape):
    for fit in encode.FITS:
        with pytest.raises(InputError, match="the picture has no pixels"):
            encode.fit_images(torch.zeros(shape), WIDTH, HEIGHT, fit)
