"""Damaged files in the folders of a server: each is told in a sentence, or gives the value of what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from .host import Answer, Bench
from .material.damage import damaged
from .material.films import CONTAINERS, write_film
from .material.references import LOADERS, PROMPTS, SAMPLED, extension, merged, node, probe
from .tally import Tally

Given = tuple[str, bytes]  # a suffix and a sound file


def tensors(path: Path) -> dict[str, torch.Tensor] | None:
    """What another reader finds in a file; None if it is no file of tensors."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, weights_only=True)
    except Exception:  # each reader has its own for each kind of damage
        return None


def bitwise(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same, NaN included."""
    return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()


class Loras:
    """LoRA files: the sampled latent is that of ComfyUI's own loader, or the file is refused."""

    folder = "models/loras"

    def __init__(self, bench: Bench):
        path = bench.base / self.folder / "pusa_tiny_lora.safetensors"
        plain = {f"diffusion_model.{name}": tensor for name, tensor in safetensors.torch.load_file(path).items()}
        whole = path.with_name("whole.pt")
        torch.save(plain, whole)
        self.names = set(plain)
        self.given: list[Given] = [(".safetensors", safetensors.torch.save(plain)), (".pt", whole.read_bytes())]
        whole.unlink()

    def graph(self, name: str, loader: str = "PusaLoraLoader") -> dict:
        words = {"strength": 1.4} if loader == "PusaLoraLoader" else {"strength_model": 1.4}
        return LOADERS | {
            "model": node(loader, model=["unet", 0], lora_name=name, **words),
            "latent": node("EmptyHunyuanLatentVideo", width=32, height=32, length=5, batch_size=1),
            "sampler": node(
                "PusaKSampler", model=["model", 0], latent_image=["latent", 0], shift=5.0, scheduler="flow_match", denoise=1.0,
                **PROMPTS, **(SAMPLED | {"steps": 1, "cfg": 1.0}),
            ),
            "probe": probe("sampler"),
        }  # fmt: skip

    def wrong(self, bench: Bench, path: Path, answer: Answer, _) -> str:
        known = tensors(path)
        if known is not None and not set(known) <= self.names:
            return f"keys that fit nowhere are left out: {sorted(set(known) - self.names)[:3]}"
        core = bench.ask(self.graph(path.name, "LoraLoaderModelOnly"))
        if core.told == answer.told:
            return ""
        return f"{answer.told['probe']}, ComfyUI's own loader: {core.kind} {core.told or core.words}"


class Prompts:
    """Stored prompts, which carry a hash: the value that was stored, or the file is refused."""

    folder = "models/prompts"

    def __init__(self, bench: Bench):
        path = bench.base / self.folder / "pusa_tiny_positive.safetensors"
        self.given: list[Given] = [(".safetensors", path.read_bytes())]

    def graph(self, name: str) -> dict:
        return {"load": node("PusaLoadPrompt", prompt_name=name), "probe": probe("load")}

    def wrong(self, bench: Bench, path: Path, answer: Answer, sound: Answer) -> str:
        return "" if answer.told == sound.told else f"{answer.told} instead of {sound.told}"


class Bases:
    """Bases for Merge LoRA: every tensor is the file's own with the LoRA's part added, or the file is refused."""

    folder = "models/diffusion_models"

    def __init__(self, bench: Bench):
        path = bench.base / self.folder / "pusa_tiny_wan.safetensors"
        self.given: list[Given] = [(".safetensors", path.read_bytes())]
        self.base = tensors(path)
        self.output = path.with_name("hostile_merged.safetensors")
        bench.ask(merged(self.output.stem))
        self.merged = tensors(self.output)

    def graph(self, name: str) -> dict:
        return merged(self.output.stem, base_name=name)

    def wrong(self, bench: Bench, path: Path, answer: Answer, _) -> str:
        base, found = tensors(path), tensors(self.output)
        if base is None:
            return "a base is taken that safetensors does not read"
        if found is None or found.keys() != base.keys():
            return "the merged file has other tensors than its base"
        for name, tensor in found.items():
            if name not in self.base or torch.equal(self.base[name], self.merged[name]):  # the LoRA leaves it alone
                if not bitwise(tensor, base[name]):
                    return f"{name} is another in the merged file, and no LoRA changes it"
                continue
            if not tensor.isfinite().all():
                return f"{name} is not finite in the merged file"
            if torch.equal(base[name], self.base[name]):
                wanted = self.merged[name]
            else:
                wanted = base[name] + (self.merged[name] - self.base[name])
            if not torch.allclose(tensor, wanted, rtol=1e-4, atol=1e-5):
                return f"{name} is another in the merged file: off by {(tensor - wanted).abs().max()}"
        return ""


class Clips:
    """Clips of several containers: the frames that ComfyUI's own reader finds, in memory and on the disk, or a refusal."""

    folder = "input"

    def __init__(self, bench: Bench):
        self.given: list[Given] = []
        for suffix in CONTAINERS:
            path = bench.base / "input" / f"whole{suffix}"
            write_film(path, 12, sound=suffix in (".mp4", ".mkv"))
            self.given.append((suffix, path.read_bytes()))
            path.unlink()

    def read(self, name: str) -> dict:
        parts = node("GetVideoComponents", video=["file", 0])
        return {"file": node("LoadVideo", file=name), "parts": parts, "probe": probe("parts")}

    def graph(self, name: str, frames_in: str = "memory", count: int = 12) -> dict:
        graph = extension(overlap=1, new_frames=4, hops=1, steps=1, cfg=1.0, color_match=0.0, frames_in=frames_in)
        del graph["probe"]
        graph["file"] = node("LoadVideo", file=name)
        graph["given"] = node("ImageFromBatch", image=["extend", 0], batch_index=0, length=max(1, count))
        return graph | {"probe": probe("given")}

    def wrong(self, bench: Bench, path: Path, answer: Answer, _) -> str:
        core = bench.ask(self.read(path.name))
        if core.kind != "success":
            return ""
        count = core.told["probe"]["shape"][0]
        ways = {where: bench.ask(self.graph(path.name, where, count)) for where in ("memory", "disk")}
        seen = {where: each.told.get("probe", each.words) for where, each in ways.items()}
        bench.free()
        again = bench.ask(self.read(path.name)).told
        if again != core.told:  # a decoder of several threads makes of some damage now this, now that
            return ""
        return "" if all(each == core.told["probe"] for each in seen.values()) else f"{seen}, ComfyUI's own reader: {core.told}"


ROWS: dict[str, Callable] = {"LoRA files": Loras, "stored prompts": Prompts, "bases for Merge LoRA": Bases, "clips": Clips}


def run(bench: Bench, tally: Tally, numbers) -> None:
    """Put a damaged file in place for each number, and ask for it."""
    bench.get("/probe")
    kind = ROWS[tally.name](bench)
    sound, kinds = {}, {}
    for suffix, data in kind.given:
        path = bench.base / kind.folder / f"sound{suffix}"
        path.write_bytes(data)
        sound[suffix] = bench.ask(kind.graph(path.name))
        if sound[suffix].kind != "success":
            tally.fault("crash", -1, f"the sound file {path.name}: {sound[suffix].words}")
        path.unlink()
    for number in numbers:
        draw = tally.random(number)
        suffix, data = draw.choice(kind.given)
        way, content = damaged(data, suffix, draw)
        path = bench.base / kind.folder / f"hostile_{number}{suffix}"
        path.write_bytes(content)
        answer = bench.ask(kind.graph(path.name))
        tally.tried += 1
        kinds[answer.kind] = kinds.get(answer.kind, 0) + 1
        where = f"{way} in a {suffix} file"
        if answer.kind == "crash":
            tally.fault("crash", number, f"{where}: {answer.words}")
        elif answer.kind == "success" and (wrong := kind.wrong(bench, path, answer, sound[suffix])):
            tally.fault("silent", number, f"{where}: {wrong}")
        os.unlink(path)
    tally.notes.append(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
