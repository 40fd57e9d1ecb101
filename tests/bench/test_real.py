"""Random files of the real names have the sizes of the card table, a run says what room it takes, and one runs."""

import re

import host_comfyui
import pytest

host_comfyui.load_pack()

from benchmarks.card.files import lora_file, model_file, module_file
from benchmarks.card.memory import COMPUTER, GIB
from benchmarks.card.networks import WAN_5B, WAN_14B, Video, text_encoder, vae
from benchmarks.card.table import CHOICES
from benchmarks.real import __main__ as real
from benchmarks.real.files import file_of, network
from benchmarks.real.graphs import FIRST, files_of, graph_of
from benchmarks.real.room import Need, lacks, need

SIZES = {
    ("diffusion_models", "wan2.1_t2v_14B_fp8_scaled.safetensors"): lambda: model_file(WAN_14B, "fp8 scaled"),
    ("diffusion_models", "wan2.2_ti2v_5B_fp16.safetensors"): lambda: model_file(WAN_5B, "fp16"),
    ("loras", "pusa_v1.pt"): lambda: lora_file(WAN_14B, 512),
    ("loras", "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors"): lambda: lora_file(WAN_14B, 64, 4),
    ("text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"): lambda: module_file(text_encoder(), 1),
    ("vae", "wan_2.1_vae.safetensors"): lambda: module_file(vae(16)),
    ("vae", "wan2.2_vae.safetensors"): lambda: module_file(vae(48)),
}
VIDEO = Video("", 9, 256, 160)


@pytest.mark.parametrize(("folder", "name"), SIZES)
def test_a_file_has_the_size_of_the_card_table(folder, name):
    assert file_of(folder, name, "full").size == pytest.approx(SIZES[folder, name](), rel=1e-3)


@pytest.mark.parametrize("model", FIRST)
def test_every_file_of_a_graph_can_be_written(model):
    files = [file_of(folder, name, "tiny") for folder, name in files_of(graph_of(FIRST[model]))]
    assert {file.folder for file in files} >= {"diffusion_models", "vae", "text_encoders"} and all(file.tensors for file in files)


def test_what_a_card_needs_is_what_the_card_table_says():
    """All files and 4 GiB; on a CPU also a copy of every weight that a LoRA changes."""
    choice = next(choice for choice in CHOICES if str(choice) == "Wan2.2 A14B, fp8 scaled")
    files = [file_of(folder, name, "full") for folder, name in files_of(graph_of(FIRST["wan22"]))]
    card, cpu = (need(files, WAN_14B, VIDEO, has) for has in (True, False))
    assert card.ram == pytest.approx(choice.ram, rel=1e-3) and card.disk * GIB > choice.files
    assert cpu.ram > card.ram + 2 * choice.weights / GIB


def test_a_machine_that_has_no_room_is_told_before_anything_is_written(tmp_path, capsys):
    assert lacks(Need(0.001, COMPUTER, 1, 1), tmp_path, available=COMPUTER + 1) is None
    assert f"needs a machine with {COMPUTER + 60:.0f} GiB" in lacks(Need(1, COMPUTER + 60, 1, 1), tmp_path, available=24)
    assert "name another place with --folder" in lacks(Need(1e6, 1, 1, 1), tmp_path, available=24)
    chosen = real.options().parse_args(["--full", "--size", "8192x8192x1001", "--folder", str(tmp_path)])
    assert "The run takes about" in real.measured("wan22", chosen, card=False)  # whatever disk there is
    assert list(tmp_path.iterdir()) == [] and "GiB on the disk" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, text",
    [*(("--size", text) for text in ("832x480", "832x480x80", "16x480x81", "axbxc")), ("--steps", "0"), ("--steps", "few")],
)
def test_a_size_or_steps_that_no_graph_takes_are_refused(option, text, capsys):
    with pytest.raises(SystemExit):
        real.options().parse_args([option, text])
    assert re.search(f"[`']{text}[`']", capsys.readouterr().err)


def test_a_graph_runs_on_tiny_widths(tmp_path):
    """From nothing to a row, and nothing stays."""
    chosen = real.options().parse_args(["--quick", "--stored-prompts", "--size", "64x32x5", "--folder", str(tmp_path)])
    row = real.measured("wan21", chosen, card=False)
    assert row[:3] == ["wan21_t2v", "tiny, stored prompts", "64 x 32, 5 frames"] and network("", "tiny").dim == 256
    measured, reckoned = (float(number) for number in row[8].removesuffix(" GiB").split(" / "))
    assert 0.1 < measured < reckoned
    assert all(float(cell.removesuffix(" s")) > 0 for cell in row[4:8])
    assert list(tmp_path.iterdir()) == []
