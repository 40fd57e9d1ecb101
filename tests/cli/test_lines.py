"""Lines that people have in their notes, of the official scripts and of guides: each runs as written, and means what it meant."""

import json
import shlex
import shutil

import pytest
from command_line import GIVEN

from cli.__main__ import main
from cli.graph.links import only, path_to, source_of

HIGH = '--high_lora_path "model_zoo/PusaV1/Pusa-Wan2.2-V1/high_noise_pusa.safetensors" --high_lora_alpha 1.5'
LOW = '--low_lora_path "model_zoo/PusaV1/Pusa-Wan2.2-V1/low_noise_pusa.safetensors" --low_lora_alpha 1.4'
FEW = f"--num_inference_steps 4 {HIGH} {LOW} --cfg_scale 1 --lightx2v"
MANY = f"--num_inference_steps 30 {HIGH} {LOW} --cfg_scale 3.0"
WAN21 = '--lora_path "./model_zoo/PusaV1/pusa_v1.pt" --lora_alpha 1.4 --num_inference_steps 30'
WAN21_FEW = '--lora_path "./model_zoo/PusaV1/pusa_v1.pt" --lora_alpha 1.4 --cfg_scale 1 --num_inference_steps 4 --lightx2v'
FOLDERS = "--base_dir model_zoo/PusaV1/Wan2.2-T2V-A14B --high_model_dir high_noise_model --low_model_dir low_noise_model"
V05 = "--model_dir /data/Pusa-V0.5 --dit_path /data/Pusa-V0.5/pusa_v0_dit.safetensors"
THREE = """'{"0": ["a.jpg", 0.3], "13": ["b.jpg", 0.7], "27": ["c.jpg", 0.7]}'"""
FREE = ", 1" * 19

PAIR = {
    "PusaModelPairLoader": {
        "lora_name_high": "high_noise_pusa.safetensors", "strength_high": 1.5,
        "lora_name_low": "low_noise_pusa.safetensors", "strength_low": 1.4,
    }
}  # fmt: skip
ONE = {"PusaModelLoader": {"lora_name": "pusa_v1.pt", "strength": 1.4, "unet_name": "wan2.1_t2v_14B_fp8_scaled.safetensors"}}
MOCHI = {"PusaModelLoader": {"unet_name": "pusa_v0_dit.safetensors"}, "EmptyMochiLatentVideo": {"length": 163}}


def sampling(**values) -> dict:
    return {"PusaKSampler": values}


def pictures(positions: str, noise: str) -> dict:
    return {"PusaKeyframes": {"positions": positions, "unit": "latent", "noise": noise}}


