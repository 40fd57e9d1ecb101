"""The pack adds nothing to the start of ComfyUI: no package is imported for it that ComfyUI has not imported, nor need be there."""

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
pack = {node.define_schema().node_id: node for node in asyncio.run(extension.get_node_list())}
assert len(pack) > 10
took = time.process_time() - began
added = {name.partition(".")[0] for name in set(sys.modules) - before}
sys.modules["peft"] = None  # as where it is not installed
print(pack["PusaTrainLora"].validate_inputs())
print(sorted(added - set(sys.stdlib_module_names)), round(took, 3))
"""
LACKING = "training needs peft in ComfyUI's Python, which it does not bring. Install with: "


def test_only_the_pack_itself_is_imported_and_that_is_quick():
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=host_comfyui.ROOT / "tests", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lacking, line = done.stdout.splitlines()[-2:]
    added, seconds = line.rsplit(" ", 1)
    assert added == "['pusa']"
    assert float(seconds) < 0.5, "seconds of processor time"
    assert lacking == LACKING + 'pip install "accelerate>=1.10" "peft>=0.18"'
