"""What a record says, model files that are replaced under their names, and files that a server has not."""

import json
import os
import shutil

import pytest
from command_line import GIVEN, SMALL, ask, run

from cli.graph.settings import Settings
from cli.graph.tasks import TASKS, task_graph
from cli.jobs import fingerprint, one_job
from cli.models.identity import replaced
from cli.models.names import choices, sentence

PICTURE = GIVEN / "nano_00.png"
FLAGS = (*SMALL, "--image_paths", PICTURE, "--noise_multipliers", "0.2", "--num_inference_steps", "4")


@pytest.fixture
def lora(server):
    """The LoRA of the server, which a test may replace."""
    path = server.base_directory / "models" / "loras" / "pusa_nano_lora.safetensors"
    kept = path.with_suffix(".kept")
    shutil.copy2(path, kept)
    yield path
    os.replace(kept, path)


def record_of(out) -> dict:
    (path,) = out.glob("*.json")
    return json.loads(path.read_text())


def test_a_record_says_what_a_video_was_made_from(server, tmp_path):
    run("i2v", tmp_path, "--server", server.url, *FLAGS, "--seed", "41")
    record = record_of(tmp_path)
    assert (record["task"], record["model"], record["seed"]) == ("i2v", "nano", 41)
    assert record["prompt"] == ["nano_positive.safetensors"] and record["negative_prompt"] == ["nano_negative.safetensors"]
    wanted = {"image_paths": [str(PICTURE)], "noise_multipliers": [0.2], "num_inference_steps": 4, "seed": 41, "width": 32}
    assert record["flags"].items() >= wanted.items()
    models = server.base_directory / "models"
    folders = ("diffusion_models", "loras", "vae", "prompts", "prompts")
    names = ("pusa_nano_wan", "pusa_nano_lora", "pusa_nano_vae", "nano_positive", "nano_negative")
    assert record["models"].keys() == {f"{folder}/{name}.safetensors" for folder, name in zip(folders, names)}
    for name, said in record["models"].items():
        there = (models / name).stat()
        assert (said["name"], said["size"]) == (name.split("/")[1], there.st_size)
        assert said["modified"] == pytest.approx(there.st_mtime)
    stats = ask(server.url, "/system_stats")
    assert (record["comfyui"], record["device"]) == (stats["system"]["comfyui_version"], stats["devices"][0]["name"])
    assert record["pack"]["of_the_server"] == "unknown" and record["pack"]["of_the_command_line"][0].isdigit()
    assert 0 < record["seconds_per_step"] < 60
    (history,) = [item for item in ask(server.url, "/history").values() if item["prompt"][2] == record["filled"]]
    assert history["status"]["status_str"] == "success"
    assert record["graph"] == fingerprint_of(41)


def fingerprint_of(seed: int) -> str:
    settings = Settings(
        image_paths=(PICTURE,), noise_multipliers=(0.2,), num_inference_steps=4, num_frames=9, width=32, height=32, seed=seed
    )
    return fingerprint(one_job(task_graph(TASKS["i2v"], "nano", False)[1], TASKS["i2v"], "i2v", settings, GIVEN).filled)


@pytest.mark.parametrize("folder", [True, False])
def test_a_replaced_model_file_makes_a_job_new_and_its_video_stays(server, lora, pictures, tmp_path, folder):
    out = tmp_path / "out"
    flags = ("--server", server.url, *SMALL, "--seed", "42", *(("--inputs", pictures) if folder else ("--image_paths", PICTURE)))
    count = 3 if folder else 1
    run("i2v", out, *flags)
    first = {path: path.read_bytes() for path in out.iterdir()}
    assert run("i2v", out, *flags).stdout.count("done before, ") == count + folder
    before = lora.stat()
    os.utime(lora, (before.st_atime, before.st_mtime + 60))
    assert "done before, " not in run("i2v", out, *flags).stdout.replace("0 done before, ", "")
    assert len(list(out.glob("*.mp4"))) == 2 * count
    assert {path: path.read_bytes() for path in first} == first
    queued = ask(server.url, "/history").keys()
    assert run("i2v", out, *flags).stdout.count("done before, ") == count + folder
    os.utime(lora, (before.st_atime, before.st_mtime))
    assert run("i2v", out, *flags).stdout.count("done before, ") == count + folder
    assert ask(server.url, "/history").keys() == queued


