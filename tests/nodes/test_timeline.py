"""Timeline (Pusa): the same bits as Keyframes and Video Frames, files as they are named, and a line for every mistake."""

import folder_paths
import nodes as core
import pytest
import torch
from comfy_api.latest import InputImpl
from films import gradient, write_film
from PIL import Image
from pusa.nodes import PusaKeyframes, PusaTimeline, PusaVideoFrames
from pusa.nodes.shared import input_files, timeline_route
from pusa.pusa_model.paths.renoise import CHOICES as RENOISE
from pusa.pusa_model.timeline import encode
from pusa.schedulers.frame_rate import METHODS
from pusa.schedulers.timeline import parse_timeline
from pusa.schedulers.timeline.lines import CHOICES

LENGTH = 25  # frames of the target
LATENT = {"samples": torch.zeros(1, 16, 7, 8, 8)}


@pytest.fixture(scope="module", autouse=True)
def input_folder(tmp_path_factory):
    """ComfyUI's input folder with pictures and clips."""
    before, folder = folder_paths.get_input_directory(), tmp_path_factory.mktemp("input")
    folder_paths.set_input_directory(str(folder))
    (folder / "sub").mkdir()
    for number, name in enumerate(("start.png", "end.png", "sub/a, b.png", "image7")):
        Image.fromarray(gradient(10 * number, 64 + 8 * number, 64)).save(folder / name, "png")
    write_film(folder / "clip.mp4", 40)
    write_film(folder / "fast.mp4", 60, rate=48)
    write_film(folder / "short.mp4", 3)
    (folder / "broken.png").write_bytes(b"no picture")
    yield folder
    folder_paths.set_input_directory(before)


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def condition_of(vae, text, images=None, condition=None, fps=0.0):
    return PusaTimeline.execute(vae, LATENT, fps, text, images, condition).result[0]


def keyframes(vae, names, positions, noise, condition=None, **settings):
    images = {f"image{number}": core.LoadImage().load_image(name)[0] for number, name in enumerate(names)}
    settings = {"unit": "frame", "fit": "crop", "encode": "causal"} | settings
    return PusaKeyframes.execute(vae, LATENT, images, positions, noise=noise, condition=condition, **settings).result[0]


def frames_of(name):
    return InputImpl.VideoFromFile(str(input_files.path_of(name))).get_components().images


def assert_same(found, wanted):
    assert (found.target, found.positions, found.multipliers, found.renoise) == (
        wanted.target, wanted.positions, wanted.multipliers, wanted.renoise
    )  # fmt: skip
    assert torch.equal(found.frames, wanted.frames)


def test_pictures_are_those_of_keyframes(vae):
    text = (
        '0: start.png, noise 0.2\n16: "sub/a, b.png", noise 0.4, fit pad\nlast: end.png, noise 0.5, encode still, renoise steps 2'
    )
    wanted = keyframes(vae, ["start.png"], "0", "0.2")
    wanted = keyframes(vae, ["sub/a, b.png"], "16", "0.4", wanted, fit="pad")
    steps = {"renoise": "steps", "renoise_steps": 2}
    wanted = keyframes(vae, ["end.png"], "last", "0.5", wanted, encode="still", **steps)
    assert_same(condition_of(vae, text), wanted)


@pytest.mark.parametrize("begin, take", [(" from end", "end"), (" from start", "start"), ("", "start")])
@pytest.mark.parametrize("place, span", [("start", "0-12"), ("end", "12-last"), ("start", "0-last")])
def test_clips_are_those_of_video_frames(vae, begin, take, place, span):
    count = LENGTH if span == "0-last" else 13
    video = frames_of("clip.mp4")
    wanted = PusaVideoFrames.execute(vae, LATENT, video, take, count, place, "0.0..0.5", "crop").result[0]
    assert_same(condition_of(vae, f"{span}: clip.mp4{begin}, noise 0.0..0.5"), wanted)
    by_socket = condition_of(vae, f"{span}: image0{begin}, noise 0.0..0.5", {"image0": video})
    assert_same(by_socket, wanted)


def test_a_clip_lies_anywhere_behind_a_primer(vae):
    """Frames 8 to 16 are latent frames 3 and 4; frame 8 only primes the VAE."""
    found = condition_of(vae, "8-16: clip.mp4 from 0.5s, noise 0, 0.3")
    assert (found.positions, found.multipliers) == ((3, 4), (0.0, 0.3))
    assert torch.equal(found.frames, encode.encode_clip(vae, frames_of("clip.mp4")[8:17])[:, :, 1:])


def test_a_clip_comes_at_the_rate_of_the_model(vae):
    """48 frames per second are every third frame, from either end; `keep` and `fps` take them as they are."""
    fast = frames_of("fast.mp4")
    for text, fps, frames in (
        ("0-8: fast.mp4", 0, fast[:25:3]),
        ("0-8: fast.mp4 from end", 0, fast[-25::3]),
        ("0-8: fast.mp4, resample keep", 0, fast[:9]),
        ("0-8: fast.mp4", 48, fast[:9]),
        ("0-8: fast.mp4", 24, fast[:17:2]),
    ):
        assert torch.equal(condition_of(vae, text, fps=float(fps)).frames, encode.encode_clip(vae, frames)), text


def test_a_frame_of_a_clip_is_a_picture(vae):
    video = frames_of("clip.mp4")
    images = {"image0": video[:1], "image1": video[16:17], "image2": video[-1:]}
    wanted = PusaKeyframes.execute(vae, LATENT, images, "0, 12, 24", "frame", "0.2", "crop", "causal").result[0]
    assert_same(condition_of(vae, "0: clip.mp4\n12: clip.mp4 from 1s\n24: clip.mp4 from end"), wanted)


