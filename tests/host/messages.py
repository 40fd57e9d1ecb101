"""What a server sends to the page while a graph runs."""

import json

import aiohttp


async def binary_messages(server, graph):
    """The binary messages (kind, content) of one prompt: pictures are kinds 1 and 4, text on a node is kind 3."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/ws?clientId=binary") as socket:
        async with session.post(f"{server.url}/prompt", json={"prompt": graph, "client_id": "binary"}) as answer:
            assert answer.status == 200
        found = []
        async for message in socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                found.append((int.from_bytes(message.data[:4], "big"), message.data[4:]))
            elif json.loads(message.data)["type"] in ("execution_success", "execution_error"):
                return found
