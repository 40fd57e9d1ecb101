"""Stage 1 with ComfyUI's own VAE and text encoder, from files to a store."""

import comfy.sd
import comfy.text_encoders.wan
import pytest
import sentencepiece
import tiny
import torch
from pusa.pusa_model.families.table import WAN
from pusa.schedulers import InputError
from pusa.training.data.captions import LongCaption
from pusa.training.data.clips import read_clip, read_picture
from pusa.training.data.datasets import find_items
from pusa.training.data.encoded import EncodedDataset
from pusa.training.data.encoders import check_family_of, encode_text, load_vae, text_encoder
from pusa.training.encode import check_size, encode_items, main
from pusa.training.store import StoreWriter
from safetensors.torch import save_file

SIZE = ["--num_frames", "5", "--width", "32", "--height", "32"]


def write_video(path, frames, start=0):
    import av
    import numpy

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=16)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for index in range(frames):
            pixels = numpy.full((32, 48, 3), (start + 20 * index) % 256, numpy.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def dataset(tmp_path):
    """Two good clips, a picture, a short clip, a broken one and one without a caption."""
    from PIL import Image

    folder = tmp_path / "data"
    folder.mkdir()
    write_video(folder / "a.mp4", 7)
    write_video(folder / "b.mp4", 5, start=90)
    write_video(folder / "short.mp4", 4)
    write_video(folder / "silent.mp4", 5)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    Image.new("RGB", (40, 60), (200, 10, 10)).save(folder / "still.png")
    for name, caption in {"a": "first", "b": "second", "short": "third", "broken": "fourth", "still": "first"}.items():
        (folder / f"{name}.txt").write_text(caption)
    return folder


@pytest.fixture
def vae_file(tmp_path):
    save_file(tiny.vae_weights(), tmp_path / "vae.safetensors")
    return tmp_path / "vae.safetensors"


@pytest.fixture
def store(tmp_path):
    """A store that knows the captions already, so that no text encoder is needed."""
    with StoreWriter(tmp_path / "store") as writer:
        for index, caption in enumerate(("", "first", "second", "third", "fourth")):
            writer.add_prompt(caption, torch.full((3, 6), float(index)))
    return tmp_path / "store"


def test_a_data_set_is_encoded_and_what_cannot_be_is_named(dataset, vae_file, store, capsys):
    assert main([str(dataset), str(store), "--vae", str(vae_file), *SIZE, "--dtype", "fp32"]) == 0
    printed = capsys.readouterr().out
    assert "skipped  short.mp4: has 4 frames, 5 are needed" in printed
    assert "skipped  broken.mp4: cannot be decoded" in printed
    assert "skipped  silent.mp4: has no caption: silent.txt is missing" in printed
    assert "3 encoded, 0 already there, 3 skipped" in printed
    encoded = EncodedDataset(store)
    assert encoded.shapes == [(16, 2, 4, 4), (16, 2, 4, 4), (16, 1, 4, 4)] and encoded.empty is not None
    assert [context[0, 0].item() for _, context in encoded] == [1, 2, 1]


def test_latents_are_in_the_scale_of_the_model(dataset, vae_file, store, vae, wan):
    main([str(dataset), str(store), "--vae", str(vae_file), *SIZE, "--dtype", "fp32"])
    frames = read_clip(dataset / "a.mp4", 5, [(32, 32)]).frames
    expected = wan.model.process_latent_in(vae.encode(frames))
    assert torch.allclose(EncodedDataset(store)[0][0], expected[0], atol=1e-4)
    picture = wan.model.process_latent_in(vae.encode(read_picture(dataset / "still.png", [(32, 32)]).frames))
    assert torch.allclose(EncodedDataset(store)[2][0], picture[0], atol=1e-4)


def test_what_is_there_is_not_encoded_again(dataset, vae_file, store, capsys):
    command = [str(dataset), str(store), "--vae", str(vae_file), *SIZE]
    main(command)
    files = {path: path.stat().st_mtime_ns for path in (store / "latents").iterdir()}
    write_video(dataset / "b.mp4", 6, start=30)  # changed
    write_video(dataset / "short.mp4", 5)  # repaired
    capsys.readouterr()
    assert main(command) == 0
    assert "2 encoded, 2 already there, 2 skipped" in capsys.readouterr().out
    unchanged = [path for path, time in files.items() if path.stat().st_mtime_ns == time]
    assert len(files) == 3 and len(unchanged) == 2
    assert {tensor.dtype for tensor, _ in EncodedDataset(store)} == {torch.bfloat16}


def test_an_interrupted_run_goes_on_where_it_was(dataset, tmp_path):
    """A text encoder that is asked twice for one caption would show it, and so would a clip that is encoded twice."""
    items, _ = find_items(dataset)
    log = []

    def read(item):
        return torch.full((5, 32, 32, 3), items.index(item), dtype=torch.uint8)

    def frames(pixels):
        name = items[round(255 * pixels.mean().item())].name
        log.append(name)
        if name == "b.mp4" and log.count("b.mp4") == 1:
            raise KeyboardInterrupt
        return pixels.new_ones(16, 2, 4, 4)

    def text(caption):
        log.append(caption)
        return torch.ones(2, 4)

    def run():
        with StoreWriter(tmp_path / "new") as writer:
            return encode_items(items, writer, read, frames, text, show=False)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(EncodedDataset(tmp_path / "new")) == 1
    report = run()
    assert report.present == ["a.mp4"] and report.encoded == ["b.mp4", "broken.mp4", "short.mp4", "still.png"]
    assert sorted(log) == sorted(["", "first", "second", "third", "fourth", "a.mp4", "b.mp4", *report.encoded])


def test_a_clip_with_too_long_a_caption_is_named_and_not_read(dataset, tmp_path):
    items, _ = find_items(dataset)
    wordy, read = items[0].caption, []

    def text(caption):
        if caption == wordy:
            raise LongCaption("its caption has 300 tokens")
        return torch.ones(2, 4)

    def pixels(item):
        read.append(item.caption)
        return torch.zeros(5, 32, 32, 3, dtype=torch.uint8)

    with StoreWriter(tmp_path / "new") as writer:
        report = encode_items(items, writer, pixels, lambda frames: frames.new_ones(16, 2, 4, 4), text, show=False)
    assert {each.reason for each in report.skipped} == {"its caption has 300 tokens"} and items[0].name == report.skipped[0].name
    assert report.encoded and len(report.encoded) == len(read) and wordy not in read


def test_a_latent_that_is_not_finite_is_named(dataset, tmp_path):
    items, _ = find_items(dataset)
    with StoreWriter(tmp_path / "new") as writer:
        report = encode_items(
            items[:1], writer, lambda item: torch.zeros(5, 32, 32, 3, dtype=torch.uint8),
            lambda frames: torch.full((16, 2, 4, 4), torch.nan), lambda caption: torch.ones(2, 4), show=False,
        )  # fmt: skip
    assert not writer.items and "not finite" in report.skipped[0].reason


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--num_frames", "8"], "`num_frames` is 8; a clip has 4n + 1 frames, so use 5 or 9"),
        (["--width", "40"], "`width` is 40; it must be a multiple of 16, so use 32"),
        (["--height", "0"], "`height` is 0; it must be a multiple of 16, so use 16"),
        (["--vae", "gone.safetensors"], "there is no file gone.safetensors"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_words(dataset, vae_file, store, capsys, arguments, words):
    assert main([str(dataset), str(store), "--vae", str(vae_file), *SIZE, *arguments]) == 1
    assert words in capsys.readouterr().err


def test_other_refusals(dataset, vae_file, store, tmp_path, capsys):
    command = [str(dataset), str(store), "--vae", str(vae_file), *SIZE]
    assert main(command) == 0
    assert main([*command, "--dtype", "fp32"]) == 1 and "dtype is bf16 there, fp32 here" in capsys.readouterr().err
    assert main([str(dataset), str(tmp_path / "new"), *command[2:]]) == 1
    assert "there are captions without an embedding" in capsys.readouterr().err
    with pytest.raises(InputError, match="there is no file"):
        text_encoder(tmp_path / "gone")("words")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="cannot be read as a VAE"):
        load_vae(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is not umT5-XXL"):
        text_encoder(tmp_path / "other.safetensors")("words")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match="cannot be read as a text encoder"):
        text_encoder(tmp_path / "text.safetensors")("words")
    check_size(81, 832, 480, WAN)


def test_a_picture_vae_is_refused():
    class Picture:
        latent_dim, latent_channels, first_stage_model = 2, 16, torch.nn.Identity()

    with pytest.raises(InputError, match="not the VAE of a model that is trained here. Use the Mochi VAE.*Wan2.1 VAE"):
        check_family_of(Picture())


@pytest.fixture
def clip(tmp_path):
    """ComfyUI's text encoder of Wan: umT5 with one layer of width 8, and a tokenizer of a few words."""
    (tmp_path / "words.txt").write_text("a red ball rolls to the left\na blue cat walks\nthe quick brown fox jumps\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "words.txt"), model_prefix=str(tmp_path / "spiece"), vocab_size=60, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    config = {"num_layers": 1, "d_model": 8, "d_ff": 16, "num_heads": 2, "d_kv": 4, "vocab_size": 60}
    options = {"umt5xxl_model_config": config}

    class Target:
        params, clip, tokenizer = {}, comfy.text_encoders.wan.te(torch.float32), comfy.text_encoders.wan.WanT5Tokenizer

    spiece = torch.frombuffer(bytearray((tmp_path / "spiece.model").read_bytes()), dtype=torch.uint8)
    made = comfy.sd.CLIP(Target, parameters=1, tokenizer_data={"spiece_model": spiece}, model_options=options)
    made.cond_stage_model.load_state_dict(tiny.randomised(made.cond_stage_model.state_dict(), 0))
    return made


def test_text_is_encoded_as_clip_text_encode_does(clip, tmp_path):
    embedding = encode_text(clip, "a red ball rolls")
    expected = clip.encode_from_tokens_scheduled(clip.tokenize("a red ball rolls"))[0][0]
    assert embedding.shape == (512, 8) and torch.equal(embedding, expected[0].cpu())
    assert embedding[0].any() and not embedding[100:].any()
    assert not torch.equal(embedding, encode_text(clip, "a blue cat walks"))
    with StoreWriter(tmp_path / "store") as writer:
        writer.add("a", torch.zeros(16, 1, 2, 2), "a red ball rolls", embedding)
    assert torch.equal(EncodedDataset(tmp_path / "store")[0][1], embedding)
