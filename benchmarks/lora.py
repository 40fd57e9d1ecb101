"""Loading and applying a LoRA of rank 512 on the true shapes of Wan 14B, beside ComfyUI's own loader on the same file.

ComfyUI's loader knows only files whose keys begin with `diffusion_model.`, so both are given that form, as .safetensors. The
official file is a .pt without that beginning, which only this pack reads. The network has a few blocks of random bf16 weights.
"""

import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from hosting.process import pack_module

from .measure.peaks import allocated, peaks, resident
from .measure.report import MEMORY_HEADS, TIME_HEADS, Table, main, memory_cells, time_cells
from .measure.side_by_side import interleaved

RANK, STRENGTH = 512, 1.4
LAYERS = {"cpu": 2, "cuda": 4}
BEST, OFFICIAL = "lora.safetensors", "official.pt"
CHECKED = (
    "This pack reads every value of a file and refuses one that is not finite; the pages stay those of the file, which the system "
    "takes back as it needs. ComfyUI's loader reads the values only as it applies them."
)
CORE, OURS, OURS_OFFICIAL = "Load LoRA (Model)", "Load Pusa LoRA", "Load Pusa LoRA, official .pt"


def lora_tensors(network, rank: int) -> dict[str, torch.Tensor]:
    """Random factors in bf16 for every matrix of the blocks, by the keys of the official files."""
    generator, tensors = torch.Generator().manual_seed(1), {}
    for name, weight in network.named_parameters():
        if name.startswith("blocks.") and weight.ndim == 2:
            module, (rows, columns) = name.removesuffix(".weight"), weight.shape
            for factor, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                noise = torch.randn(shape, generator=generator) / shape[1] ** 0.5
                tensors[f"{module}.lora_{factor}.default.weight"] = noise.to(torch.bfloat16)
    return tensors


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """The LoRA in both forms."""
    torch.save(tensors, folder / OFFICIAL)
    save_file({"diffusion_model." + key.replace(".default", ""): value for key, value in tensors.items()}, folder / BEST)


def loaders(model, folder: Path) -> dict:
    """From a file to a patched clone of the model, by loader."""
    import folder_paths
    import nodes

    load_lora = pack_module("pusa_model.lora.load").load_lora
    folder_paths.add_model_folder_path("loras", str(folder))

    def ours(name):
        return lambda: load_lora(model, str(folder / name), STRENGTH, warn=lambda text: None)

    return {
        CORE: lambda: nodes.LoraLoaderModelOnly().load_lora_model_only(model, BEST, STRENGTH)[0],
        OURS: ours(BEST),
        OURS_OFFICIAL: ours(OFFICIAL),
    }


def applied(load):
    """The same, with the weights changed on the device."""
    import comfy.model_management

    return lambda: comfy.model_management.load_models_gpu([load()], force_full_load=True)


def undo() -> None:
    """Take the patches off again: ComfyUI's original weights come back."""
    import comfy.model_management

    comfy.model_management.unload_all_models()


def tables(arguments):
    """One table for loading, one for loading and applying."""
    from .measure import networks

    plan = networks.plan(arguments.quick, arguments.layers, arguments.size)
    layers = arguments.layers or (1 if arguments.quick else LAYERS[plan.device.type])
    wan = networks.Wan("narrow" if arguments.quick else "14B", layers, torch.bfloat16)
    undo()
    with tempfile.TemporaryDirectory(prefix="pusa-lora-") as name:
        folder = Path(name)
        rank = 16 if arguments.quick else RANK
        write(folder, lora_tensors(wan.network, rank))
        what = f"{wan}, rank {rank}, {(folder / BEST).stat().st_size / 2**20:.0f} MiB"
        loads = loaders(wan.model, folder)
        uses = {name: applied(load) for name, load in loads.items()}
        for title, calls in (("Load a LoRA", loads), ("Load and apply a LoRA", uses)):
            times = interleaved(calls, undo, least=arguments.rounds)
            memories = {"resident": peaks(calls, resident, undo)}
            if plan.device.type == "cuda":
                memories["GPU"] = peaks(calls, allocated, undo)
            heads = ["loader", *TIME_HEADS] + [f"{kind} {head}" for kind in memories for head in MEMORY_HEADS]
            rows = [
                [name, *time_cells(times, name)] + [cell for memory in memories.values() for cell in memory_cells(memory, name)]
                for name in calls
            ]
            yield Table(f"{title}: {what}", heads, rows, notes=(CHECKED,) if calls is loads else ())


if __name__ == "__main__":
    sys.exit(main("lora", __doc__, tables, sys.argv[1:]))
