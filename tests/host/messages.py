"""What a server sends to the page while a graph runs, and a run that is cancelled on the way."""

import asyncio
import json

import aiohttp
import pytest

from cli.client import ExecutionInterrupted


async def binary_messages(server, graph):
    """The binary messages (kind, content) of one prompt: pictures are kinds 1 and 4, text on a node is kind 3."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/ws?clientId=binary") as socket:
        await queued(server, session, graph, "binary")
        return await messages_until_the_end(socket)


async def queued(server, session, graph, page: str | None) -> str:
    """Queue a graph for a page, or for none, and return its id."""
    client = {} if page is None else {"client_id": page}
    async with session.post(f"{server.url}/prompt", json={"prompt": graph} | client) as answer:
        assert answer.status == 200
        return (await answer.json())["prompt_id"]


async def messages_until_the_end(socket):
    """The binary messages of a page until a prompt that it queued has ended."""
    found = []
    async for message in socket:
        if message.type == aiohttp.WSMsgType.BINARY:
            found.append((int.from_bytes(message.data[:4], "big"), message.data[4:]))
        elif json.loads(message.data)["type"] in ("execution_success", "execution_error"):
            return found


def texts_on_nodes(messages) -> list[tuple[str, str]]:
    """(node, text) of the messages that are text on a node."""
    texts = [(int.from_bytes(content[:4], "big"), content[4:]) for kind, content in messages if kind == 3]
    return [(text[:length].decode(), text[length:].decode()) for length, text in texts]


async def cancelled_at(client, graph, node: str, value: int) -> list[int]:
    """Cancel a graph once one of its nodes has come so far, which must end it soon; returns how far the node was seen to be."""
    prompt_id, there, seen = await client.queue(graph), asyncio.Event(), []

    def watch(progress):
        if progress.node_id == node and progress.value:
            seen.append(progress.value)
            if progress.value >= value:
                there.set()

    following = asyncio.ensure_future(client.follow(prompt_id, watch))
    await asyncio.wait_for(there.wait(), 120)
    await client.cancel(prompt_id)
    with pytest.raises(ExecutionInterrupted):
        await asyncio.wait_for(following, 20)
    return seen
