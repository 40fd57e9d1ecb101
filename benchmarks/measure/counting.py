"""A node pack without nodes that counts calls inside a ComfyUI server; `benchmarks/again.py` puts it there.

Python tells a profile function of every call, so nothing of ComfyUI is changed. GET /calls answers with the numbers so far.
"""

import threading

import comfy.lora
import comfy.sd
import comfy.utils
from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict = {}
COUNTED = {
    "VAE encodes": comfy.sd.VAE.encode,
    "model files read": comfy.utils.load_torch_file,
    "weights patched with a LoRA": comfy.lora.calculate_weight,
}

calls = dict.fromkeys(COUNTED, 0)
codes = {id(function.__code__): name for name, function in COUNTED.items()}


def count(frame, event, argument):
    """What Python calls at every call."""
    if event == "call" and id(frame.f_code) in codes:
        calls[codes[id(frame.f_code)]] += 1


@PromptServer.instance.routes.get("/calls")
async def answer(request):
    return web.json_response(calls)


threading.setprofile(count)  # for threads that begin later, such as the one that runs graphs
