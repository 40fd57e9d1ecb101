"""What a run begins from, and the checkpoints of both forms that it leaves, as one."""

import torch
from pusa.training.keeping.checkpoint import read_checkpoint
from pusa.training.store import StoreWriter
from safetensors.torch import save_file
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save


def written(folder, clips, wan_weights):
    """How a command line in float32 on the CPU begins: a store of the eight clips, and the file of the tiny Wan."""
    save_file(wan_weights, folder / "wan.safetensors")
    with StoreWriter(folder / "store") as writer:
        for index, (latent, context) in enumerate(clips):
            writer.add(f"{index}.mp4", latent, f"caption {index % 2}", context)
    return [str(folder / "store"), "--model", str(folder / "wan.safetensors"), "--cpu", "--mixed_precision", "no"]


def everything(path):
    """Content of a checkpoint; of a folder of parts with the tensors, as PyTorch's own tool puts them together."""
    content = read_checkpoint(path)
    if path.is_file():
        return content
    dcp_to_torch_save(path, path.with_suffix(".whole"))
    tensors = torch.load(path.with_suffix(".whole"), weights_only=True)
    path.with_suffix(".whole").unlink()
    content["trained"] = {name.removeprefix("trained."): tensors[name] for name in tensors if name.startswith("trained.")}
    for name in tensors.keys() - {f"trained.{each}" for each in content["trained"]}:
        _, index, key = name.split(".")
        content["optimizer"]["state"][int(index)][key] = tensors[name]
    return content
