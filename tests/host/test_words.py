"""Words from a real server: Chinese, help pages with their pictures, and the line on a condition node."""

import asyncio
import json
import re

import aiohttp
import graphs
import host_comfyui
import pytest
from messages import binary_messages, messages_until_the_end, queued, texts_on_nodes

from cli.client import ExecutionFailed, PromptRejected

DOCS = host_comfyui.ROOT / "web" / "docs"
WORDS = json.loads((host_comfyui.ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
RISING = {"points": [[0.0, 0.2], [1.0, 0.6]], "interpolation": "linear"}
WRONG = {
    "a number above one": ({"__value__": [0.2, 1.5]}, "`multipliers` is 1.5 for condition frame 2 of 2, outside 0 to 1."),
    "too few numbers": ({"__value__": [0.1, 0.2, 0.3]}, "`multipliers` holds 3 values for 2 condition frames."),
    "no numbers": ("low", "`multipliers` holds no numbers but str."),
}


async def fetched(server, path: str) -> tuple[int, str, bytes]:
    """Status, type and content of what the server has at a path."""
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as answer:
        return answer.status, answer.content_type, await answer.read()


def plotted(*names, positions="0, last", noise="0, 0.5", **changes):
    """A graph that places pictures and plots them; nothing is sampled."""
    graph = {key: graphs.base_graph()[key] for key in ("vae", "empty")}
    graph |= graphs.keyframes(names or ("start", "end"), positions, noise, **changes)
    return graph | {"plot": graphs.node("PusaConditionPlot", condition=["condition", 0], steps=4, shift=5.0)}


def shown(server, graph) -> dict[str, str]:
    """The lines that nodes show while a graph runs, by node."""
    return dict(texts_on_nodes(asyncio.run(asyncio.wait_for(binary_messages(server, graph), 120))))


def test_the_page_gets_chinese_words_for_every_node(ask):
    served = ask(lambda client: client.get("/i18n"))["zh"]["nodeDefs"]
    found = {name for name in ask(lambda client: client.get("/object_info")) if name.startswith("Pusa")}
    assert set(WORDS) - found == {"PusaApplyConditionRaylight"}, "which is for another pack"
    assert {name: served[name] for name in WORDS} == WORDS


SEARCHED = {
    "flf2v": "PusaKeyframes", "inbetween": "PusaKeyframes", "animate picture": "PusaKeyframes", "wan i2v": "PusaKeyframes",
    "continue video": "PusaExtendVideo", "interpolate": "PusaTransition",
}  # fmt: skip


def test_words_that_people_search_for_lead_to_a_node(ask):
    found = ask(lambda client: client.get("/object_info"))
    assert [word for word, name in SEARCHED.items() if word not in found[name]["search_aliases"]] == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", WORDS)
def test_a_help_page_and_its_pictures_are_served_as_they_are(server, name, language):
    """Under the name of the folder, as the page asks for them: a picture from the folder of all pages on."""
    folder = "/extensions/pusa-under-another-name/docs/"
    text = (DOCS / name / f"{language}.md").read_bytes()
    files = [f"{name}/{language}.md", *re.findall(r"!\[.*?\]\((.*?)\)", text.decode("utf-8"))]
    assert len(files) > 1
    for file in files:
        status, kind, content = asyncio.run(fetched(server, folder + file))
        assert status == 200 and content == (DOCS / file).read_bytes()
        assert kind != "text/html", "the page takes HTML for a page that is missing"


def test_a_condition_node_says_what_it_understood(server):
    assert shown(server, plotted()) == {"condition": "0 -> latent 0, clean; 16 -> latent 4, level 0.5"}


def test_every_node_of_a_chain_says_what_it_adds(server):
    graph = plotted("start", positions="0", noise="0.31") | graphs.clip()
    graph |= graphs.video_frames("tail", place="end", noise="0.31", condition=["condition", 0])
    graph["plot"]["inputs"]["condition"] = ["tail", 0]
    assert shown(server, graph) == {
        "condition": "0 -> latent 0, level 0.31",
        "tail": "13-16 -> latent 4, level 0.31; 1 latent frame from condition",
    }


@pytest.mark.parametrize("source", ["curve", "list", "number"])
def test_multipliers_come_from_a_curve_or_from_numbers(server, source):
    """ComfyUI's own nodes for a curve and a number; none of them makes a list, so that is given as a value."""
    nodes = {
        "curve": graphs.node("CurveEditor", curve=RISING),
        "number": graphs.node("PrimitiveFloat", value=0.4),
    }
    multipliers = {"__value__": [0.2, 0.6]} if source == "list" else ["source", 0]
    graph = plotted(multipliers=multipliers) | ({} if source == "list" else {"source": nodes[source]})
    first, last = (0.4, 0.4) if source == "number" else (0.2, 0.6)
    assert shown(server, graph)["condition"] == (
        f"0 -> latent 0, level {first}; 16 -> latent 4, level {last}; noise from multipliers"
    )


@pytest.mark.parametrize("mistake", WRONG)
def test_multipliers_that_cannot_be_used_are_told_at_the_node(ask, mistake):
    multipliers, words = WRONG[mistake]
    with pytest.raises(ExecutionFailed, match=re.escape(words)) as failure:
        ask(lambda client: client.run(plotted(multipliers=multipliers)))
    assert failure.value.node_type == "PusaKeyframes"


def test_a_line_is_shown_in_the_page_that_queued_the_graph_and_in_no_other(server):
    """The other page's first line is that of its own graph, which ran last; graphs of programs without a page say nothing."""

    async def run():
        pages = [f"{server.url}/ws?clientId={page}" for page in ("one", "other")]
        async with aiohttp.ClientSession() as session, session.ws_connect(pages[0]) as one, session.ws_connect(pages[1]) as other:
            for noise, page in (("0.41", "one"), ("0.42", None), ("0.43", "other")):
                await queued(server, session, plotted("start", positions="0", noise=noise), page)
            return [texts_on_nodes(await messages_until_the_end(socket)) for socket in (one, other)]

    lines = asyncio.run(asyncio.wait_for(run(), 120))
    assert lines == [[("condition", f"0 -> latent 0, level {level}")] for level in (0.41, 0.43)]


def test_a_decimal_comma_is_told_on_the_node(server):
    assert shown(server, plotted(noise="0,1"))["condition"] == (
        "0 -> latent 0, clean; 16 -> latent 4, free; `0,1` is two values; one value with a decimal point is `0.1`."
    )


@pytest.mark.parametrize("wrong", [("positions",), ("noise",), ("positions", "noise")], ids=" and ".join)
@pytest.mark.parametrize("name", ["PusaKeyframes", "PusaLatentFrames"])
def test_only_the_widget_with_the_mistake_is_marked_and_in_its_own_words(ask, name, wrong):
    graph = plotted("start", positions="0", noise="0.2")
    if name == "PusaLatentFrames":
        latents = {"latent": ["empty", 0], "frames": ["empty", 0]}
        graph["condition"] = graphs.node(name, **latents, positions="0", noise="0.2")
    graph["condition"]["inputs"] |= dict.fromkeys(wrong, "what?")
    with pytest.raises(PromptRejected) as refused:
        ask(lambda client: client.run(graph))
    errors = refused.value.node_errors["condition"]["errors"]
    assert {error["extra_info"]["input_name"] for error in errors} == set(wrong)
    for error in errors:
        assert f"`what?` in `{error['extra_info']['input_name']}` is not a " in error["details"]
        assert error["details"].count("what?") == 1


def test_a_graph_runs_when_nobody_is_there_to_read_the_line(server):
    async def run():
        async with aiohttp.ClientSession() as session:
            prompt_id = await queued(server, session, plotted(noise="0.11"), None)
            while True:
                async with session.get(f"{server.url}/history/{prompt_id}") as answer:
                    if found := (await answer.json()).get(prompt_id):
                        return found["status"]["status_str"]
                await asyncio.sleep(0.1)

    assert asyncio.run(asyncio.wait_for(run(), 120)) == "success"
