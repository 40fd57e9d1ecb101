"""The flags of a task, in the groups that its help shows."""

import argparse
from pathlib import Path

from ..graph.tasks import MODELS, Task
from .official import MULTI_COND, NEEDLESS, SWITCHES, multi_cond
from .values import (
    SERVER,
    cluster,
    comfyui_flags,
    existing,
    file_or_folder,
    folder,
    folder_of_workers,
    noise,
    number,
    output_folder,
    positions,
    python_of_workers,
    server,
    video_file,
)

GPUS, RETRIES = 1, 2


def graph_flags(command) -> None:
    group = command.add_argument_group("graph")
    text = "which graphs: Wan2.2 (default), Wan2.1 (of itself with one --lora_path), Mochi 1 with Pusa V0.5 (of itself with "
    text += "--dit_path), or nano, the embedded model"
    group.add_argument("--model", choices=MODELS, help=text)
    group.add_argument("--lightx2v", action="store_true", help="the graph with the LightX2V LoRA: 4 steps, cfg 1")
    group.add_argument("--graph", type=Path, metavar="FILE", help="a graph of your own in place of these, saved with Export (API)")
    group.add_argument("--dry_run", action="store_true", help="print the filled graph as JSON and post nothing")


def given_flags(command, name: str, task: Task) -> None:
    group = command.add_argument_group("what is given")
    text = 'a file of jobs, one a line: {"id": "a17", "prompt": "..", "seed": 7}; the id names the video, the other keys are flags '
    text += "of this task, which take the place of those of the command line"
    group.add_argument("--jobs", type=existing, metavar="FILE", help=text)
    if task.files == "timeline":
        text = (
            "the lines of Timeline (Pusa) in a text file: `0: start.png, noise 0.2`, `68-last: clip.mp4 from end`. Files go to the "
            "server; those without a whole path lie beside the text. Other names are those of the server's input folder"
        )
        group.add_argument("--timeline", nargs=1, type=existing, metavar="FILE", help=text)
        return
    if task.files == "pictures":
        group.add_argument("--image_paths", nargs="+", type=existing, metavar="FILE", help="the pictures, in order")
    if task.files == "videos":
        seconds = {"completion": "; a second one, to end as", "transition": "; a second one, to lead to: without it, a loop"}
        text = "the clip" + seconds.get(name, "")
        group.add_argument("--video_path", "--video_paths", dest="video_paths", nargs="+", type=existing, metavar="FILE", help=text)
    if task.suffixes:
        _folder_flags(group, task)
    if task.files and name != "transition":
        text = "latent frames of what is given, as 0,10,20 or last; latent frame 0 is one frame, each further one is four, or six"
        text += " with Mochi"
        more = {"extend": ". Here it sets the overlap", "completion": ". -1 and last count from the end of the clip"}
        text += more.get(name, "")
        group.add_argument("--cond_position", type=positions, metavar="LIST", help=text)
    if task.files:
        text = "how far given frames may change, 0 (not at all) to 1 (free): one for all, or a list"
        group.add_argument("--noise_multipliers", type=noise, metavar="LIST", help=text)
    if name == "start-end":
        group.add_argument("--start_frame", type=existing, metavar="FILE", help="the first picture, and")
        group.add_argument("--end_frame", type=existing, metavar="FILE", help="the last one, in place of --image_paths")
    if task.files == "pictures":
        text = f"--image_paths, --cond_position and --noise_multipliers in one: JSON, or a file of it, as {MULTI_COND}"
        group.add_argument("--multi_cond", type=multi_cond, metavar="JSON", help=text)
    if name == "transition":
        group.add_argument("--video_start_dir", type=existing, metavar="FILE", help="the clip that the video begins as, and")
        group.add_argument("--video_end_dir", type=existing, metavar="FILE", help="the one whose first half it ends as")
        text = "with these two: latent frames kept of the first (default 0,1,2)"
        group.add_argument("--cond_position_start", type=positions, metavar="LIST", help=text)
        text = "and of the second (default -3,-2,-1)"
        group.add_argument("--cond_position_end", type=positions, metavar="LIST", help=text)


def _folder_flags(group, task: Task) -> None:
    """A job for each file of a folder."""
    text = f"one job for each file in it ({', '.join(task.suffixes)})"
    if not task.files:
        group.add_argument("--inputs", "--prompt_dir", type=folder, metavar="FOLDER", help=text + ", which holds the prompt")
        return
    text += ", its prompt in a .txt of the same name beside it"
    group.add_argument("--inputs", type=folder, metavar="FOLDER", help=text)
    name, own = ("--image_dir", "--image_paths") if task.files == "pictures" else ("--video_dir", "--video_path")
    group.add_argument(name, type=file_or_folder, metavar="PATH", help=f"a file, as {own}, or a folder, as --inputs")
    text = "where these .txt lie, if not beside the files"
    group.add_argument("--prompt_dir", type=folder, metavar="FOLDER", help=text)


def prompt_flags(command, name: str) -> None:
    group = command.add_argument_group("prompt")
    text = "what the video shows" + ("; again for each further hop" if name == "extend" else "")
    group.add_argument("--prompt", action="append", metavar="TEXT", help=text)
    group.add_argument("--negative_prompt", metavar="TEXT", help="what it avoids; not used at cfg 1")
    text = "a stored prompt on the server (models/prompts) for a graph that takes one, as those of nano do"
    group.add_argument("--prompt_file", action="append", metavar="NAME", help=text)
    group.add_argument("--negative_prompt_file", metavar="NAME", help="the same for the negative prompt")


