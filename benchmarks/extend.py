"""Extension over many hops, on the embedded model: joins, drift of colours, memory and time.

The world of the embedded model is known, so a join is judged by the motion of the thing: its step from frame to frame, how far it
strays from an even course, and the colours that are seen.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch

from hosting.process import pack_module

from .measure.peaks import peaks, resident
from .measure.report import Limit, Table, memory_ratio
from .measure.report import main as report
from .quality.bench import FOLDER, STRENGTH

DEFAULT, OFFICIAL = "0.0..0.2", "0.0, 0.3, 0.4, 0.5"  # noise over the overlap: of the node, and of the Pusa authors
OVERLAP, NEW, HOPS = 13, 20, 10
MOTIONS = ("circles",)  # it never ends, at an even speed
SIDE = 4  # frames on either side of a join
MOST_OFF = 0.25  # of a frame; a window that begins late is off by half of one, a missing or repeated frame by 1
WAYS = {
    f"frames, noise {DEFAULT}": ("frames", DEFAULT, 0.0),
    f"frames, noise {DEFAULT}, colours matched": ("frames", DEFAULT, 1.0),
    "frames, noise 0": ("frames", "0", 0.0),
    f"frames, noise {OFFICIAL}": ("frames", OFFICIAL, 0.0),
    "latents, noise 0": ("latents", "0", 0.0),
}


class Bench:
    """The embedded model, and scenes that go on for ever."""

    def __init__(self, scenes: int, steps: int = 10, cfg: float = 3.0, folder: Path = FOLDER):
        self.evaluate, self.measure = pack_module("training.nano.quality.evaluate"), pack_module("training.nano.quality.measure")
        self.words, self.frames_room = pack_module("training.nano.words"), pack_module("pusa_model.video.frames")
        self.extension, self.window = pack_module("pusa_model.video.extend"), pack_module("pusa_model.video.window")
        self.condition, self.clip = pack_module("pusa_model.condition"), pack_module("pusa_model.video.clip")
        self.sampling = pack_module("pusa_model.sampling")
        self.codec = codec = self.evaluate.Codec(folder)
        self.nano = self.evaluate.Model(folder, STRENGTH)
        self.vae, self.model = codec.vae, self.nano.model
        task = self.evaluate.Task(codec, scenes, things=1, motions=MOTIONS)
        self.scenes, self.videos = task.scenes, task.videos
        self.settings = {"steps": steps, "cfg": cfg, "shift": 5.0, "sampler_name": "euler", "scheduler": "flow_match"}
        self.negative = [[torch.zeros_like(self.words.embed(""))[None], {}]]

    def prompt(self, scene) -> list:
        return [[self.words.embed(scene.caption)[None], {}]]

    def sampler(self, noise: str, hops: int):
        settings = {"windows": hops, "warn": lambda text: None} | self.settings
        return self.window.WindowSampler(self.model, self.vae, self.negative, noise, **settings)

    def by_frames(self, scene, video, noise: str, color_match: float, hops: int = HOPS) -> torch.Tensor:
        """A clip extended by the pack: every hop is given decoded frames."""
        plan = self.extension.Plan(OVERLAP, NEW, hops, color_match=color_match)
        clip = self.clip.image_clip(video, 16)
        return self.extension.extend(clip, [self.prompt(scene)], self.sampler(noise, hops), plan).frames

    def by_latents(self, scene, video) -> torch.Tensor:
        """The same with the last latents of every window placed at the start of the next, with noise 0."""
        count, length = (OVERLAP + 3) // 4, (OVERLAP + NEW + 3) // 4
        given, parts = self.vae.encode(video[-OVERLAP:]), [video]
        latent = torch.zeros(1, 16, length, *given.shape[-2:])
        for hop in range(HOPS):
            condition = self.condition.Condition.empty(latent).add(given, range(count), [0.0] * count)
            drawn = self.sampling.sample(
                self.model,
                self.prompt(scene),
                self.negative,
                {"samples": latent},
                seed=hop,
                denoise=1.0,
                condition=condition,
                warn=lambda text: None,
                **self.settings,
            )["samples"]
            frames = self.vae.decode(drawn).flatten(0, 1)
            parts.append(frames[OVERLAP:])
            given = drawn[:, :, -count:]
        return torch.cat(parts)


class Judged:
    """What the joins of some videos look like."""

    def __init__(self, bench: Bench, hops: int = HOPS):
        self.bench = bench
        self.at_joins, self.inside = [], []
        self.passed, self.passed_inside = [], []
        self.drift = {1: [], hops: []}
        self.same = True

    def add(self, given: torch.Tensor, frames: torch.Tensor) -> None:
        """Judge one video: [33 + 200, 64, 64, 3]."""
        self.same = self.same and torch.equal(frames[: len(given)], given)
        track = self.bench.measure.look(frames)[0].track
        bends = (track[2:] - 2 * track[1:-1] + track[:-2]).norm(dim=1)
        joins = range(len(given), len(frames), NEW)
        self.passed += [time_passed(track, join) for join in joins]
        self.passed_inside += [time_passed(track, join + NEW // 2) for join in joins]
        near = {place for join in joins for place in (join - 2, join - 1)}
        first = len(given)
        self.at_joins += [bends[place].item() for place in sorted(near)]
        self.inside += [bends[place].item() for place in range(first, len(bends)) if place not in near]
        wanted = self.bench.evaluate.palette(given)
        for hop, found in self.drift.items():
            end = len(given) + hop * NEW
            found.append(self.bench.evaluate.drift(frames[end - NEW : end], wanted))

    def cells(self, true: float) -> list[str]:
        at, inside = rms(self.at_joins), rms(self.inside)
        return [
            "the same bits" if self.same else "CHANGED",
            f"{statistics.median(self.passed):.2f} / {statistics.median(self.passed_inside):.2f}",
            f"{wrong(self.passed, true)} / {wrong(self.passed_inside, true)} of {len(self.passed)}",
            f"{at:.2f} / {inside:.2f} px = {at / inside:.2f}",
            *(f"{statistics.fmean(found):.1f}" for found in self.drift.values()),
        ]

    @property
    def ratio(self) -> float:
        return rms(self.at_joins) / rms(self.inside)


def time_passed(track: torch.Tensor, join: int) -> float:
    """Frames from one side of a join to the other, told from the motion: on a line 1, 0 for a repeated, 2 for a missing frame.

    The way between the middles of the frames on either side, in units of the way that is made within them, is as many frames as
    a side has, and one less or more if a frame is repeated or missing. On a circle it is a little less, so it is to be held
    against the same of the true course.
    """
    before, after = track[join - SIDE : join], track[join : join + SIDE]
    speed = sum((part[-1] - part[0]).norm().item() for part in (before, after)) / (2 * (SIDE - 1))
    return (after.mean(0) - before.mean(0)).norm().item() / speed - (SIDE - 1)


def wrong(passed: list[float], true: float) -> int:
    """Joins that look as if a frame was repeated or missing."""
    return sum(not abs(frames - true) < 0.75 for frames in passed)


def rms(values: list[float]) -> float:
    known = torch.tensor(values)
    return known[~known.isnan()].square().mean().sqrt().item()


def joins(bench: Bench) -> Table:
    """Ten hops, ways of handing on beside each other."""
    judged = Judged(bench)
    for scene, video in zip(bench.scenes, bench.videos):
        judged.add(video, scene.render(len(video) + HOPS * NEW))
    true = statistics.median(judged.passed)
    rows, limits = [["the true course", *judged.cells(true)]], []
    for name, (kind, noise, match) in WAYS.items():
        judged = Judged(bench)
        for scene, video in zip(bench.scenes, bench.videos):
            made = bench.by_frames(scene, video, noise, match) if kind == "frames" else bench.by_latents(scene, video)
            judged.add(video, made)
        rows.append([name, *judged.cells(true)])
        if noise == DEFAULT and not match:
            uneven = wrong(judged.passed, true) / max(1, wrong(judged.passed_inside, true))
            off = abs(statistics.median(judged.passed) - true)
            limits = [
                Limit(f"noise {DEFAULT}: frames passed over a join, off the true course", off, MOST_OFF),
                Limit(f"noise {DEFAULT}: uneven joins / uneven places inside", uneven, 1.5),
                Limit(f"noise {DEFAULT}: bend at the joins / inside", judged.ratio, 1.5),
            ]
    drift = ["drift, hop 1", f"drift, hop {HOPS}"]
    heads = ["handed on", "source", "frames passed over joins / inside", "uneven", "bend at joins / inside", *drift]
    notes = (
        f"{len(bench.scenes)} scenes (a thing that {MOTIONS[0]}), {HOPS} hops of {NEW} frames behind {OVERLAP}. *Frames passed*: "
        "median time over a join, told from the way that the thing makes: one less for a repeated, one more for a missing "
        "frame; beside it the same inside the windows. *Uneven*: how many are off by more than 0.75. *Bend*: second "
        "difference of the place, root mean square. *Drift*: distance of the colours of thing or background, the larger one, "
        "from those of the source, in 255ths. With noise a window moves the frames that it goes on from: those of the "
        "source stay as they are, those of an earlier hop fade into their new place.",
    )
    return Table("Ten hops", heads, rows, tuple(limits), notes)


def first_joins(bench: Bench) -> Table:
    """One hop: the only join is that with the source, whose frames never move."""
    rows = []
    for noise in ("0", DEFAULT, OFFICIAL):
        judged = Judged(bench, hops=1)
        for scene, video in zip(bench.scenes, bench.videos):
            judged.add(video, bench.by_frames(scene, video, noise, 0.0, 1))
        rows.append([noise, f"{statistics.median(judged.passed):.2f}", f"{rms(judged.at_joins):.2f} px"])
    heads = [f"join with the source, {len(bench.scenes)} scenes, noise", "frames passed", "bend"]
    return Table("One hop", heads, rows)


def costs(bench: Bench, side: int, most: int) -> Table:
    """Memory and time of few and of many hops, on larger frames."""
    clip = bench.clip.image_clip(torch.rand(OVERLAP, side, side, 3, generator=torch.Generator().manual_seed(0)), 16)
    prompt, times = bench.prompt(bench.scenes[0]), []

    def run(hops: int, frames_in: str):
        with tempfile.TemporaryDirectory() as folder:  # nothing is known from another run
            bench.frames_room.folder_paths.set_temp_directory(folder)
            times.clear()
            plan = bench.extension.Plan(OVERLAP, NEW, hops)
            told = lambda hop: times.append(time.perf_counter())  # noqa: E731
            bench.extension.extend(clip, [prompt], bench.sampler("0", hops), plan, frames_in, told)
            times.append(time.perf_counter())

    calls = {
        f"{hops} hops, {frames_in}": lambda hops=hops, frames_in=frames_in: run(hops, frames_in)
        for frames_in in ("disk", "memory")
        for hops in (2, most)
    }
    memory = peaks(calls, resident, rounds=2)
    rows = []
    for name in calls:
        share = memory_ratio(memory, name, name.replace(f"{most} hops", "2 hops"))
        rows.append([name, *(["not measured", ""] if share is None else [f"{memory[name] / 2**20:.0f} MiB", f"{share:.3f}"])])
    run(most, "disk")
    took = [later - earlier for earlier, later in zip(times, times[1:])]
    half = most // 2
    early, late = statistics.median(took[1:half]), statistics.median(took[half:])
    limits = [Limit(f"time of a hop, later half / earlier half of {most}", late / early, 1.05)]
    share = memory_ratio(memory, f"{most} hops, disk", "2 hops, disk")
    if share is not None:
        limits.insert(0, Limit(f"peak memory of {most} hops / 2 hops, frames on disk", share, 1.05))
    return Table(f"Memory and time: {side} x {side} frames", ["", "resident peak memory", "of 2 hops"], rows, tuple(limits))


def timeline(bench: Bench) -> Table:
    """The other way to a long video: one latent of 81 frames, sampled in core's context windows, with pictures anywhere on it."""
    from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

    encode = pack_module("pusa_model.timeline.encode")
    found = {"no windows": [], "windows of 33": []}
    for scene in bench.scenes:
        truth, places = scene.render(81), [0, 10, 20]
        pictures = [truth[4 * place] for place in places]
        latent = torch.zeros(1, 16, 21, 8, 8)
        encoded = encode.encode_images(bench.vae, pictures, places, "causal")
        condition = bench.condition.Condition.empty(latent).add(encoded, places, [0.0] * 3)
        windowed = WanContextWindowsManualNode.execute(bench.model, 33, 16, "standard_static", 1, False, "pyramid", False)[0]
        for name, model in zip(found, (bench.model, windowed)):
            drawn = bench.sampling.sample(
                model,
                bench.prompt(scene),
                bench.negative,
                {"samples": latent},
                seed=0,
                denoise=1.0,
                condition=condition,
                warn=lambda text: None,
                **bench.settings,
            )["samples"]
            frames = bench.vae.decode(drawn).flatten(0, 1)
            exact = torch.equal(drawn[:, :, places], encoded)
            at = [bench.evaluate.psnr(frames[4 * place][None], truth[4 * place][None]) for place in places]
            seen, thing = bench.measure.look(frames)[0], scene.things[0]
            found[name].append((exact, statistics.fmean(at), (seen.colour, seen.shape) == (thing.colour, thing.shape)))
    rows = []
    for name, each in found.items():
        exact, at, right = zip(*each)
        bits = "the same bits" if all(exact) else "other"
        rows.append([name, bits, f"{statistics.fmean(at):.1f} dB", f"{sum(right)} of {len(right)}"])
    heads = ["81 frames, pictures at 0, 40 and 80, noise 0", "given latents", "PSNR at the pictures", "colour and shape"]
    return Table("Context windows", heads, rows)


def tables(arguments: argparse.Namespace) -> Iterable[Table]:
    """All of them."""
    quick = arguments.quick
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(1 if quick else 4, steps=2 if quick else 10)
        bench.frames_room.folder_paths.set_temp_directory(folder)
        yield joins(bench)
        yield first_joins(Bench(2 if quick else 24, steps=2 if quick else 10))
        yield timeline(bench)
        light = Bench(1, steps=1, cfg=1.0)
        yield costs(light, 64 if quick else 128, 4 if quick else 20)


if __name__ == "__main__":
    sys.exit(report("extend", __doc__, tables, sys.argv[1:]))
