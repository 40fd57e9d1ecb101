"""Clips with given frames: a picture, several in time, and a beginning that goes on."""

from ..measure.report import Table
from .bench import MOVING, SHARES, STRENGTH, Bench, percent

RAMP = (0.0, 0.3, 0.4, 0.5)
WITH_AND_WITHOUT = {f"LoRA {STRENGTH:g}": STRENGTH, "no LoRA": 0.0}


def image_to_video(bench: Bench) -> Table:
    """A first frame."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    conditions = task.keyframes([0], [0.0], "still")
    pictures = bench.codec.decode(conditions(range(bench.count)).frames)[:, 0]
    rows = []
    for name, strength in WITH_AND_WITHOUT.items():
        latents = bench.model(strength).clips(task.scenes, conditions, bench.setting)
        exact = (latents[:, :, :1] == conditions(range(bench.count)).frames).all().item()
        videos = bench.codec.decode(latents)
        first = f"{bench.evaluate.psnr(videos[:, 0], pictures):.0f} dB"
        rows.append([name, "the same bits" if exact else "other", first, *percent(bench.evaluate.agreement(task.scenes, videos))])
    return bench.table("Image to video, noise 0", ["", "first latent", "first frame", *SHARES], rows)


def pictures_in_time(bench: Bench) -> Table:
    """Pictures at several places."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1)
    rows = []
    for what, frames in (("start-end", (0, 32)), ("3 keyframes", (0, 16, 32))):
        for mode in ("still", "causal"):
            conditions = task.keyframes(frames, [0.0] * len(frames), mode)
            for name, strength in WITH_AND_WITHOUT.items():
                videos = bench.codec.decode(bench.model(strength).clips(task.scenes, conditions, bench.setting))
                at = [f"{bench.evaluate.psnr(videos[:, frame], task.videos[:, frame]):.1f}" for frame in frames[1:]]
                jump = max(bench.evaluate.flash(videos, frame) for frame in frames[1:])
                shares = bench.evaluate.agreement(task.scenes, videos)
                whole = f"{bench.evaluate.psnr(videos, task.videos):.1f} dB"
                rows.append([what, mode, name, " / ".join(at) + " dB", f"{jump:.1f}", whole, f"{100 * shares['all']:.1f} %"])
    title = "Start-end and three keyframes, noise 0: PSNR at the later pictures, flash, PSNR of all frames"
    return bench.table(title, ["task", "encode", "", "pictures", "flash", "true clip", "all three"], rows)


def extension(bench: Bench) -> Table:
    """A beginning, clean or noised in part."""
    task = bench.evaluate.Task(bench.codec, bench.count, things=1, motions=MOVING)
    rows = []
    for ramp in (RAMP, (0.0,) * 4):
        conditions = task.beginning(ramp)
        for name, strength in WITH_AND_WITHOUT.items():
            videos = bench.codec.decode(bench.model(strength).clips(task.scenes, conditions, bench.setting))
            errors = bench.evaluate.place_errors(task.scenes, videos)
            told = [f"{error:.2f} px, {still / error:.1f}x" for error, still in errors.values()]
            rows.append([", ".join(map(str, ramp)), name, *told])
    title = "Extension from 13 frames: distance from the true place, and how many times nearer than the last frame"
    return bench.table(title, ["noise", "", "8 frames on", "16 frames on"], rows)
