"""A help page read in parts, and what each kind of table on one claims: ``FACTS`` has a check of a row for every header."""

import re
from functools import cache
from pathlib import Path

import pytest
import tiny
import torch
from pusa.pusa_model.condition import Condition
from pusa.pusa_model.timeline import placing as timeline
from pusa.schedulers import (
    InputError,
    Recipe,
    expert_switch,
    flow_match_sigmas,
    latent_frame,
    parse_noise,
    parse_positions,
    pixel_frames,
    pixel_length,
    summary,
)
from pusa.schedulers.level_table import delayed, lag_of_window
from pusa.schedulers.timeline import parse_timeline, place_items, refuse

DOCS = Path(__file__).resolve().parents[1] / "web" / "docs"
FRAMES, LENGTH = 81, 21  # the clip of all examples: 81 video frames, 21 latent frames
TARGET = torch.zeros(1, 16, LENGTH, 2, 2)


def page(node_id: str) -> str:
    return (DOCS / node_id / "en.md").read_text(encoding="ascii")


def section(text: str, title: str) -> str:
    """The words under a ``## title``, up to the next one."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def bullets(text: str) -> dict[str, str]:
    """The list of a section, by the word in backticks that every item begins with."""
    items = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    return {re.match(r"`([^`]+)`", item)[1]: " ".join(item.split()) for item in items}


def tables(text: str) -> list[list[list[str]]]:
    """Every table of a page as rows of cells; the first row is the header."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in block.splitlines()] for block in blocks]


def code(cell: str) -> str:
    return re.fullmatch(r"`([^`]*)`", cell)[1]


def numbers(cell: str) -> list[int]:
    """``0, 9 to 12`` -> [0, 9, 10, 11, 12]"""
    ends = [[int(end) for end in part.split(" to ")] for part in cell.split(",")]
    return [number for each in ends for number in range(each[0], each[-1] + 1)]


def rounded(values) -> list[float]:
    return [round(float(value), 3) for value in values]


def decimals(cell: str) -> list[float]:
    return [float(part) for part in cell.split(",")]


def frames_of(latents: list[int]) -> list[int]:
    return [frame for latent in latents for frame in pixel_frames(latent)]


def place_pictures(positions: str) -> list[int]:
    places = [latent_frame(frame) for frame in parse_positions(positions, FRAMES)]
    Condition.empty(TARGET).check_places(places, [0.0] * len(places))
    return places


def frame_positions(positions, frames, latents):
    assert parse_positions(code(positions), FRAMES) == numbers(frames)
    assert place_pictures(code(positions)) == numbers(latents)


def latent_positions(positions, latents, frames):
    assert parse_positions(code(positions), LENGTH) == numbers(latents)
    assert frames_of(numbers(latents)) == numbers(frames)


def refused_positions(positions, reason):
    assert reason
    with pytest.raises(InputError):
        place_pictures(code(positions))


def picture_line(positions, text, shown):
    asked, places = parse_positions(code(positions), FRAMES), place_pictures(code(positions))
    assert summary(places, parse_noise(code(text), len(places)), asked) == shown


def latent_line(positions, text, shown):
    places = parse_positions(code(positions), LENGTH)
    assert summary(places, parse_noise(code(text), len(places))) == shown


def noise(text, count, multipliers):
    assert rounded(parse_noise(code(text), int(count))) == decimals(multipliers)


def refused_noise(text, count, reason):
    assert reason
    with pytest.raises(InputError):
        parse_noise(code(text), int(count))


def presets(task, positions, text):
    assert task
    count = len(place_pictures(code(positions)))
    assert len(parse_noise(code(text), count)) == count


@cache
def real_vae():
    return tiny.vae()


def clips(taken, place, latents, frames):
    condition = timeline.video_frames(
        real_vae(), TARGET, torch.zeros(FRAMES, 16, 16, 3), "end", int(code(taken)), code(place), "0", "crop"
    )
    assert list(condition.positions) == numbers(latents)
    assert frames_of(numbers(latents)) == numbers(frames)


