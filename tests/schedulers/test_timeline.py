"""The text of a timeline: what is written is read back, what cannot be read is told by its line, places are on the grid."""

import random
import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pusa.schedulers import InputError, parse_noise
from pusa.schedulers.geometry import pixel_length
from pusa.schedulers.grammar import LONGEST
from pusa.schedulers.timeline import Item, parse_timeline, place_items, read_timeline, refuse, resolved_text
from pusa.schedulers.timeline.lines import CHOICES

indices = st.one_of(st.integers(0, 400).map(str), st.integers(1, 400).map(lambda n: f"-{n}"), st.just("last"))
names = st.one_of(
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12),
    st.sampled_from(
        ["start.png", "far from home.mp4", 'a "b".png', "a, b.png", "back\\slash.png", "image3", " edge.png", "sub/x.png [output]"]
        + ["#1.png", "a #2.png", "end from end", "\u56fe\u7247\uff0c1.png", "\uff1aa.png", "a:b.png", "a  b.png"]
    ),
).filter(lambda name: not re.search(r"[\r\n]", name))
levels = st.floats(0, 1, width=16).map(lambda value: f"{value:.4f}")
noises = st.one_of(levels, st.lists(levels, min_size=2, max_size=4).map(", ".join), st.tuples(levels, levels).map("..".join))
begins = st.one_of(st.sampled_from(["start", "end"]), st.floats(0, 999).map(lambda seconds: f"{seconds:.2f}s"))


@st.composite
def items(draw):
    renoise = draw(st.sampled_from(CHOICES["renoise"]))
    socket = draw(st.booleans())
    return Item(
        draw(indices),
        draw(st.one_of(st.none(), indices)),
        f"image{draw(st.integers(0, 49))}" if socket else draw(names),
        socket,
        draw(begins),
        draw(noises),
        **{key: draw(st.sampled_from(CHOICES[key])) for key in ("fit", "encode", "resample")},
        renoise=renoise,
        renoise_steps=draw(st.integers(1, 99999)) if renoise == "steps" else 1,
    )


@given(st.lists(items(), max_size=5), st.sampled_from(["", "  # a comment: 0, 1", "\t", "  "]))
def test_what_is_written_is_read_back(written, behind):
    text = "\n".join(f"{item}{behind}" for item in written)
    found = parse_timeline(text)
    assert found == written
    assert "\n".join(map(str, found)) == "\n".join(map(str, written))


@pytest.mark.parametrize(
    "line, item",
    [
        ("0: start.png", Item("0", None, "start.png")),
        ("  40 :middle.png,noise 0.4", Item("40", None, "middle.png", noise="0.4")),
        ("last: end.png, noise 0.5, fit pad # the harbour", Item("last", None, "end.png", noise="0.5", fit="pad")),
        ("0-12: clip.mp4 from end, noise 0.0..0.5", Item("0", "12", "clip.mp4", begin="end", noise="0.0..0.5")),
        ("-13--1: clip.mp4 from 3.2 s, noise 0, .5, 1", Item("-13", "-1", "clip.mp4", begin="3.2s", noise="0, .5, 1")),
        ("20: image2, noise 0.3", Item("20", None, "image2", True, noise="0.3")),
        ('20: "image2"', Item("20", None, "image2", False)),
        ('0: "a, \\"b\\" # c.png" from start, encode still', Item("0", None, 'a, "b" # c.png', encode="still")),
        ("0: far from home.mp4 from end", Item("0", None, "far from home.mp4", begin="end")),
        ("4: a.png, renoise steps 3, resample keep", Item("4", None, "a.png", renoise="steps", renoise_steps=3, resample="keep")),
        (
            "\uff10\uff1a\u56fe\u7247.png\uff0cnoise \uff10\uff0e\uff12\u3001fit crop\r",
            Item("0", None, "\u56fe\u7247.png", noise="0.2"),
        ),
    ],
)
def test_spellings(line, item):
    assert parse_timeline(f"# a film\n\n{line}\n") == [item]
    assert parse_timeline(line)[0].line == 1 and parse_timeline(f"\n{line}")[0].line == 2


