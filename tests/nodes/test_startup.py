"""The pack adds nothing to ComfyUI's start: no package is imported for it that ComfyUI has not imported itself."""

import subprocess
import sys

import host_comfyui

START = """
import asyncio, sys, time
import host_comfyui
host_comfyui.start()
import nodes, server
asyncio.run(nodes.init_builtin_extra_nodes())
before, began = set(sys.modules), time.process_time()
extension = asyncio.run(host_comfyui.load_pack().comfy_entrypoint())
asyncio.run(extension.on_load())
assert len(asyncio.run(extension.get_node_list())) > 10
took = time.process_time() - began
added = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(added - set(sys.stdlib_module_names)), round(took, 3))
"""


def test_only_the_pack_itself_is_imported_and_that_is_quick():
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=host_comfyui.ROOT / "tests", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    added, seconds = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert added == "['pusa']"
    assert float(seconds) < 2, "seconds of processor time"
