"""Loading a LoRA onto the device and off it again, many times: the same bits as the first time, in the same memory."""

import comfy.model_management
import psutil
import tiny
import torch
from pusa.pusa_model.lora.load import load_lora
from safetensors.torch import save_file
from sampled import empty, given, run

ROUNDS, SETTLED = 50, 10


def test_fifty_loads_and_unloads_leave_no_trace(wan_weights, positive, tmp_path):
    """Two LoRAs, the strength of one changing, between two runs of the same.

    Resident memory may grow by 2 % once it has settled: a tenth of what 40 copies of the weights would take.
    """
    model = tiny.wan_model(wan_weights)
    pusa, other = tmp_path / "pusa.safetensors", tmp_path / "lightx2v.pt"
    save_file(tiny.lora_weights(rank=16), pusa)
    torch.save(tiny.lora_weights(seed=8, rank=16), other)
    latent = empty(3)
    condition = given(latent, "0", "0.2")

    def sampled(strength):
        patched = load_lora(model, str(pusa), strength, warn=lambda text: None)
        patched = load_lora(patched, str(other), 1.0)
        comfy.model_management.load_models_gpu([patched])
        result = run(patched, positive, positive, latent, condition, steps=1, warn=lambda text: None)
        comfy.model_management.unload_all_models()
        return result

    first, sizes = sampled(1.4), []
    for i in range(ROUNDS):
        changed = sampled(1.0 + 0.02 * i)
        sizes.append(psutil.Process().memory_info().rss)
    assert not torch.equal(changed, first)
    assert torch.equal(sampled(1.4), first)
    assert max(sizes[SETTLED:]) <= 1.02 * min(sizes[SETTLED:])
    assert not comfy.model_management.loaded_models() and not model.patches
    held = model.model.diffusion_model.state_dict()
    assert all(torch.equal(held[key], weight) for key, weight in wan_weights.items())