def sampling_flags(command, task: Task) -> None:
    group = command.add_argument_group("sampling")
    add = group.add_argument
    add("--num_inference_steps", type=number(int, 1, 10000), metavar="N", help="sampling steps")
    add("--cfg_scale", type=number(float, 0, 100), metavar="X", help="guidance; exactly 1 with LightX2V")
    add("--lora_alpha", type=number(float, -10, 10), metavar="X", help="strength of the Pusa LoRA, Wan2.1 and nano")
    add("--high_lora_alpha", type=number(float, -10, 10), metavar="X", help="the same for Wan2.2, high-noise expert")
    add("--low_lora_alpha", type=number(float, -10, 10), metavar="X", help="and low-noise expert")
    text = "Wan2.2: noise level below which the low-noise expert samples"
    add("--switch_DiT_boundary", type=number(float, 0, 1), metavar="X", help=text)
    add("--seed", type=number(int, 0, 2**64 - 1), metavar="N", help="another seed is another video")
    add("--shift", type=number(float, 0.01, 100), metavar="X", help="timestep shift; Pusa uses 5, with Mochi none")
    add("--sampler", metavar="NAME", help="a sampler of ComfyUI; euler is the official one")
    text = "a scheduler of KSampler (Pusa); flow_match is the official one, linear_quadratic that of Mochi"
    add("--scheduler", metavar="NAME", help=text)
    if task.sampler == "PusaKSampler":
        add("--width", type=number(int, 16, 16384, 16), metavar="N", help="of the video, a multiple of 16")
        add("--height", type=number(int, 16, 16384, 16), metavar="N", help="the same")
        add("--num_frames", type=number(int, 1, 16381), metavar="N", help="length of the video: 4n + 1, Mochi 6n + 1")
        add("--fps", type=number(float, 1, 120), metavar="X", help="frames per second of the file; Wan moves at 16, Mochi at 30")
        return
    extend = task.sampler == "PusaExtendVideo"
    add("--overlap", type=number(int, 1, 8001), metavar="N", help="given frames of the clip: 4n + 1, Mochi 6n + 1")
    text = "new frames of a hop: a multiple of 4, Mochi of 6" if extend else "new frames between: 4n - 1, Mochi 6n - 1"
    add("--new_frames", type=number(int, 1, 8000), metavar="N", help=text)
    if extend:
        add("--hops", type=number(int, 1, 1000), metavar="N", help="how many times the clip is extended")
        add("--direction", choices=("forwards", "backwards"), help="what comes after the clip, or what came before it")


def file_flags(command) -> None:
    group = command.add_argument_group("model files, by the names that the server lists; of a path the last part counts")
    add = group.add_argument
    add("--unet", metavar="FILE", help="the diffusion model of a graph with one")
    add("--dit_path", metavar="FILE", help="the same, of Pusa V0.5: the graphs are those of Mochi")
    add("--high_unet", metavar="FILE", help="that for high noise, of a graph with two")
    add("--low_unet", metavar="FILE", help="and for low noise")
    add("--lora_path", metavar="FILE", help="the Pusa LoRA of a graph with one model")
    add("--high_lora_path", metavar="FILE", help="that for high noise, of a graph with two")
    add("--low_lora_path", metavar="FILE", help="and for low noise")
    add("--distill_lora", metavar="FILE", help="the LightX2V LoRA of a graph with one model")
    add("--high_distill_lora", metavar="FILE", help="that for high noise, of a graph with two")
    add("--low_distill_lora", metavar="FILE", help="and for low noise")
    add("--vae", metavar="FILE", help="the VAE")
    add("--clip", metavar="FILE", help="the text encoder")


def server_flags(command) -> None:
    group = command.add_argument_group("server and files")
    add = group.add_argument
    text = f"default {SERVER}; give it again to share the jobs among several"
    add("--server", action="append", type=server, metavar="URL", help=text)
    text = "how long to wait for a server that is away (default 300)"
    add("--wait", type=number(float, 0, 1e6), default=300.0, metavar="SECONDS", help=text)
    text = "where the videos go (default outputs): a folder, or a URL as s3://bucket/run7 if fsspec and its package are installed"
    add("--output_dir", type=output_folder, metavar="FOLDER", help=text)
    add("--output", type=video_file, metavar="FILE", help="where the one video goes, a .mp4")


def ray_flags(command) -> None:
    group = command.add_argument_group("a cluster of Ray in place of servers; a failures.jsonl beside the videos says what failed")
    add = group.add_argument
    text = "`auto` is the one that runs on this machine, HOST:PORT the one of that head, `local` one for this command alone"
    add("--ray", type=cluster, metavar="WHERE", help=text)
    text = "the folder of ComfyUI on the workers, with this pack in its custom_nodes and the model files"
    add("--comfyui", type=folder_of_workers, metavar="DIR", help=text)
    text = "the Python that ComfyUI runs in there (default: that of Ray)"
    add("--comfyui_python", type=python_of_workers, metavar="FILE", help=text)
    text = "flags of ComfyUI in one text, as --comfyui_flags='--use-sage-attention --lowvram'"
    add("--comfyui_flags", type=comfyui_flags, metavar="TEXT", help=text)
    text = f"GPUs of each ComfyUI (default {GPUS}); with 0 each has a CPU core"
    add("--gpus_per_job", type=number(int, 0, 64), metavar="N", help=text)
    text = f"how often a job is tried again whose ComfyUI or machine was lost (default {RETRIES})"
    add("--retries", type=number(int, 0, 100), metavar="N", help=text)


def needless_flags(command) -> None:
    """Flags of the official scripts that mean nothing here. They are told when they are given, and not listed."""
    for flag in NEEDLESS:
        kind = {"action": "store_true"} if flag in SWITCHES else {"metavar": "X"}
        command.add_argument(f"--{flag}", help=argparse.SUPPRESS, **kind)