LINES = [  # task, flags; the files that are given, in order; inputs of nodes
    ("i2v", f'--image_paths a.jpg --prompt "foam" --cond_position "0" --noise_multipliers "0.2" {FEW}', "a",
     PAIR | pictures("0", "0.2") | sampling(steps=4, cfg=1)),
    ("start-end", f'--image_paths a.jpg b.jpg --prompt "foam" --cond_position "0,20" --noise_multipliers "0.2,0.5" {FEW}', "ab",
     PAIR | pictures("0, 20", "0.2, 0.5") | sampling(steps=4, cfg=1)),
    ("start_end", f'--image_paths a.jpg b.jpg --prompt "foam" --cond_position "0,20" --noise_multipliers "0.2,0.5" {MANY}', "ab",
     PAIR | pictures("0, 20", "0.2, 0.5") | sampling(steps=30, cfg=3)),
    ("i2v", f'--image_paths a.jpg b.jpg --prompt "foam" --cond_position "0,20" --noise_multipliers "0.2,0.5" {FEW}', "ab",
     PAIR | pictures("0, 20", "0.2, 0.5") | sampling(steps=4)),
    *((task, f'--video_path clip.mp4 --prompt "foam" --cond_position "0,1,2,3" --noise_multipliers "0.2,0.4,0.4,0.4" {FEW}', "l",
       PAIR | {"PusaVideoFrames": {"take": "start", "place": "start", "frames": 13, "noise": "0.2, 0.4, 0.4, 0.4"},
               "EmptyHunyuanLatentVideo": {"length": 81}} | sampling(steps=4, cfg=1))
      for task in ("v2v", "extension", "completion")),
    *((task, f'--video_path clip.mp4 --prompt "foam" --cond_position "0,20" --noise_multipliers "0.3,0.3" {WAN21}', "l",
       ONE | {"PusaVideoFrames": {"take": "start", "place": "start", "frames": 81, "noise": f"0.3{FREE}, 0.3"}}
       | sampling(steps=30, cfg=3)) for task in ("v2v", "completion")),
    ("i2v", f'--image_paths a.jpg --prompt "foam" --cond_position "0" --noise_multipliers "0.2" {WAN21}', "a",
     ONE | pictures("0", "0.2") | sampling(steps=30, cfg=3)),
    ("i2v", f'--image_paths a.jpg --prompt "foam" --cond_position "0" --noise_multipliers "0.2" {WAN21_FEW}', "a",
     ONE | pictures("0", "0.2") | sampling(steps=4, cfg=1)),
    ("t2v", f'--prompt "foam" {FEW} {FOLDERS} --height 720 --width 1280 --seed 7 --switch_DiT_boundary 0.9', "",
     PAIR | sampling(steps=4, cfg=1, seed=7, boundary=0.9) | {"EmptyHunyuanLatentVideo": {"height": 720, "width": 1280}}),
    ("t2v", f'--prompt "foam" {WAN21} --base_dir "model_zoo/PusaV1" --negative_prompt "grey" --output_dir ./outputs', "",
     ONE | sampling(steps=30)),
    ("i2v", f'--image_paths a.jpg --prompt "foam" --cond_position "0" --noise_multipliers "0.2" {FOLDERS}', "a",
     pictures("0", "0.2") | {"PusaModelPairLoader": {}}),
    ("ti2v", f'{V05} --prompt "foam" --negative_prompt "" --image_dir a.jpg --prompt_dir texts --cond_position 0 '
     "--noise_multiplier 0.4 --num_steps 30 --seed 3 --cfg_scale 6.0", "a",
     MOCHI | pictures("0", "0.4") | sampling(steps=30, seed=3, cfg=6)),
    ("multi_frames", f'{V05} --prompt "foam" --multi_cond {THREE} --num_steps 30', "abc",
     MOCHI | pictures("0, 13, 27", "0.3, 0.7, 0.7") | sampling(steps=30)),
    *((task, f'--prompt "foam" --multi_cond {THREE} --num_steps 30', "abc", MOCHI | pictures("0, 13, 27", "0.3, 0.7, 0.7"))
      for task in ("keyframes", "multi_frames", "ti2v")),
    ("extension", '--prompt "foam" --video_dir a.mp4 --cond_position "[0,1,2,3]" --noise_multiplier "[0.1,0.2,0.3,0.4]" '
     "--num_steps 30", "v", MOCHI | sampling(steps=30)
     | {"PusaVideoFrames": {"take": "start", "place": "start", "frames": 19, "noise": "0.1, 0.2, 0.3, 0.4"}}),
    ("i2v", '--model_dir ./models --image_path photo.jpg --prompt "foam" --noise_multiplier 0.2 --num_steps 10 --output clip.mp4',
     "p", sampling(steps=10) | {"PusaKeyframes": {"noise": "0.2"}, "PusaModelPairLoader": {}}),
    *((task, '--start_frame a.jpg --end_frame b.jpg --model_dir ./models --prompt "foam" --num_steps 10 --output c.mp4 --offload',
       "ab", sampling(steps=10)) for task in ("start-end", "start_end", "start_end_frames")),
    *((task, '--prompt "foam" --image a.jpg --lightx2v --steps 4', "a", sampling(steps=4, cfg=1)) for task in ("quick", "i2v")),
]  # fmt: skip


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """A folder with the files that the lines name."""
    for name in ("a", "b", "c", "photo"):
        shutil.copy(GIVEN / "nano_00.png", tmp_path / f"{name}.jpg")
    for number, name in enumerate(("clip", "a", "b")):
        (tmp_path / f"{name}.mp4").write_bytes(bytes([number]))
    (tmp_path / "texts").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graph_of(line: str, capsys) -> dict:
    assert main([*shlex.split(line), "--dry_run"]) == 0
    return json.loads(capsys.readouterr().out)


def given_files(graph: dict) -> list:
    """The files of the conditions of the node that samples, in their order."""
    loaders = [
        (name, graph[source_of(graph, path_to(graph, id, name, ("LoadImage", "LoadVideo"))[-1])]["inputs"])
        for id, node in graph.items()
        for name in node["inputs"]
        if node["class_type"] in ("PusaKeyframes", "PusaVideoFrames") and name.startswith(("images.", "video"))
    ]
    return [(inputs.get("image") or inputs["file"]).removeprefix("pusa/").split("-")[0] for _, inputs in loaders]


