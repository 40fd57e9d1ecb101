"""The card tables of README: their arithmetic beside ComfyUI's own objects and published files, and README beside them."""

import comfy.model_detection
import comfy.sd
import pytest
import torch
from comfy.model_management import minimum_inference_memory
from comfy_extras.nodes_hunyuan import EmptyHunyuanLatentVideo
from comfy_extras.nodes_wan import Wan22ImageToVideoLatent
from pusa.pusa_model.network import modulation

from benchmarks.card.files import BLOCKS, GB, gguf_file, lora_file, model_file, module_file
from benchmarks.card.memory import (
    COMPUTER,
    DESKTOP,
    GIB,
    INFERENCE,
    Living,
    attention_in_place,
    call_bytes,
    decode_bytes,
    fit,
    kept_free,
)
from benchmarks.card.networks import WAN_5B, WAN_14B, Video, Wan, shapes, text_encoder, vae
from benchmarks.card.table import CARDS, CHOICES, KINDS, RAM, advice, best, here, tables
from benchmarks.measure.peaks import allocated
from devtools.pages import README, part

SMALL = Wan(256, 1024, 2, 2, ())
PCIE4 = 16 * 16e9 / 8 * 128 / 130  # bytes a second of 16 lanes; 3.0 has half
PUBLISHED = {  # bytes as the pages of the hub give them, rounded there
    "Comfy-Org, Wan2.1 and Wan2.2 14B fp16": (lambda: model_file(WAN_14B, "fp16"), 28.6e9),
    "Comfy-Org, Wan2.1 and Wan2.2 14B fp8_scaled": (lambda: model_file(WAN_14B, "fp8 scaled"), 14.3e9),
    "Comfy-Org, umt5_xxl_fp16": (lambda: module_file(text_encoder()), 11.4e9),
    "Comfy-Org, umt5_xxl_fp8_e4m3fn_scaled": (lambda: module_file(text_encoder(), 1), 6.74e9),
    "Comfy-Org, wan_2.1_vae": (lambda: module_file(vae(16)), 254e6),
    "unsloth, Wan2.2_VAE": (lambda: module_file(vae(48)), 1.31 * GIB),
    "lightx2v, a LoRA of rank 64 in 32 bits": (lambda: lora_file(WAN_14B, 64, 4), 1_226_977_424),
    "RaphaelLiu, pusa_v1.pt": (lambda: lora_file(WAN_14B, 512), 4.91e9),
    "city96, Wan2.1 Q4_K_M": (lambda: gguf_file(WAN_14B, "Q4_K_M", rest=4), 10.1e9),
    "city96, Wan2.1 Q3_K_S": (lambda: gguf_file(WAN_14B, "Q3_K_S", rest=4), 6.99e9),
    "QuantStack, Wan2.2 A14B Q3_K_S": (lambda: model_file(WAN_14B, "Q3_K_S"), 6_513_373_696),
    "QuantStack, Wan2.2 5B Q8_0": (lambda: model_file(WAN_5B, "Q8_0"), 5.03 * GIB),
    "QuantStack, Wan2.2 5B Q6_K": (lambda: model_file(WAN_5B, "Q6_K"), 3.92 * GIB),
    "QuantStack, Wan2.2 5B Q5_K_M": (lambda: model_file(WAN_5B, "Q5_K_M"), 3.55 * GIB),
    "QuantStack, Wan2.2 5B Q4_K_M": (lambda: model_file(WAN_5B, "Q4_K_M"), 3.20 * GIB),
    "QuantStack, Wan2.2 5B Q3_K_S": (lambda: model_file(WAN_5B, "Q3_K_S"), 2.14 * GIB),
}


@pytest.mark.parametrize("name", ["advice", "cards", "calls", "formats"])
def test_readme_has_the_tables_that_are_computed(name):
    assert part(README.read_text(encoding="ascii"), name) == tables()[name], "python dev.py readme"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_has_the_size_that_its_page_shows(name):
    computed, published = PUBLISHED[name]
    assert computed() == pytest.approx(published, rel=4e-3)


@pytest.mark.parametrize("wan", [WAN_14B, WAN_5B])
def test_comfyui_takes_the_shapes_for_the_model_that_they_are_named_for(wan):
    named = {name: torch.empty(shape, device="meta") for name, shape in shapes(wan).items()}
    found = comfy.model_detection.detect_unet_config(named, "")
    assert (found["image_model"], found["model_type"], found["out_dim"]) == ("wan2.1", "t2v", wan.channels)
    assert all(found[name] == getattr(wan, name) for name in ("dim", "ffn_dim", "num_heads", "num_layers"))


def test_a_latent_has_the_size_that_comfyui_makes():
    for video in WAN_14B.videos:
        made = EmptyHunyuanLatentVideo.execute(video.width, video.height, video.frames)[0]["samples"]
        assert made.shape == (1, WAN_14B.channels, *video.latent)
    for video in WAN_5B.videos:
        made = Wan22ImageToVideoLatent.execute(None, video.width, video.height, video.frames, 1)[0]["samples"]
        assert made.shape == (1, WAN_5B.channels, *video.latent)


