"""Small files under the very names that the ready graphs ask for, each of the architecture that the name stands for."""

import shutil
import zlib
from pathlib import Path

import av
import host_comfyui
import mochi
import relatives
import tiny
import torch
from films import write_film
from PIL import Image
from pusa.pusa_model.prompts.stored import pack_prompt
from safetensors.torch import save_file

from benchmarks.real.graphs import files_of, graph_of

PROMPTS = {"positive": tiny.prompt(3), "negative": tiny.prompt(4)}


def wan_file(name: str) -> dict[str, torch.Tensor]:
    """Weights of a diffusion model by the name of its file."""
    if "vace" in name:
        vace = relatives.RELATIVES["VACE"]
        return tiny.wan_weights(network=vace.network, **vace.config)
    if "5B" in name:
        return tiny.wan_weights(channels=48, out_dim=48)
    return tiny.wan_weights(10 if "low_noise" in name else 0)


def vae_file(name: str) -> dict[str, torch.Tensor]:
    """Weights of a VAE by the name of its file."""
    return mochi.vae_weights() if "mochi" in name else tiny.wan22_vae_weights() if "2.2" in name else tiny.vae_weights()


def lora_file(name: str) -> dict[str, torch.Tensor]:
    """A LoRA with the keys of Pusa's files, or with ComfyUI's for another's."""
    weights = tiny.lora_weights(zlib.crc32(name.encode()))
    return weights if "pusa" in name else {f"diffusion_model.{key.replace('.default', '')}": each for key, each in weights.items()}


def write(path: Path, kind: str) -> None:
    """One file; a network of Mochi is a stand-in of the server (`stand_ins.py`)."""
    make = {"diffusion_models": wan_file, "vae": vae_file, "loras": lora_file}[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in make(path.name).items()}
    if path.suffix == ".pt":
        torch.save(weights, path)
    else:
        save_file(weights, path)


def write_all(base: Path, names: list[str]) -> None:
    """What graphs of these names need in a base directory: models, prompts, small pictures and clips."""
    for folder, file in dict.fromkeys(found for name in names for found in files_of(graph_of(name))):
        if folder != "text_encoders":
            write(base / "models" / folder / file, folder)
    (base / "models" / "prompts").mkdir(parents=True)
    for word, (features, options) in {"positive": mochi.random_prompt()[0], "negative": mochi.empty_prompt()[0]}.items():
        for family, prompt in {"mochi": [[features, options]], "wan": PROMPTS[word]}.items():
            tensors, metadata = pack_prompt(prompt)
            save_file(tensors, base / "models" / "prompts" / f"{family}_{word}.safetensors", metadata)
    shutil.copytree(host_comfyui.ROOT / "assets" / "input", base / "input")
    for film in (base / "input").glob("*.mp4"):
        with av.open(str(film)) as container:
            stream = container.streams.video[0]
            frames, rate = stream.frames, int(stream.average_rate)
        write_film(film, frames, rate)
    for picture in (base / "input").glob("*.jpg"):
        Image.open(picture).resize((96, 80)).save(picture)
