"""The line that a node says of itself: it stays when the job has ended, and comes to no page that did not queue the graph."""

import json

import host_comfyui
import pytest

from workflows.source.words.titles import TITLES

FOLDER = host_comfyui.ROOT / "workflows"
LINE = "0 -> latent 0, clean"
ELSEWHERE = """async prompt => {
    const answer = await fetch('/prompt', { method: 'POST', body: JSON.stringify({ prompt, client_id: 'another page' }) });
    return (await answer.json()).prompt_id;
}"""
CHANGE = """([name, value]) => {
    for (const node of app.graph.nodes) for (const widget of node.widgets ?? []) if (widget.name === name) widget.value = value;
}"""


def lines(editor) -> int:
    """How often the line is read in the page, a second after the last thing that happened."""
    editor.evaluate("() => new Promise(done => setTimeout(done, 1000))")
    return editor.evaluate("line => document.body.innerText.split(line).length - 1", LINE)


def run(editor, steps: int) -> None:
    editor.evaluate(CHANGE, ["steps", steps])
    editor.finished(editor.queue())


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes2"])
def test_a_line_stays_after_the_job_in_the_page_that_queued_it(editor, nodes2):
    """Also after a run in which the node came from the cache; and what another page queued says nothing here."""
    editor.nodes2(nodes2)
    editor.open(json.loads((FOLDER / f"{TITLES['demo_i2v']}.json").read_text(encoding="utf-8")), "lines")
    editor.evaluate(CHANGE, ["steps", 1])
    editor.finished(editor.evaluate(ELSEWHERE, editor.prompt()))
    assert lines(editor) == 0
    for steps in (1, 2):
        editor.evaluate(CHANGE, ["fit", "pad" if nodes2 else "stretch"])  # so that it runs
        run(editor, steps)
        assert lines(editor) == 1
    assert editor.errors == [] and editor.messages() == []