@pytest.mark.parametrize(("task", "flags", "files", "values"), LINES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_line_runs_as_written_and_means_what_it_meant(notes, capsys, task, flags, files, values):
    graph = graph_of(f"{task} {flags}", capsys)
    for kind, inputs in values.items():
        assert graph[only(graph, kind)]["inputs"].items() >= inputs.items()
    names = {"a": "a", "b": "b", "c": "c", "p": "photo", "l": "clip", "v": "a"}
    assert given_files(graph) == [names[file] for file in files]
    sampler = graph[only(graph, "PusaKSampler")]["inputs"]
    assert graph[sampler["positive"][0]]["inputs"]["text"] == "foam"


def test_the_transition_of_v05_keeps_unequal_ends(notes, capsys):
    flags = '--cond_position_start "[0]" --cond_position_end "[-3,-2,-1]" --noise_multiplier "[0.3,0.8,0.8,0.8]" --num_steps 30'
    graph = graph_of(f'transition --prompt "foam" --video_start_dir a.mp4 --video_end_dir b.mp4 {flags}', capsys)
    kept = [node["inputs"] for node in graph.values() if node["class_type"] == "PusaVideoFrames"]
    assert {each["place"]: (each["take"], each["frames"], each["noise"]) for each in kept} == {
        "start": ("start", 1, "0.3"), "end": ("end", 19, "0.8"),
    }  # fmt: skip
    assert sorted(given_files(graph)) == ["a", "b"] and only(graph, "EmptyMochiLatentVideo")
    assert graph[only(graph, "ImageFromBatch")]["inputs"].items() >= {"batch_index": 0, "length": 81}.items()


@pytest.mark.parametrize(
    ("line", "runs"),
    [
        ("merge --offload --base_model wan.safetensors --lora_path pusa_v1.pt --model_dir x --output_path=out.safetensors",
         "python -m cli.merge wan.safetensors out.safetensors --lora pusa_v1.pt"),
        ("train --base_model wan.safetensors --data_root clips --rank 512 --alpha 1.7 --lr 1e-4 --max_steps 900 --output_dir out",
         "python -m training.train clips --model wan.safetensors --rank 512 --alpha 1.7 --learning_rate 1e-4 --steps 900 "
         "--output out"),
    ],
)  # fmt: skip
def test_merging_and_training_take_the_flags_of_the_guides(capsys, line, runs):
    assert main([*line.split(), "--dry_run"]) == 0
    assert capsys.readouterr().out == f"{runs}\n"


NEEDLESS = {
    "--base_dir x": "--base_dir is not needed: the server knows its own model folders; --clip and --vae name files there.",
    "--model_dir x": "--model_dir is not needed: the server knows its own model folders; --unet, --clip and --vae name files there.",  # noqa: E501
    "--high_model_dir x": "--high_model_dir is not needed: the server knows its own model folders; --high_unet names a file there.",
    "--offload": "--offload is not needed: ComfyUI moves models between the GPU and the memory by itself.",
    "--cpu_offload": "--cpu_offload is not needed: ComfyUI moves models between the GPU and the memory by itself.",
    "--multi_cond '{\"27\": [\"a.jpg\", 0]}'": "--multi_cond is of the V0.5 scripts, so the model is Mochi 1 with Pusa V0.5; "
    "--model says otherwise.",
}  # fmt: skip


@pytest.mark.parametrize("flags", NEEDLESS)
def test_what_has_no_meaning_here_is_told_in_a_line(notes, capsys, flags):
    picture = "" if "multi_cond" in flags else "--image_paths a.jpg"
    assert main([*shlex.split(f"i2v {picture} --prompt x {flags}"), "--dry_run"]) == 0
    assert capsys.readouterr().err == NEEDLESS[flags] + "\n"


FAMILIES = {
    "--high_lora_path h.safetensors": "wan22", "--low_model_dir low": "wan22", "--lora_path p.pt": "wan21", "": "wan22",
    "--dit_path pusa_v0_dit.safetensors": "mochi", "--model_dir v05": "mochi", "--model_dir models": "wan22",
    "--dit_path pusa_v0_dit.safetensors --model wan21": "wan21", "--lightx2v": "wan22", "--lora_path p.pt --lightx2v": "wan21",
}  # fmt: skip


@pytest.mark.parametrize("flags", FAMILIES)
def test_what_is_given_decides_the_family(notes, capsys, flags):
    (notes / "v05").mkdir()
    (notes / "v05" / "pusa_v0_dit.safetensors").touch()
    (notes / "models").mkdir()
    graph = graph_of(f"i2v --image_paths a.jpg --prompt x {flags}", capsys)
    kinds = {node["class_type"] for node in graph.values()}
    pair, mochi = "PusaModelPairLoader" in kinds, "EmptyMochiLatentVideo" in kinds
    assert (pair, mochi) == (FAMILIES[flags] == "wan22", FAMILIES[flags] == "mochi")


def test_one_picture_takes_its_prompt_from_a_folder_if_there_is_one(notes, capsys):
    (notes / "texts" / "a.txt").write_text("from the folder")
    graph = graph_of("ti2v --image_dir a.jpg --prompt_dir texts --model mochi", capsys)
    assert graph[graph[only(graph, "PusaKSampler")]["inputs"]["positive"][0]]["inputs"]["text"] == "from the folder"
    (notes / "texts" / "a.txt").unlink()
    assert main(["ti2v", "--image_dir", "a.jpg", "--prompt_dir", "texts", "--model", "mochi", "--dry_run"]) == 2
    assert "there is no prompt a.txt in texts, and no --prompt for all" in capsys.readouterr().err