def clip_line(taken, place, text, shown):
    condition = timeline.video_frames(
        real_vae(), TARGET, torch.zeros(FRAMES, 16, 16, 3), "end", int(code(taken)), code(place), code(text), "crop"
    )
    assert summary(condition.positions, condition.multipliers) == shown


def clip_noise(taken, place, text, multipliers):
    condition = timeline.video_frames(
        real_vae(), TARGET, torch.zeros(FRAMES, 16, 16, 3), "end", int(code(taken)), code(place), code(text), "crop"
    )
    assert rounded(condition.multipliers) == decimals(multipliers)


def lengths(length, latents, frames):
    assert (int(code(length)) - 1) // 4 + 1 == int(latents)  # the rule of ComfyUI's empty video latents
    assert pixel_length(int(latents)) == int(frames)


def sigmas(steps, levels):
    assert rounded(flow_match_sigmas(int(code(steps)))) == decimals(levels)


def experts(steps, high, low):
    switch = expert_switch(flow_match_sigmas(int(code(steps))), 0.875)
    assert (switch, int(code(steps)) - switch) == (int(high), int(low))


def waits(kind, text, levels):
    table = Recipe(code(kind)).table(torch.tensor([float(code(text))]), flow_match_sigmas(4))
    assert rounded(table.levels[:, 0]) == decimals(levels)


def starts(order, lag, block, frames, steps_done):
    grid, free = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]), torch.ones(int(frames))
    done = 4 - 4 * delayed(grid, free, int(code(lag)), int(code(block)), code(order)).levels
    assert ["".join(map(str, row)) for row in done.int().tolist()] == steps_done.split()


def rolled(length, window, steps, block, lag, calls):
    frames = (int(code(length)) - 1) // 4 + 1
    found = lag_of_window(int(code(steps)), int(code(window)), int(code(block)))
    table = delayed(flow_match_sigmas(int(code(steps))), torch.ones(frames), found, int(code(block)))
    assert (found, table.rows) == (int(lag), int(calls))


def place_line(line):
    placed, mistakes = place_items(parse_timeline(line), LENGTH)
    refuse(mistakes)
    (found,) = placed
    return found


def timeline_line(line, frames, latents, multipliers):
    found = place_line(code(line))
    assert list(found.frames) == numbers(frames) and list(found.latents) == numbers(latents)
    assert rounded(found.multipliers) == decimals(multipliers)


def refused_line(line, reason):
    assert reason
    with pytest.raises(InputError):
        place_line(code(line))


FACTS = {
    ("`positions`", "video frames", "latent frames"): frame_positions,
    ("`positions`", "latent frames", "video frames"): latent_positions,
    ("`positions`", "stops because"): refused_positions,
    ("`noise`", "condition frames", "multipliers"): noise,
    ("`noise`", "condition frames", "stops because"): refused_noise,
    ("task", "`positions`", "`noise`"): presets,
    ("`frames`", "`place`", "latent frames", "video frames"): clips,
    ("`frames`", "`place`", "`noise`", "multipliers"): clip_noise,
    ("`positions`", "`noise`", "the node shows"): picture_line,
    ("latent `positions`", "`noise`", "the node shows"): latent_line,
    ("`frames`", "`place`", "`noise`", "the node shows"): clip_line,
    ("`length`", "latent frames", "video frames"): lengths,
    ("`steps`", "sigmas"): sigmas,
    ("`steps`", "high steps", "low steps"): experts,
    ("`kind`", "`noise`", "its level"): waits,
    ("`order`", "`lag`", "`block`", "latent frames", "steps that each frame has made"): starts,
    ("`length`", "`window`", "`steps`", "`block`", "lag", "calls"): rolled,
    ("line", "frames", "latent frames", "multipliers"): timeline_line,
    ("line", "stops because"): refused_line,
}
