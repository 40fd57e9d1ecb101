"""The embedded LoRA trained further on clips of a motion that it does not know: things that go aslant.

Every such clip follows from a seed. Words that are known say where the thing goes (*moves right moves down*); the world has
straight courses along its sides only. Half of the clips that are trained on are ordinary ones, so that nothing is forgotten.
"""

from __future__ import annotations

import csv
import random
import sys
import tempfile
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from hosting.process import pack_module

from ..measure.report import Limit, Table
from .bench import Bench, percent

ACROSS, DOWN = ("moves right", "moves left"), ("moves down", "moves up")
FIRST = 2_000_000  # seed of the first clip; the embedded model was trained on others
CLIPS, HELD_OUT = 96, 16  # clips of either kind to train on; clips for the conditional loss
SAMPLED = 40  # clips of the new motion that are sampled at most
STEPS, BATCH, RATE = 200, 16, 1e-3
MOST_LOST = 2.0  # points of text to video
WIDEST, STRAIGHT = 2.5, 2.0  # longer side of a course to the shorter; pixels off a line
PATTERNS = ("i2v", "start_end", "extension", "t2v")


def held_out(thing) -> bool:
    """Whether a colour, a shape and a direction are kept from training together."""
    world = pack_module("training.nano.world")
    ways = [f"{one} {other}" for one in ACROSS for other in DOWN]
    return (list(world.COLOURS).index(thing.colour) + world.SHAPES.index(thing.shape) + ways.index(thing.motion)) % 7 == 0


def scene(seed: int, kept: bool = False):
    """The scene of a seed, with one thing that goes aslant; ``kept``: of the combinations that are kept from training."""
    world, draw = pack_module("training.nano.world"), random.Random(f"aslant {kept} {seed}")
    while True:
        told = world.words(draw, ACROSS) | {"motion": f"{draw.choice(ACROSS)} {draw.choice(DOWN)}"}
        low, high = world.Thing(**told, start=(0, 0)).room
        start, velocity = [], []
        for forwards in ("right" in told["motion"], "down" in told["motion"]):
            speed = draw.uniform(0.7, (high - low) / (world.FRAMES - 1))
            begin = draw.uniform(low, high - speed * (world.FRAMES - 1))
            start.append(begin if forwards else world.SIDE - 1 - begin)
            velocity.append(speed if forwards else -speed)
        thing = world.Thing(**told, start=tuple(start), velocity=tuple(velocity))
        if held_out(thing) == kept:
            return world.Scene(draw.choice(list(world.BACKGROUNDS)), (thing,))


def direction(track: Tensor) -> str:
    """Where a thing goes aslant, in the words of ``scene``; ``none`` where its course [T, 2] is along a side, or is bent."""
    frames = torch.arange(len(track))[~track[:, 0].isnan()]
    if len(frames) < 0.9 * len(track):
        return "none"
    course = track[frames].double()
    across, down = (course[-1] - course[0]).tolist()
    bent = pack_module("training.nano.quality.measure").fit(course, [frames.double()]) > STRAIGHT
    if bent or max(abs(across), abs(down)) > WIDEST * min(abs(across), abs(down)):
        return "none"
    return f"{ACROSS[across < 0]} {DOWN[down < 0]}"


def aslant(scenes: Iterable, videos: Tensor) -> float:
    """Share of clips whose thing goes where its scene says."""
    look = pack_module("training.nano.quality.measure").look
    right = [direction(look(video)[0].track) == scene.things[0].motion for scene, video in zip(scenes, videos)]
    return sum(right) / len(right)


@dataclass
class Made:
    """What a LoRA makes.

    Attributes:
        losses: the conditional loss on clips that are kept from training, by pattern.
        picture: share of clips from a picture that go aslant as the scene says.
        places: distance from the true place in pixels, 8 and 16 frames behind 13 given ones.
        words: shares of the ordinary scenes that show what their words say.
    """

    losses: dict[str, float]
    picture: float = 0.0
    places: list[float] = field(default_factory=list)
    words: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def store(folder: Path, scenes: list) -> None:
    """The clips of scenes, encoded."""
    import comfy.latent_formats

    ship, causal, vae, words = (pack_module(f"training.nano.{name}") for name in ("ship", "causal", "vae", "words"))
    scale, network = comfy.latent_formats.Wan21(), vae.load(ship.FOLDER / ship.PLACES["vae"]).float()
    with pack_module("training.store").StoreWriter(folder) as writer:
        writer.add_prompt("", words.embed(""))
        for number, each in enumerate(scenes):
            video = (2 * each.render() - 1).movedim(-1, 0)[None]
            latent = scale.process_in(causal.encode(network, video))[0]
            writer.add(f"{number:03}", latent, each.caption, words.embed(each.caption))


