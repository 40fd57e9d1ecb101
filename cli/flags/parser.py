"""The command line: tasks, flags, and what each may be. The names are those of the official scripts."""

import argparse
import re
import urllib.parse
from pathlib import Path

from ..graph.tasks import MODELS, TASKS, Task
from .official import MULTI_COND, multi_cond, translate

SERVER = "http://127.0.0.1:8188"
DESCRIPTION = """\
Make videos on a ComfyUI server that has this pack, or on several. The graphs of workflows/api are filled with your settings
and posted; whatever you leave out stays as it is there."""
MORE_EXAMPLES = """\
  python -m cli i2v --inputs pictures --output_dir videos --server http://gpu1:8188 --server http://gpu2:8188
  python -m cli keyframes --model mochi --prompt "A year passes" --multi_cond '{"0": ["may.png", 0.3], "27": ["snow.png", 0.7]}'
  python -m cli i2v --model nano --image_paths assets/nano/input/nano_00.png
  python -m cli timeline --model nano --timeline assets/nano/input/nano_film.txt"""
EPILOG = """\
A file goes to the server by itself, and the video comes back into --output_dir with a record of what it was made from. The same
command again makes nothing twice: it goes on where it was stopped, and makes only what is missing or was changed.
exit codes: 0 all done, 1 a job failed, 2 flags or graph cannot be used, 130 stopped by Ctrl-C"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    examples = "\n".join(f"  python -m cli {name} {task.example}" for name, task in TASKS.items())
    epilog = f"examples:\n{examples}\n{MORE_EXAMPLES}\n\n{EPILOG}"
    top = _parser(argparse.ArgumentParser, prog="python -m cli", description=DESCRIPTION, epilog=epilog)
    commands = top.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, task in TASKS.items():
        epilog = f"example:\n  python -m cli {name} {task.example}\n\n{EPILOG}"
        description = f"{task.text[0].upper()}{task.text[1:]}."
        usage = f"python -m cli {name} [FLAG ...]     (-h lists the flags)"
        command = _parser(
            commands.add_parser,
            name,
            aliases=other_names(name, task),
            usage=usage,
            help=task.text,
            description=description,
            epilog=epilog,
        )
        command.set_defaults(task=name)
        _graph_flags(command)
        _given_flags(command, name, task)
        _prompt_flags(command, name)
        _sampling_flags(command, task)
        _file_flags(command)
        _server_flags(command)
    return top


def parse(arguments: list) -> argparse.Namespace:
    """Read a command line; wrong flags end with exit code 2."""
    top = parser()
    given = top.parse_args(with_values(arguments))
    task = TASKS[given.task]
    translate(given, top.error)
    flag = {"": "", "pictures": "--image_paths", "videos": "--video_paths", "timeline": "--timeline"}[task.files]
    files = getattr(given, flag[2:], None) or []
    if getattr(given, "multi_cond", None):
        flag = "--multi_cond"
    if getattr(given, "inputs", None):
        if files:
            top.error(f"{flag} and --inputs cannot be given together")
    elif not task.least <= len(files) <= task.most:
        allowed = f"{task.least} to {task.most}" if task.least < task.most else task.least
        top.error(f"{flag} takes {allowed} for {given.task}, not {len(files)}" + (", or give --inputs" if task.suffixes else ""))
    if given.lightx2v and given.model not in ("wan21", "wan22"):
        top.error("--lightx2v belongs to wan21 and wan22")
    given.server = list(dict.fromkeys(given.server or [SERVER]))
    return given


def with_values(arguments: list) -> list:
    """A command line in which values that begin with a minus sign, as -3,-2,-1, are not taken for flags: --flag=-3,-2,-1."""
    words = []
    for word in arguments:
        if words and words[-1].startswith("--") and "=" not in words[-1] and re.match(r"-\d", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def other_names(name: str, task: Task) -> list:
    """How a task is called elsewhere: in the names of the graphs, and of the embedded model's."""
    return sorted({task.graph, task.demo} - {name})


def _parser(make, *arguments, **words):
    def style(prog: str) -> argparse.HelpFormatter:
        return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)

    return make(*arguments, **words, formatter_class=style, allow_abbrev=False)


def _graph_flags(command) -> None:
    group = command.add_argument_group("graph")
    text = "which graphs: Wan2.2 (default), Wan2.1, Mochi 1 with Pusa V0.5, or nano, the embedded model"
    group.add_argument("--model", choices=MODELS, default="wan22", help=text)
    group.add_argument("--lightx2v", action="store_true", help="the graph with the LightX2V LoRA: 4 steps, cfg 1")
    group.add_argument("--graph", type=Path, metavar="FILE", help="a graph of your own in place of these, saved with Export (API)")
    group.add_argument("--dry_run", action="store_true", help="print the filled graph as JSON and post nothing")