def test_an_old_record_and_a_server_that_is_away_change_nothing(server, lora, tmp_path):
    flags = (*SMALL, "--image_paths", PICTURE, "--seed", "43", "--server")
    run("i2v", tmp_path, *flags, server.url)
    before = lora.stat()
    os.utime(lora, (before.st_atime, before.st_mtime + 60))
    assert "done before, " in run("i2v", tmp_path, *flags, "http://127.0.0.1:9").stdout
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: record[key] for key in ("graph", "bytes", "server", "file")}))
    assert "done before, " in run("i2v", tmp_path, *flags, server.url).stdout


ONE = {"vae/a": {"size": 5, "modified": 1.0}}


@pytest.mark.parametrize(
    ("current", "same_server", "other"),
    [
        (ONE, True, False),
        ({"vae/a": {"size": 6, "modified": 1.0}}, False, True),
        ({"vae/a": {"size": 5, "modified": 2.0}}, True, True),
        ({"vae/a": {"size": 5, "modified": 2.0}}, False, False),
        ({"vae/a": "unknown"}, True, False),
        ({}, True, False),
    ],
)
def test_a_file_is_another_by_size_and_on_the_same_server_by_time(current, same_server, other):
    assert replaced(ONE, current, same_server) is other


def test_a_model_file_in_another_folder_or_format_is_found(server, lora, tmp_path):
    (lora.parent / "sub").mkdir(exist_ok=True)
    shutil.copy(lora, lora.parent / "sub" / "mine.safetensors")
    run("i2v", tmp_path, "--server", server.url, *FLAGS, "--seed", "44", "--lora_path", "./model_zoo/mine.pt")
    record = record_of(tmp_path)
    names = {node["inputs"]["lora_name"] for node in record["filled"].values() if "lora_name" in node["inputs"]}
    assert names == {os.path.join("sub", "mine.safetensors")}
    assert record["models"]["loras/mine.pt"]["name"] in names


def test_a_missing_file_is_told_with_what_there_is_and_what_is_meant(server, tmp_path):
    flags = ("--server", server.url, *FLAGS, "--unet", "pusa_nano_wam.safetensors", "--vae", "zzz.safetensors")
    said = run("i2v", tmp_path, *flags, code=1).stderr
    there = "pusa_nano_wan.safetensors"
    assert f"the server has no pusa_nano_wam.safetensors: `--unet NAME`. It has {there}; did you mean {there}?" in said
    assert "the server has no zzz.safetensors: `--vae NAME`. It has " in said
    assert "not in list" not in said.lower() and not list(tmp_path.iterdir())


def test_the_files_of_a_family_are_had_by_a_command(server, tmp_path):
    said = run("i2v", tmp_path, "--model", "wan22", "--lightx2v", "--prompt", "x", *FLAGS, "--server", server.url, code=1).stderr
    lines = [line for line in said.splitlines() if "the server has no " in line]
    assert len(lines) == 8
    for line in lines:
        distill = "distill" in line.split(":")[0]
        flag = {"unet_name_high": "--high_unet", "lora_name_low": "--low_lora_path", "vae_name": "--vae", "clip_name": "--clip"}
        assert f"`python dev.py download {'lightx2v' if distill else 'wan22'}`, or `--" in line
        assert all(f"`{flag[key]} NAME`" in line for key in flag if f"input {key}:" in line)


WAN = ("unet_name", "wan_x.safetensors")


def test_what_is_listed_is_the_nearest_and_how_many_more():
    listed = [f"wan_{number}.safetensors" for number in range(9)]
    said = sentence(*WAN, listed, None)
    assert said.startswith("the server has no wan_x.safetensors: `--unet NAME`. It has wan_")
    assert " and 4 more; did you mean wan_" in said
    none = "the server has no v.pt: `get it`, or `--vae NAME`. It has none of that kind"
    assert sentence("vae_name", "v.pt", [], "`get it`") == none


def test_both_forms_of_a_choice_are_read():
    info = {"input": {"required": {"a": [["x", "y"], {}], "b": ["COMBO", {"options": ["z"]}]}, "optional": {"c": ["INT", {}]}}}
    assert [choices(info, name) for name in "abcd"] == [["x", "y"], ["z"], None, None]
