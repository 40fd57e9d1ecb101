"""The command line: tasks, flags, and what each may be. The names are those of the official scripts."""

import argparse
import difflib
import re
import sys
from collections.abc import Callable

from ..graph.tasks import TASKS
from .groups import (
    GPUS,
    RETRIES,
    file_flags,
    given_flags,
    graph_flags,
    needless_flags,
    prompt_flags,
    ray_flags,
    sampling_flags,
    server_flags,
)
from .lines import jobs_of
from .official import SAME, family, needless, translate
from .values import SERVER

DESCRIPTION = """\
Make videos on a ComfyUI server that has this pack, or on several. The graphs of workflows/api are filled with your settings
and posted; whatever you leave out stays as it is there. `merge` and `train` are python -m cli.merge and python -m
training.train, with the flags of the guides too."""
MORE_EXAMPLES = """\
  python -m cli v2v --prompt "The ship sails on" --video_path ship.mp4 --cond_position 0,1,2,3 --noise_multipliers 0.2,0.4,0.4,0.4
  python -m cli i2v --inputs pictures --output_dir videos --server http://gpu1:8188 --server http://gpu2:8188
  python -m cli i2v --jobs jobs.jsonl --output_dir s3://bucket/run7 --ray auto --comfyui /opt/ComfyUI
  python -m cli keyframes --model mochi --prompt "A year passes" --multi_cond '{"0": ["may.png", 0.3], "27": ["snow.png", 0.7]}'
  python -m cli i2v --model nano --image_paths assets/nano/input/nano_00.png
  python -m cli timeline --model nano --timeline assets/nano/input/nano_film.txt
  python -m cli merge --base_model wan.safetensors --lora_path pusa_v1.pt:1.4 --output_path wan_pusa.safetensors"""
EPILOG = """\
A file goes to the server by itself, and the video comes back into --output_dir with a record of what it was made from. The same
command again makes nothing twice: it goes on where it was stopped, and makes only what is missing or was changed; no video is
replaced. Lines of the official scripts run as they are: --image_path, --image, --noise_multiplier, --num_steps and --steps are
other names of flags here, and what has no meaning here (--base_dir, --model_dir, --offload and others) is told and passed over.
exit codes: 0 all done, 1 a job failed, 2 flags, graph or cluster cannot be used, 130 stopped by Ctrl-C"""
WHICH = {
    "completion": """\
The latent frames of the clip at --cond_position stay at their places in a video of the usual length, and all others are new:
0,20 is the official completion, 0,1,2,3 the official extension: the first 13 frames of the clip are kept, 81 come out. Called
as `extension`, 0,1,2,3 is what holds without --cond_position. The clip reaches as far as the last of them: 0,20 takes one of 81
frames, 0,-1 one of any length, for -1 is its end. `extend` is another task: it goes on from the END of a clip.
""",
    "extend": """\
Goes on from the END of the clip: 81 frames become 149. The official extension is another task: it keeps the first 13 frames of
the clip and makes a video of 81. That is `extension`, or `v2v --cond_position 0,1,2,3`.
""",
    "transition": """\
Leads from the END of one clip to the START of another. With --video_start_dir and --video_end_dir it is the official one: one
video that begins as the first clip does and ends as the first half of the second.
""",
}


def parser() -> tuple:
    """The command line, and {task: its own}."""
    examples = "\n".join(f"  python -m cli {name} {task.example}" for name, task in TASKS.items())
    epilog = f"examples:\n{examples}\n{MORE_EXAMPLES}\n\n{EPILOG}"
    top = _parser(argparse.ArgumentParser, prog="python -m cli", description=DESCRIPTION, epilog=epilog)
    commands = top.add_subparsers(dest="called", required=True, metavar="TASK")
    made = {}
    for name, task in TASKS.items():
        epilog = f"example:\n  python -m cli {name} {task.example}\n\n{EPILOG}"
        text = f"{task.text[0].upper()}{task.text[1:]}."
        description = f"{text}\n\n{WHICH[name]}" if name in WHICH else text
        usage = f"python -m cli {name} [FLAG ...]     (-h lists the flags)"
        own = {"usage": usage, "help": task.text, "description": description, "epilog": epilog}
        command = made[name] = _parser(commands.add_parser, name, aliases=task.names, **own)
        command.set_defaults(task=name)
        graph_flags(command)
        given_flags(command, name, task)
        prompt_flags(command, name)
        sampling_flags(command, task)
        file_flags(command)
        server_flags(command)
        ray_flags(command)
        needless_flags(command)
    return top, made