def train(folder: Path, lora: Path, clips: int, steps: int, batch: int) -> tuple[Path, dict[int, dict[str, float]]]:
    """Train a LoRA further; returns the new file and the conditional loss by step."""
    ship, world = pack_module("training.nano.ship"), pack_module("training.nano.world")
    store(folder / "new", [scene(FIRST + number) for number in range(clips)])
    store(folder / "ordinary", [world.scene(FIRST + number) for number in range(clips)])
    store(folder / "kept", [scene(number, kept=True) for number in range(min(HELD_OUT, clips))])
    run = [str(folder / "new"), str(folder / "ordinary"), "--model", str(ship.FOLDER / ship.PLACES["base"]), "--cpu"]
    run += ["--init_lora", str(lora), "--output", str(folder / "run"), "--mixed_precision", "no", "--preload"]
    run += ["--steps", str(steps), "--batch_size", str(batch), "--learning_rate", str(RATE), "--lr_schedule", "cosine"]
    run += ["--warmup", str(steps // 20), "--grad_clip", "1", "--p_condition", "0.7", "--p_async", "0.7"]
    run += ["--validate", str(folder / "kept"), "--validate_every", str(steps), "--validate_clips", str(HELD_OUT)]
    with redirect_stdout(sys.stderr):
        code = pack_module("training.train").main(run)
    if code:
        raise SystemExit(code)
    with open(folder / "run" / "log.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["validation"]]
    losses = {int(row["step"]): {name: float(row[name]) for name in PATTERNS} for row in rows}
    return next((folder / "run").glob(f"*_step{steps:05}.safetensors")), losses


def tell(bench: Bench, lora: Path, made: Made) -> Made:
    """Sample with a LoRA at strength 1, and look at the clips."""
    evaluate = bench.evaluate
    model = evaluate.Model(bench.folder)
    model.model = pack_module("pusa_model.lora.load").load_lora(model.model, str(lora), 1.0, warn=lambda text: None)
    task = evaluate.Task(bench.codec, bench.count, things=1)
    made.words = evaluate.agreement(task.scenes, bench.codec.decode(model.clips(task.scenes, None, bench.setting)))
    task = evaluate.Task(bench.codec, 0)
    task.scenes = [scene(1000 + number, kept=True) for number in range(min(SAMPLED, bench.count))]
    pictures = bench.codec.decode(model.clips(task.scenes, task.keyframes([0], [0.0], "still"), bench.setting))
    made.picture = aslant(task.scenes, pictures)
    begun = bench.codec.decode(model.clips(task.scenes, task.beginning((0.0,) * 4), bench.setting))
    made.places = [error for error, _ in evaluate.place_errors(task.scenes, begun).values()]
    return made


def trained_further(bench: Bench, clips: int = CLIPS, steps: int = STEPS, batch: int = BATCH) -> Table:
    """A row for the embedded LoRA and one for what it becomes."""
    ship = pack_module("training.nano.ship")
    shipped = bench.folder / ship.PLACES["lora"]
    with tempfile.TemporaryDirectory(prefix="pusa-tuned-") as name, torch.inference_mode(False):
        tuned, losses = train(Path(name), shipped, clips, steps, batch)
        with torch.inference_mode():
            before, after = tell(bench, shipped, Made(losses[0])), tell(bench, tuned, Made(losses[steps]))
    return table(bench, before, after, clips, f"{steps} steps of {batch} further")


def table(bench: Bench, before: Made, after: Made, clips: int, further: str) -> Table:
    """Both beside each other, and what the second is held to."""
    rows = [
        [name, *(f"{each.losses[pattern]:.3f}" for pattern in PATTERNS), f"{100 * each.picture:.1f} %"]
        + [", ".join(f"{place:.2f}" for place in each.places) + " px", percent(each.words)[3]]
        for name, each in (("as it is", before), (further, after))
    ]
    limits = [
        Limit(f"conditional loss {pattern} to that of the embedded LoRA", after.losses[pattern] / before.losses[pattern], 1.0)
        for pattern in PATTERNS[:3]
    ]
    limits.append(Limit("share of clips from a picture that go aslant before, less that now", before.picture - after.picture, 0.0))
    limits.append(Limit("distance from the true place 16 frames on, to that before", after.places[1] / before.places[1], 1.0))
    lost = round(100 * (before.words["all"] - after.words["all"]), 6)
    limits.append(Limit("points of text to video that are lost", lost, MOST_LOST))
    title = "The embedded LoRA trained further on things that go aslant, strength 1"
    heads = ["LoRA", *(f"loss {pattern}" for pattern in PATTERNS), "aslant from a picture", "8 and 16 frames behind 13", "by words"]
    note = (
        f"Trained on {clips} new and {clips} ordinary clips, measured on combinations of colour, shape and direction that were "
        f"kept from it: the conditional loss on {min(HELD_OUT, clips)} clips; from a picture and behind 13 frames "
        f"{min(SAMPLED, bench.count)} clips; *by words*: all three right in ordinary scenes."
    )
    return bench.table(title, heads, rows, note, limits)
