"""A real server with the embedded model, and pictures."""

import http.server
import sys
import threading
import zlib
from pathlib import Path

import host_comfyui
import pytest
from PIL import Image

sys.path += [str(host_comfyui.ROOT), str(Path(__file__).parent)]  # behind ComfyUI, whose `nodes` must be found first

from buckets import Store  # noqa: E402
from command_line import GIVEN, make_server  # noqa: E402


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with make_server(tmp_path_factory.mktemp("comfyui")) as server:
        yield server


@pytest.fixture(scope="module")
def store():
    with Store() as store:
        yield store


@pytest.fixture
def bucket(store, monkeypatch):
    """Name of a new bucket of the store."""
    return store.bucket(monkeypatch)


class Page(http.server.BaseHTTPRequestHandler):
    """Of a server that is no ComfyUI: a page for every path but those of files."""

    def do_GET(self):
        there = not self.path.endswith((".json", ".mp4"))
        self.send_response(200 if there else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")

    do_POST = do_GET

    def log_message(self, *words):
        pass


@pytest.fixture
def page():
    """Address of a server that is no ComfyUI."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with three pictures, of other content in every test."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate(("a", "b", "c")):
        with Image.open(GIVEN / f"nano_{16 * number:02}.png") as picture:
            picture.putpixel((0, 0), (zlib.crc32(str(tmp_path).encode()) % 256, number, 0))
            picture.save(folder / f"{name}.png")
    return folder