def test_what_is_kept_free_is_what_comfyui_keeps_free(wan):
    video = Video("", 33, 256, 128)
    network = wan.model.diffusion_model
    ours = kept_free(Wan(network.dim, 0, 0, 0, ()), video, flash=False)
    assert ours == pytest.approx(wan.model.memory_required([1, 16, *video.latent]))
    assert INFERENCE * GIB >= minimum_inference_memory()


@pytest.mark.parametrize("wan", [WAN_14B, WAN_5B])
def test_decoding_reckons_as_comfyui_does(wan):
    weights = {name: torch.empty(tensor.shape, dtype=torch.float16) for name, tensor in vae(wan.channels).state_dict().items()}
    comfyui = comfy.sd.VAE(sd=weights)
    for video in wan.videos:
        assert decode_bytes(wan, video) == comfyui.memory_used_decode((1, wan.channels, *video.latent), torch.float16)


def test_the_tensors_that_live_at_once_are_those_that_a_processor_gave_memory():
    """The same call of a small network, counted and measured."""
    network = SMALL.network().to_empty(device="cpu")
    x, context = torch.zeros(1, 16, 5, 16, 16, dtype=torch.bfloat16), torch.zeros(1, 512, 4096, dtype=torch.bfloat16)
    options = {"optimized_attention_override": attention_in_place}
    modulation.add_replacements(options, modulation.frame_blocks(network))

    def call():
        with torch.no_grad():
            network(x, torch.zeros(1, 5), context, transformer_options=dict(options))

    call()
    with Living([*network.state_dict(keep_vars=True).values(), x, context]) as counted:
        call()
    assert counted.most == pytest.approx(allocated(call), rel=0.02)


def test_the_memory_of_a_call_is_that_of_one_block_and_grows_with_the_tokens():
    small, large = WAN_14B.videos
    assert call_bytes(WAN_14B, small, layers=2) == call_bytes(WAN_14B, small, layers=3)
    tokens = 90 * 160 / (60 * 104)
    assert call_bytes(WAN_14B, large) == pytest.approx(tokens * call_bytes(WAN_14B, small), rel=0.01)
    assert call_bytes(WAN_14B, small, rows=2) == pytest.approx(2 * call_bytes(WAN_14B, small), rel=0.01)
    assert call_bytes(WAN_14B, small) < kept_free(WAN_14B, small)


def test_what_stays_on_a_card_has_its_place_beside_what_is_kept_free():
    for choice in CHOICES:
        for video in choice.wan.videos:
            shares = [fit(card, choice.wan, choice.weights, video) for card in CARDS]
            assert shares == sorted(shares, key=lambda each: (each.runs, each.share))
            for card, each in zip(CARDS, shares):
                room = (card - DESKTOP - INFERENCE) * GIB - kept_free(choice.wan, video)
                assert each.share * choice.weights <= max(0, room) + 1 and 0 <= each.share <= 1
    assert not fit(4, WAN_14B, 1, WAN_14B.videos[0]).runs


def test_the_words_around_the_tables_have_their_numbers_too():
    said = " ".join(README.read_text(encoding="ascii").split("## Does it fit my card")[1].split("## ")[0].split())
    fp8 = model_file(WAN_14B, "fp8 scaled")
    larger = gguf_file(WAN_14B, "Q4_K_M", rest=4) - gguf_file(WAN_14B, "Q4_K_M")
    for words in (
        f"the text encoder ({module_file(text_encoder(), 1) / GIB:.1f} GiB)",
        f"with {COMPUTER:g} GiB for the system",
        f"{DESKTOP:g} GiB is left to the screen, and {INFERENCE:g} GiB to ComfyUI's reserve",
        f"{fp8 / GB:.1f} GB take at least {fp8 / PCIE4:.1f} s over PCIe 4.0 x16, {2 * fp8 / PCIE4:.1f} s over 3.0",
        f"{larger / GB:.1f} GB larger than below",
    ):
        assert words in said


def test_what_is_advised_fits_the_ram_and_nothing_better_does():
    for size, said in zip(RAM, advice().rstrip(".").split("; ")):
        names = [f"{choice.name}, {choice.kind}" for choice in CHOICES if choice.ram <= size]
        assert said == f"**{size} GB of RAM**: {names[0]}" and str(best(size)) == names[0]


@pytest.mark.parametrize(
    ("ram", "card", "said"),
    [
        (64, 24, "a card of 24.0 GiB: Wan2.2 A14B, fp8 scaled, with 100% / 59% of a model on the card at 480p / 720p."),
        (15, 8, "15.0 GiB of RAM; the smallest choice needs 16 GiB."),
        (31.3, None, "no card that PyTorch finds: Wan2.1 14B, fp8 scaled fits in it"),
    ],
)
def test_a_computer_is_told_what_fits(ram, card, said):
    assert said in here(ram, card)


def test_every_format_of_the_tables_is_known():
    assert {kind.removesuffix("_M").removesuffix("_S") for kind in KINDS[2:]} == set(BLOCKS)
    sizes = [model_file(WAN_14B, kind) for kind in KINDS if kind != "fp8 scaled"]
    assert sizes == sorted(sizes, reverse=True)