def _given_flags(command, name: str, task: Task) -> None:
    group = command.add_argument_group("what is given")
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
        seconds = {"completion": "; a second one, to end with", "transition": "; a second one, to lead to: without it, a loop"}
        text = "the clip" + seconds.get(name, "")
        group.add_argument("--video_path", "--video_paths", dest="video_paths", nargs="+", type=existing, metavar="FILE", help=text)
    if task.suffixes:
        _folder_flags(group, task)
    if task.files and name != "transition":
        text = "latent frames of what is given, as 0,10,20 or last; latent frame 0 is one frame, each further one is four, or six"
        text += " with Mochi. Here it sets the overlap" if name == "extend" else " with Mochi"
        group.add_argument("--cond_position", type=positions, metavar="LIST", help=text)
    if task.files:
        text = "how far given frames may change, 0 (not at all) to 1 (free): one for all, or a list"
        group.add_argument("--noise_multipliers", "--noise_multiplier", type=noise, metavar="LIST", help=text)
    if name in ("start-end", "keyframes"):
        text = f"--image_paths, --cond_position and --noise_multipliers in one: JSON, or a file of it, as {MULTI_COND}"
        group.add_argument("--multi_cond", type=multi_cond, metavar="JSON", help=text)
    if name == "transition":
        group.add_argument("--video_start_dir", type=existing, metavar="FILE", help="the clip to start from, and")
        group.add_argument("--video_end_dir", type=existing, metavar="FILE", help="the one to lead to, in place of --video_paths")
        text = "latent frames that are given at the start, in place of --overlap: 0,1,2,3"
        group.add_argument("--cond_position_start", type=positions, metavar="LIST", help=text)
        text = "and at the end, always one less: -3,-2,-1"
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


def _prompt_flags(command, name: str) -> None:
    group = command.add_argument_group("prompt")
    text = "what the video shows" + ("; again for each further hop" if name == "extend" else "")
    group.add_argument("--prompt", action="append", metavar="TEXT", help=text)
    group.add_argument("--negative_prompt", metavar="TEXT", help="what it avoids; not used at cfg 1")
    text = "a stored prompt on the server (models/prompts) for a graph that takes one, as those of nano do"
    group.add_argument("--prompt_file", action="append", metavar="NAME", help=text)
    group.add_argument("--negative_prompt_file", metavar="NAME", help="the same for the negative prompt")


def _sampling_flags(command, task: Task) -> None:
    group = command.add_argument_group("sampling")
    add = group.add_argument
    add("--num_inference_steps", "--num_steps", type=number(int, 1, 10000), metavar="N", help="sampling steps")
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


def _file_flags(command) -> None:
    group = command.add_argument_group("model files, by the names that the server lists; a path counts by its last part")
    add = group.add_argument
    add("--unet", metavar="FILE", help="the diffusion model of a graph with one")
    add("--high_unet", metavar="FILE", help="that for high noise, of a graph with two")
    add("--low_unet", metavar="FILE", help="and for low noise")
    add("--lora_path", metavar="FILE", help="the Pusa LoRA of a graph with one model")
    add("--high_lora_path", metavar="FILE", help="that for high noise, of a graph with two")
    add("--low_lora_path", metavar="FILE", help="and for low noise")
    add("--vae", metavar="FILE", help="the VAE")
    add("--clip", metavar="FILE", help="the text encoder")


def _server_flags(command) -> None:
    group = command.add_argument_group("server and files")
    add = group.add_argument
    text = f"default {SERVER}; give it again to share the jobs among several"
    add("--server", action="append", type=server, metavar="URL", help=text)
    text = "how long to wait for a server that is away (default 300)"
    add("--wait", type=number(float, 0, 1e6), default=300.0, metavar="SECONDS", help=text)
    add("--output_dir", type=Path, default=Path("outputs"), metavar="FOLDER", help="where the videos go (default outputs)")


def number(kind: type, least, most, step: int = 1):
    """A type for argparse: a number in a range; whole numbers may be bound to multiples of `step`."""
    rule = f" that is a multiple of {step}" if step > 1 else ""

    def read(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most or (step > 1 and value % step):
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is not a {what} from {least} to {most}{rule}")
        return value

    return read


def positions(text: str) -> list:
    """Latent frames: integers and "last", separated by commas."""
    try:
        return [part if part == "last" else int(part) for part in listed(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of latent frames such as 0,10,20 or 0,last") from None


def noise(text: str) -> list:
    """Noise multipliers, separated by commas."""
    return [number(float, 0, 1)(part) for part in listed(text)]


def listed(text: str) -> list:
    """The parts of a list as 0,1,2 or, as the official V0.5 scripts take it, [0,1,2]."""
    text = text.strip()
    return [part.strip() for part in (text[1:-1] if text[:1] + text[-1:] == "[]" else text).split(",")]


def existing(text: str) -> Path:
    """A file of this machine."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def folder(text: str) -> Path:
    """A folder of this machine."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def file_or_folder(text: str) -> Path:
    """A file or folder of this machine."""
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"there is no file or folder {text}")
    return Path(text)


def server(text: str) -> str:
    """The address of a server; http:// may be left out."""
    url = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
    try:
        good = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as {SERVER}")
    return url.geturl().rstrip("/")