@pytest.mark.parametrize(
    "line, told",
    [
        ("start.png", "`start.png` has no colon"),
        ("x: a.png", "`x` is not a place"),
        ("0, 4: a.png", "`0, 4` is not a place"),
        ("0:", "there is no file"),
        ("0: , noise 0.2", "there is no file"),
        ('0: "a.png', "no closing quotation mark"),
        ('0: "a.png" b', "`b` behind the name is not read"),
        ("0: a.mp4 from middle", "`from middle` is no place in a clip"),
        ("0: far from home.mp4", 'A name with `from` in it stands in quotation marks: `"far from home.mp4"`'),
        ("0: a.mp4 from 3.2", "`from 3.2` is no place in a clip; use from start, from end or a time such as from 3.2s"),
        ("0: a.png, noise", "`noise` has an empty part"),
        ("0: a.png, noise 1.5", "outside 0 to 1"),
        ("0: a.png, noise x", "`x` in `noise` is not a number"),
        ("0: a.png, 0.2", "`0.2` is not an option; there are noise, fit, encode, resample, renoise"),
        ("0: a.png, blur 3", "`blur 3` is not an option"),
        ("0: a.png,", "an option is missing between two commas"),
        ("0: a.png, fit cover", "`fit` is `cover`; use crop, pad, stretch"),
        ("0: a.png, renoise steps", "`renoise` is `steps`; use once, always, steps 3"),
        ("0: a.png, renoise steps 0", "`renoise` is `steps 0`"),
        ("0: a.png, noise 0.1, noise 0.2", "`noise` is written twice"),
        ("0: a.png, fit pad, fit crop", "`fit` is written twice"),
        ("0: image50", "there is no socket `image50`; there are image0 to image49"),
    ],
)
def test_a_line_that_cannot_be_read_is_told(line, told):
    with pytest.raises(InputError, match=f"^line 3: .*{re.escape(told)}") as caught:
        parse_timeline(f"0: a.png\n# b\n{line}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "line, length, factor, frames, latents",
    [
        ("0: a", 21, 4, (0, 0), (0, 0)),
        ("1: a", 21, 4, (1, 1), (1, 1)),
        ("4: a", 21, 4, (4, 4), (1, 1)),
        ("5: a", 21, 4, (5, 5), (2, 2)),
        ("last: a", 21, 4, (80, 80), (20, 20)),
        ("-81: a", 21, 4, (0, 0), (0, 0)),
        ("0-12: a", 21, 4, (0, 12), (0, 3)),
        ("68-last: a", 21, 4, (68, 80), (18, 20)),
        ("20-24: a", 21, 4, (20, 24), (6, 6)),
        ("0-last: a", 21, 4, (0, 80), (0, 20)),
        ("12-24: a", 28, 6, (12, 24), (3, 4)),
        ("7: a", 28, 6, (7, 7), (2, 2)),
    ],
)
def test_places(line, length, factor, frames, latents):
    (placed,), mistakes = place_items(parse_timeline(line), length, factor)
    assert not mistakes
    assert (placed.frames[0], placed.frames[-1]) == frames and (placed.latents[0], placed.latents[-1]) == latents
    assert list(placed.multipliers) == parse_noise("0.2", len(placed.latents))
    assert resolved_text([placed]).startswith(f"{frames[0]}{f'-{frames[1]}' if '-' in line[1:] else ''}: a, noise 0.2  # latent")


@pytest.mark.parametrize(
    "lines, line, told",
    [
        ("81: a", 1, "frame 81 is outside the clip. The latent has 21 frames (81 pixel frames), so a place is 0 to 80"),
        ("0: a\n0-90: b", 2, "frame 90 is outside the clip"),
        ("20-8: a", 1, "runs backwards (frame 20 to 8)"),
        ("3-9: a", 1, "multiples of 4. The nearest is 4-8, of 5 frames"),
        ("8-8: a", 1, "multiples of 4. The nearest is 8-12"),
        ("79-last: a", 1, "multiples of 4. The nearest is 76-80"),
        ("0: a\n17: b\n# c\n20: d", 4, "latent frame 5 (frames 17 to 20) is given by line 2 already"),
        ("0: a\n0-12: b", 2, "latent frame 0 (frame 0) is given by line 1 already"),
        ("0-12: a, noise 0, 1", 1, "`noise` lists 2 values for 4 condition frames"),
    ],
)
def test_places_that_cannot_be(lines, line, told):
    placed, mistakes = place_items(parse_timeline(lines), 21)
    assert list(mistakes) == [line] and told in mistakes[line]
    assert len(placed) == len(parse_timeline(lines)) - 1  # the others keep their places
    with pytest.raises(InputError, match=f"^line {line}: "):
        refuse(mistakes)


@given(st.integers(1, 60), st.sampled_from([4, 6]), st.data())
def test_the_nearest_clip_that_is_offered_is_right(length, factor, data):
    first, last = (data.draw(st.integers(0, pixel_length(length, factor) - 1)) for _ in range(2))
    _, mistakes = place_items([Item(str(min(first, last)), str(max(first, last)), "a")], length, factor)
    if mistakes and (offered := re.search(r"nearest is (\d+)-(\d+), of (\d+) frames", *mistakes.values())):
        start, end, count = map(int, offered.groups())
        (placed,), wrong = place_items([Item(str(start), str(end), "a")], length, factor)
        assert not wrong and len(placed.frames) == count == end - start + 1
    else:
        assert not mistakes or length == 1


def test_many_mistakes_are_told_in_part():
    with pytest.raises(InputError, match="line 5: .* 95 more lines have mistakes.$"):
        parse_timeline("x\n" * 100)


def test_any_text_is_answered_in_linear_time():
    """10,000 random texts, and long ones of what a parser may stumble over: time per character does not grow with the length."""
    chance = random.Random(0)
    pieces = [
        "0",
        "last",
        "-",
        ":",
        ", ",
        "noise ",
        "0.2",
        "..",
        "a.png",
        '"',
        "\\",
        " from ",
        "#",
        "\n",
        "\u3000",
        "steps 1",
        "\uff0c",
    ]
    for _ in range(10_000):
        read_timeline("".join(chance.choices(pieces, k=chance.randrange(20))))
    for piece in [*pieces, "0: a\n", '0: "\\', "0: a from ", "0: a, noise 0, ", " # ", "0-4: a, 0"]:
        begun = process_time()
        found, mistakes = read_timeline((piece * LONGEST)[:LONGEST])
        place_items(found, 21)
        assert process_time() - begun < 0.3, piece
    with pytest.raises(InputError, match=f"at most {LONGEST} are read"):
        read_timeline("x" * (LONGEST + 1))
