"""A model hub on this machine: the few addresses that huggingface_hub asks for model files, with small contents."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

from devtools.weights.join import MARKS  # noqa: E402

COMMIT = "c0ffee" + "0" * 34


def half(stem):
    """A small safetensors file with the tensor that makes it this half of Mochi's VAE, and one of a name that both halves have."""
    tensors = {"output_norm.weight": [0.5, 1.5], MARKS[stem]: [float(len(stem)), 2.0, 3.0]}
    header, data = {"__metadata__": {"made_by": f"a test, {stem} \u00e4"}}, b""
    for name, values in tensors.items():
        stop = len(data) + 4 * len(values)
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [len(data), stop]}
        data += struct.pack(f"<{len(values)}f", *values)
    text = json.dumps(header).encode() + b"   "
    return len(text).to_bytes(8, "little") + text + data


def python(hub, home, *arguments, answer="", **more):
    """Run a Python that has this hub for the real one, and keeps what it keeps in `home`."""
    environ = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "COMFYUI_PATH"))}
    environ |= {"HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1", "HF_HOME": str(home), "PUSA_DEV_CACHE": str(home)} | more
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, timeout=60, input=answer)


def download(name, hub, models, *flags, answer=""):
    """Run the download of a name into a models folder."""
    command = ["-m", "devtools.weights.download", name, "--comfyui-models", models, *flags]
    return python(hub, models.parent / "home", *command, answer=answer)


def present(models):
    """Every file in a models folder, by its path there."""
    return {str(path.relative_to(models).as_posix()) for path in models.rglob("*") if path.is_file()}


class Hub:
    """`repositories` is {repository: {path: bytes}}. `served` notes every transfer as (path, Range header or None)."""

    def __init__(self, repositories):
        self.repositories = repositories
        self.checksums = {}  # what is listed instead of the truth, by path
        self.stop_after = None  # bytes after which a transfer breaks off
        self.transfers_left = None  # how many more the server answers
        self.served = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def listing(self, repository):
        files = self.repositories[repository]
        siblings = [{"rfilename": ".gitattributes", "size": 1, "blobId": "0" * 40}]
        for path, content in files.items():
            sha256 = self.checksums.get(path) or hashlib.sha256(content).hexdigest()
            lfs = {"sha256": sha256, "size": len(content), "pointerSize": 135}
            siblings.append({"rfilename": path, "size": len(content), "blobId": "0" * 40, "lfs": lfs})
        return {"id": repository, "sha": COMMIT, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"] and self.path.lower().endswith("?blobs=true"):
            repository = "/".join(parts[2:4])
            if repository in self.hub.repositories:
                return self.answer(200, json.dumps(self.hub.listing(repository)).encode(), Content_Type="application/json")
            return self.answer(404, X_Error_Code="RepoNotFound")
        if parts[2:4] == ["resolve", COMMIT]:  # as on the real one, the bytes come from somewhere else
            return self.answer(302, Location="/".join(["/storage", *parts[:2], *parts[4:]]), X_Repo_Commit=COMMIT)
        if parts[0] == "storage":
            return self.transfer("/".join(parts[1:3]), "/".join(parts[3:]))
        return self.answer(404)

    def transfer(self, repository, path):
        hub = self.hub
        if hub.transfers_left is not None:
            hub.transfers_left -= 1
            if hub.transfers_left < 0:
                return self.answer(403)
        wanted = self.headers.get("Range")
        hub.served.append((path, wanted))
        content = hub.repositories[repository][path]
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - begin))
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        stop = len(content) if hub.stop_after is None else hub.stop_after
        self.wfile.write(content[begin:stop])
        self.close_connection = True