def test_a_name_like_a_socket_is_a_file_in_quotation_marks(vae):
    wanted = keyframes(vae, ["image7"], "0", "0.2")
    assert_same(condition_of(vae, '0: "image7"'), wanted)
    with pytest.raises(ValueError, match="line 1: nothing is connected to `image7`"):
        condition_of(vae, "0: image7")


def test_it_grows_a_condition_and_says_what_lies_where(vae):
    before = keyframes(vae, ["start.png"], "0", "0.3")
    grown, items = PusaTimeline.execute(vae, LATENT, 0.0, "# mine\n\n12-last: clip.mp4, noise 0", None, before).result
    assert grown.positions == (0, 4, 5, 6) and torch.equal(grown.frames[:, :, :1], before.frames)
    assert items == "12-24: clip.mp4, noise 0  # latent 4-6"
    assert parse_timeline(items)
    with pytest.raises(ValueError, match=r"^Timeline \(Pusa\): line 2: latent frame 0 .*given twice"):
        condition_of(vae, "\n0: end.png", condition=before)


def test_choices_are_those_of_the_nodes():
    assert {name: set(choices) for name, choices in CHOICES.items()} == {
        "fit": set(encode.FITS), "encode": set(encode.ENCODINGS), "resample": set(METHODS), "renoise": set(RENOISE)
    }  # fmt: skip


def test_nothing_given_is_text_to_video(vae):
    assert not condition_of(vae, "# nothing yet").conditioned


def test_pictures_are_encoded_once(vae, monkeypatch, input_folder):
    Image.fromarray(gradient(77)).save(input_folder / "once.png")
    shapes = []
    encoder = type(vae).encode
    monkeypatch.setattr(vae, "encode", lambda pixels: shapes.append(tuple(pixels.shape)) or encoder(vae, pixels), raising=False)
    condition_of(vae, "0: once.png, noise 0.11")
    condition_of(vae, "8: once.png, noise 0.12\n0: once.png")
    assert [shape[0] for shape in shapes] == [1, 5]  # frame 0, and a group behind a primer


@pytest.mark.parametrize(
    "text, told",
    [
        ("0: nowhere.png", "line 1: there is no file `nowhere.png` in ComfyUI's input folder"),
        ("0: ../../etc/passwd", "line 1: there is no file"),
        ("0: sub", "line 1: there is no file `sub`"),
        ("0: broken.png", "line 1: broken.png cannot be read as a picture"),
        ("0: start.png from end", "line 1: `from end` takes a frame of a clip, but start.png is a picture"),
        ("0-8: start.png", "line 1: start.png has 1 frame, at "),
        ("0: start.png\n12-24: short.mp4", "line 2: short.mp4 has 3 frames, at 16 per second; 13 are needed for 13 at 16"),
        ("0-12: clip.mp4 from 2s", "line 1: clip.mp4 has 8 frames from 2s on"),
        ("0-12: clip.mp4 from 9s", "line 1: clip.mp4 from 9s: the video has no frames"),
        ("0-8: fast.mp4 from 0.9s", "25 are needed for 9 at 16"),
        ("0: image0", "line 1: `image0` is a batch of 3 pictures; a place takes one"),
        ("0-4: image0", "line 1: `image0` has 3 frames; 5 are needed"),
        ("0-4: image0 from 1s", "line 1: `from 1s` asks for a time"),
        ("30: start.png", "line 1: frame 30 is outside the clip. The latent has 7 frames"),
    ],
)
def test_a_mistake_names_its_line(vae, text, told):
    with pytest.raises(ValueError, match=r"^Timeline \(Pusa\): ") as caught:
        condition_of(vae, text, {"image0": torch.rand(3, 64, 64, 3)})
    assert told in str(caught.value)


def test_a_mistake_is_told_before_the_graph_runs_and_on_the_strip(input_folder):
    validate = PusaTimeline.validate_inputs
    assert validate("0: start.png\n# x") is True and validate(None) is True and validate(["4", 0]) is True
    assert validate("0: start.png\nx").startswith("line 2: `x` has no colon")
    assert "line 2: there is no file `nowhere.png`" in validate("0: start.png\n4: nowhere.png")
    checked = timeline_route.checked("0: start.png\nx\n4: nowhere.png\n0: end.png", 25)
    assert (checked["factor"], checked["rate"], list(checked["mistakes"])) == (4, 16.0, [2, 3, 4])
    assert "is given by line 1 already" in checked["mistakes"][4]
    assert timeline_route.checked("", 163, "EmptyMochiLatentVideo")["factor"] == 6
    assert timeline_route.checked("", 121, "Wan22ImageToVideoLatent", 0.0)["rate"] == 24
    assert timeline_route.checked("0" * 10_001, 25)["mistakes"].keys() == {1}


def test_a_file_that_changes_is_read_again(input_folder, vae):
    Image.fromarray(gradient(1)).save(input_folder / "changing.png")
    first = PusaTimeline.fingerprint_inputs("0: changing.png"), condition_of(vae, "0: changing.png")
    assert PusaTimeline.fingerprint_inputs("0: changing.png") == first[0]
    Image.fromarray(gradient(90, 32, 32)).save(input_folder / "changing.png")
    assert PusaTimeline.fingerprint_inputs("0: changing.png") != first[0]
    assert not torch.equal(condition_of(vae, "0: changing.png").frames, first[1].frames)
    assert PusaTimeline.fingerprint_inputs("x") == []
