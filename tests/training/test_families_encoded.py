"""Stage 1 of 5B and Mochi: the latents, the clips and the captions of each."""

import comfy.ldm.genmo.vae.model
import comfy.sd
import mochi
import pytest
import tiny
import torch
from comfy.text_encoders.genmo import MochiT5Tokenizer, mochi_te
from films import write_film
from pusa.pusa_model.families.mochi_vae import causal_copy
from pusa.pusa_model.families.table import MOCHI, WAN22_5B
from pusa.schedulers import InputError
from pusa.training.data.captions import LongCaption
from pusa.training.data.clips import in_floats
from pusa.training.data.datasets import find_items
from pusa.training.data.encoded import EncodedDataset
from pusa.training.data.encoders import encode_text, vae_encoder
from pusa.training.encode import check_size, main, parser, reader_of
from pusa.training.store import StoreWriter
from safetensors.torch import save_file


def test_latents_of_5b_are_in_the_scale_of_the_model():
    vae, frames = tiny.wan22_vae(), torch.rand(5, 64, 64, 3, generator=tiny.seeded(1))
    expected = tiny.wan22_model().model.process_latent_in(vae.encode(frames))[0]
    assert torch.allclose(vae_encoder(vae, WAN22_5B, torch.float32)(frames), expected, atol=1e-5)
    assert expected.shape == (48, 2, 4, 4)


def test_latents_of_mochi_are_raw_and_look_back_only(monkeypatch, tmp_path, capsys):
    """The whole of stage 1, with a VAE of fewer channels than ComfyUI builds."""
    monkeypatch.setattr(comfy.ldm.genmo.vae.model, "VideoVAE", mochi.SmallVAE)
    save_file(mochi.vae_weights(), tmp_path / "vae.safetensors")
    (tmp_path / "data").mkdir()
    write_film(tmp_path / "data" / "a.mp4", 14, rate=30)
    (tmp_path / "data" / "a.txt").write_text("a red ball")
    with StoreWriter(tmp_path / "store") as writer:
        for caption in ("", "a red ball"):
            writer.add_prompt(caption, torch.ones(2, 8))
    size = ["--num_frames", "13", "--width", "32", "--height", "32", "--dtype", "fp32", "--cpu"]
    options = [str(tmp_path / "data"), str(tmp_path / "store"), "--vae", str(tmp_path / "vae.safetensors"), *size]
    assert main(options) == 0 and "1 encoded" in capsys.readouterr().out
    latent = EncodedDataset(tmp_path / "store")[0][0]
    vae = mochi.vae()
    frames = in_floats(reader_of(parser().parse_args(options), MOCHI)(find_items(tmp_path / "data")[0][0]))
    monkeypatch.setattr(comfy.ldm.genmo.vae.model, "VideoVAE", mochi.SmallVAE)
    assert torch.allclose(latent, causal_copy(vae).encode(frames)[0], atol=1e-4) and latent.shape == (12, 3, 4, 4)
    assert torch.allclose(vae_encoder(vae, MOCHI, torch.float32)(frames[:7]), latent[:, :2], atol=1e-4)
    assert main([*options, "--num_frames", "9"]) == 1
    assert "`num_frames` is 9; a clip has 6n + 1 frames, so use 7 or 13" in capsys.readouterr().err


@pytest.mark.parametrize("family, frames, rate, off", [(WAN22_5B, 121, 24, (832, 464)), (MOCHI, 163, 30, (832, 472))])
def test_length_rate_and_size_are_the_family_s(family, frames, rate, off):
    made = reader_of(parser().parse_args(["data", "store", "--vae", "vae.safetensors"]), family)
    assert (made.frames, made.fps) == (frames, rate)
    with pytest.raises(InputError, match="`height` is .* must be a multiple of"):
        check_size(frames, *off, family)


def test_captions_of_mochi_are_their_tokens(tmp_path):
    """ComfyUI's tokenizer and a small T5: padding is left out, an empty caption is its end alone, a long one is refused."""
    small = {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 1}

    class Target:
        params, clip, tokenizer = {}, mochi_te(torch.float32), MochiT5Tokenizer

    clip = comfy.sd.CLIP(Target, parameters=1, model_options={"t5xxl_model_config": small})
    clip.cond_stage_model.load_state_dict(tiny.randomised(clip.cond_stage_model.state_dict(), 4))
    words, none = (encode_text(clip, text, MOCHI) for text in ("A boat with a red sail", ""))
    expected = clip.encode_from_tokens_scheduled(clip.tokenize("A boat with a red sail"))[0]
    assert words.shape == (8, 32) and none.shape == (1, 32)
    assert torch.equal(words, expected[0][0, :8]) and expected[1]["attention_mask"].sum() == 8
    with pytest.raises(LongCaption, match="its caption has 401 tokens; Mochi .* takes 256"):
        encode_text(clip, "word " * 400, MOCHI)
