"""The client and the server process, with core nodes only: what the server refuses, fails and stops is told apart."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# At the end: before ComfyUI's folder, our `nodes` would hide its own.
sys.path.append(str(ROOT))

from cli.client import ComfyClient, ComfyError, ExecutionFailed, ExecutionInterrupted, Progress, PromptRejected, ServerUnreachable
from cli.server import ComfyServer, ServerDied, free_port  # noqa: E402
from devtools.places import prepare_base  # noqa: E402


def node(class_type, **inputs):
    return {"class_type": class_type, "inputs": inputs}


EMPTY = node("EmptyImage", width=64, height=64, batch_size=5, color=255)
VIDEO = {
    "frames": EMPTY,
    "video": node("CreateVideo", images=["frames", 0], fps=16.0),
    "save": node("SaveVideo", video=["video", 0], filename_prefix="video/test", format="mp4", codec="h264"),
}
PREVIEW = {"frames": EMPTY, "show": node("PreviewImage", images=["frames", 0])}


def slow(seed):
    """A chain of nodes, about half a second each: a prompt is stopped between two nodes."""
    graph = {"0": node("EmptyImage", width=512, height=512, batch_size=40, color=seed)}
    for i in range(1, 30):
        graph[str(i)] = node("ImageScaleBy", image=[str(i - 1), 0], upscale_method="lanczos", scale_by=1.0)
    return graph | {"show": node("PreviewImage", images=["29", 0])}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = prepare_base(tmp_path_factory.mktemp("base"), ROOT)
    (base / "models" / "vae").mkdir()
    (base / "models" / "vae" / "broken.safetensors").write_bytes(b"not a model")
    with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=["--cpu"]) as server:
        yield server


@pytest.fixture
def session(server):
    """Runs a coroutine function on a client of its own. No request may take as long as the longest prompt does."""

    def run(talk):
        async def inside():
            async with ComfyClient(server.url, request_timeout=20) as client:
                return await asyncio.wait_for(talk(client), 60)

        return asyncio.run(inside())

    return run


def test_a_video_arrives_on_disk_and_over_http(session, server):
    seen = []

    async def talk(client):
        files = await client.run(VIDEO, seen.append)
        return files, await client.download(files[0])

    files, content = session(talk)
    (file,) = files
    assert (file.node_id, file.subfolder, file.type) == ("save", "video", "output")
    assert file.path(server.base_directory).read_bytes() == content != b""
    assert [progress.title for progress in seen] == ["EmptyImage", "CreateVideo", "SaveVideo"]
    assert [progress.fraction for progress in seen] == [0, 1 / 3, 2 / 3]


def test_a_second_run_is_all_cached_and_still_has_its_files(session):
    async def talk(client):
        first, seen = await client.run(VIDEO), []
        return first, await client.run(VIDEO, seen.append), seen

    first, second, seen = session(talk)
    assert first == second
    assert seen == []


def test_an_uploaded_image_can_be_loaded(session):
    async def talk(client):
        name = await client.upload_image(ROOT / "assets" / "nano" / "input" / "nano_00.png")
        return await client.run(PREVIEW | {"frames": node("LoadImage", image=name)})

    assert [file.type for file in session(talk)] == ["temp"]


def test_two_prompts_of_one_client_keep_their_events_apart(session):
    async def talk(client):
        ids = [await client.queue(PREVIEW), await client.queue(VIDEO)]
        await asyncio.gather(*(client.follow(id) for id in ids))
        return [await client.outputs(id) for id in ids]

    assert [files[0].node_id for files in session(talk)] == ["show", "save"]


def refusal(session, graph):
    with pytest.raises(PromptRejected) as caught:
        session(lambda client: client.queue(graph))
    return caught.value


def test_a_refused_value_is_named_with_its_node_and_limit(session):
    error = refusal(session, VIDEO | {"video": node("CreateVideo", images=["frames", 0], fps=1000.0)})
    assert "node video (CreateVideo), input fps: Value 1000.0 bigger than max of 120.0" in str(error)
    assert error.node_errors["video"]["errors"][0]["type"] == "value_bigger_than_max"


def test_a_missing_node_type_is_named(session):
    assert "'Nonsense' not found" in str(refusal(session, {"a": node("Nonsense")}))


def test_a_graph_that_is_refused_in_part_is_refused(session):
    """The server would run the valid output, and answer 200."""
    bad = {"frames2": node("EmptyImage", width=-1, height=64, batch_size=1, color=0)}
    error = refusal(session, PREVIEW | bad | {"show2": node("PreviewImage", images=["frames2", 0])})
    assert "node frames2 (EmptyImage), input width: Value -1 smaller than min of 1" in str(error)


def test_a_failing_node_is_named_with_its_message(session):
    graph = {
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "vae": node("VAELoader", vae_name="broken.safetensors"),
        "frames": node("VAEDecode", samples=["latent", 0], vae=["vae", 0]),
        "show": node("PreviewImage", images=["frames", 0]),
    }
    with pytest.raises(ExecutionFailed, match=r"Node vae \(VAELoader\) failed: .*[Hh]eader") as caught:
        session(lambda client: client.run(graph))
    assert "load_vae" in caught.value.traceback


def test_running_and_waiting_prompts_can_be_cancelled(session):
    async def talk(client):
        begun = asyncio.Event()
        running, waiting = await client.queue(slow(1)), await client.queue(slow(2))
        first = asyncio.create_task(client.follow(running, lambda progress: begun.set()))
        await begun.wait()
        await client.cancel(waiting)
        await client.cancel(running)
        return await asyncio.gather(first, client.follow(waiting), return_exceptions=True)

    assert [type(result) for result in session(talk)] == [ExecutionInterrupted, ExecutionInterrupted]


def test_a_prompt_may_end_while_it_is_cancelled(session):
    async def talk(client):
        begun, queued = asyncio.Event(), client._queued
        prompt_id = await client.queue(slow(3))
        following = asyncio.create_task(client.follow(prompt_id, lambda progress: begun.set()))
        await begun.wait()

        async def answered_late():
            await asyncio.wait([following])
            return await queued()

        client._queued = answered_late
        await client.cancel(prompt_id)
        return await asyncio.gather(following, return_exceptions=True)

    assert [type(result) for result in session(talk)] == [ExecutionInterrupted]


def test_a_prompt_of_someone_else_cannot_be_followed(session):
    with pytest.raises(ComfyError, match="not one that this client queued"):
        session(lambda client: client.follow("0"))


def test_a_cancellation_that_comes_together_with_an_event_is_not_forgotten(session):
    """As `asyncio.wait_for` does before Python 3.12: Ctrl-C would be followed by all the jobs that wait."""

    async def stop(client):
        for delay in range(6):  # turns of the event loop between the two
            prompt_id = await client.queue(slow(200 + delay))
            following = asyncio.create_task(client.follow(prompt_id))
            await asyncio.sleep(0)
            client._jobs[prompt_id].events.put_nowait(("status", {}))
            for _ in range(delay):
                await asyncio.sleep(0)
            following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(following, 5)
            await client.cancel(prompt_id)

    session(stop)


def test_no_server_is_an_error_that_names_the_address():
    async def talk():
        async with ComfyClient(f"http://127.0.0.1:{free_port()}") as client:
            await client.queue(VIDEO)

    with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1"):
        asyncio.run(talk())


def test_a_server_that_does_not_start_shows_its_log(tmp_path):
    with pytest.raises(ServerDied, match=r"(?s)exit code 2.*unrecognized arguments: --nonsense") as caught:
        with ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], tmp_path, extra_args=["--nonsense"]):
            pass
    assert str(tmp_path) in str(caught.value)


def test_a_node_at_work_counts_by_its_steps():
    assert Progress("a", "A", 5, 10, 1, 2).fraction == 0.75
    assert Progress("a", "A", 0, 0, 1, 2).fraction == 0.5


# The last one, for it stops the server of this file.
def test_a_stopped_server_ends_the_wait(session, server):
    async def talk(client):
        prompt_id = await client.queue(slow(3))
        server.stop()
        await client.follow(prompt_id)

    with pytest.raises(ServerUnreachable, match="closed the connection"):
        session(talk)