def parse(arguments: list) -> argparse.Namespace:
    """Read a command line; wrong flags end with exit code 2, under the usage of their task.

    Other names of tasks and flags become those of our own; what has no meaning here is told.
    """
    top, commands = parser()
    given, rest = top.parse_known_args(with_values(own_names(arguments)))
    refuse = commands[given.task].error
    if rest:
        refuse(unknown(rest, given.task, commands))
    for line in needless(vars(given)):
        print(line, file=sys.stderr)
    check_where(given, refuse)
    if given.jobs:
        given.listed = jobs_of(given.jobs, given, commands[given.task], refuse, understand)
    else:
        understand(given, refuse)
    for why in dict.fromkeys(line.flags.why for line in given.listed) if given.jobs else [given.why]:
        if why:
            print(why, file=sys.stderr)
    given.server = list(dict.fromkeys(given.server or [SERVER]))
    return given


def understand(given: argparse.Namespace, refuse: Callable[[str], None]) -> None:
    """Put into the flags of a video what others of them mean, and refuse what cannot be; `why` is what is to be told of it."""
    given.model, given.why = (given.model, "") if given.model else family(vars(given))
    translate(given, refuse)
    check(given, refuse)


def check(given: argparse.Namespace, refuse: Callable[[str], None]) -> None:
    """Refuse flags of a video that do not go together, or too many files."""
    task = TASKS[given.task]
    flag = {"": "", "pictures": "--image_paths", "videos": "--video_paths", "timeline": "--timeline"}[task.files]
    files = getattr(given, flag[2:], None) or []
    if getattr(given, "multi_cond", None):
        flag = "--multi_cond"
    if getattr(given, "inputs", None):
        if files:
            refuse(f"{flag} and --inputs cannot be given together")
        if given.output:
            refuse("--output is one video, and --inputs makes several; give --output_dir")
    elif not task.least <= len(files) <= task.most:
        allowed = f"{task.least} to {task.most}" if task.least < task.most else task.least
        refuse(f"{flag} takes {allowed} for {given.task}, not {len(files)}" + (", or give --inputs" if task.suffixes else ""))
    if given.lightx2v and given.model not in ("wan21", "wan22"):
        refuse("--lightx2v belongs to wan21 and wan22")


def check_where(given: argparse.Namespace, refuse: Callable[[str], None]) -> None:
    """Refuse flags that do not go together of where videos come from, are made, and go."""
    if given.output and given.output_dir:
        refuse("--output and --output_dir cannot be given together")
    if given.jobs and given.output:
        refuse("--output is one video, and --jobs makes several; give --output_dir")
    for flag in ("inputs", "prompt_dir", "image_dir", "video_dir"):
        if given.jobs and getattr(given, flag, None):
            refuse(f"--jobs and --{flag} cannot be given together; each line of the file names its own")
    if given.ray and given.server:
        refuse("--ray and --server cannot be given together: Ray starts its own ComfyUI on each worker")
    if given.ray and not given.comfyui:
        refuse("--ray needs --comfyui DIR, the folder of ComfyUI on the workers, with this pack in its custom_nodes")
    for flag in ("comfyui", "comfyui_python", "comfyui_flags", "gpus_per_job", "retries"):
        if not given.ray and getattr(given, flag) is not None:
            refuse(f"--{flag} goes with --ray")
    given.gpus_per_job, given.retries = (
        default if value is None else value for value, default in ((given.gpus_per_job, GPUS), (given.retries, RETRIES))
    )


def with_values(arguments: list) -> list:
    """A command line in which values that begin with a minus sign, as -3,-2,-1, are not taken for flags: --flag=-3,-2,-1."""
    words = []
    for word in arguments:
        if words and words[-1].startswith("--") and "=" not in words[-1] and re.match(r"-\d", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def own_names(arguments: list) -> list:
    """A command line with the names of our own in the place of other names of flags."""
    words = [word.partition("=") for word in arguments]
    return [SAME.get(flag, flag) + equals + value for flag, equals, value in words]


def unknown(rest: list, task: str, commands: dict) -> str:
    """What to say of words that no flag of a task takes: which flag is nearest, or whose it is."""
    flags = {name: [*command._option_string_actions] for name, command in commands.items()}
    said = f"unrecognized arguments: {' '.join(rest)}"
    for word in [word.partition("=")[0] for word in rest if word.startswith("--")][:1]:
        others = [name for name in flags if word in flags[name]]
        if others:
            return f"{said}; {word} is a flag of {', '.join(others)}"
        if near := difflib.get_close_matches(word, [*flags[task], *SAME], 1):
            return f"{said}; did you mean {SAME.get(near[0], near[0])}?"
    return said


def _parser(make, *arguments, **words):
    def style(prog: str) -> argparse.HelpFormatter:
        return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)

    return make(*arguments, **words, formatter_class=style, allow_abbrev=False)
