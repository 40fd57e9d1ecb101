"""The writers that are killed: what each works on, and what of it is finished when it is killed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hosting.process import load_pack, pack_module, start_comfyui

from .films import write_film

STEPS, SAVE_EVERY, CLIPS = 12, 2, 6
CAPTIONS = ("", "first", "second")


def _nothing(*_):
    return None


@dataclass(frozen=True)
class Victim:
    """A writer.

    Attributes:
        make: called once with a folder of tiny models, for what else all runs read; returns the work, a function of (folder to
            write to, a function to call when the work begins).
        exact: whether a file of this name must have the bytes that an undisturbed run gives it, at any time.
        kept: whether a file of this name is finished work, which the next run must not write again.
        progress: what else is finished in a folder. redone: what of it the next run did again, by what it printed.
    """

    make: Callable[[Path], Callable]
    exact: Callable[[str], bool]
    kept: Callable[[str], bool] = lambda name: False
    progress: Callable[[Path], object] = _nothing
    redone: Callable[[object, str], str | None] = _nothing


def host() -> None:
    """ComfyUI on one thread, as a child that is forked from here can use it."""
    import torch

    torch.set_num_threads(1)
    start_comfyui()
    import comfy.sd  # noqa: F401
    import nodes  # noqa: F401  # ComfyUI's own


def places(common: Path, place: Path) -> None:
    """ComfyUI's folders: models are read from one folder and written to another."""
    import folder_paths

    for name in ("diffusion_models", "loras", "vae", "prompts"):
        for folder in (common, place):  # the last one is the first that is looked in
            (folder / name).mkdir(exist_ok=True)
            folder_paths.add_model_folder_path(name, str(folder / name), is_default=True)
    for name in ("temp", "user", "output"):
        (place / name).mkdir(exist_ok=True)
        getattr(folder_paths, f"set_{name}_directory")(str(place / name))


def node(module: str, name: str, common: Path, place: Path):
    """A node class of the pack, with ComfyUI's folders set."""
    load_pack()
    places(common, place)
    return getattr(pack_module(f"nodes.{module}"), name)


def _extend(common: Path) -> Callable:
    host()

    def work(place: Path, begin: Callable) -> None:
        import nodes as core
        import torch

        extend = node("extend", "PusaExtendVideo", common, place)
        load = pack_module("pusa_model.prompts.stored").load_prompt
        model = core.UNETLoader().load_unet("pusa_tiny_wan.safetensors", "default")[0]
        vae = core.VAELoader().load_vae("pusa_tiny_vae.safetensors")[0]
        positive, negative = (load(str(common / "prompts" / f"pusa_tiny_{name}.safetensors")) for name in ("positive", "negative"))
        frames = torch.linspace(0, 1, 9 * 32 * 32 * 3).view(9, 32, 32, 3)
        begin()
        with torch.inference_mode():
            output = extend.execute(
                model=model, vae=vae, video=frames, positive={"prompt0": positive}, negative=negative, overlap=5, new_frames=8,
                hops=4, noise="0.2", direction="forwards", seed=1, hop_seed="increment", steps=2, cfg=3.0, shift=5.0,
                sampler_name="euler", scheduler="flow_match", color_match=0.5, cross_fade=0, fps=16.0, resample="keep",
                frames_in="disk",
            )  # fmt: skip
        (place / "joined.raw").write_bytes(output.args[0].numpy().tobytes())

    return work


def _merge(common: Path) -> Callable:
    host()

    def work(place: Path, begin: Callable) -> None:
        merge = node("merge", "PusaMergeLora", common, place)
        begin()
        merge.execute("pusa_tiny_wan.safetensors", "pusa_tiny_lora.safetensors", 1.4, "merged", True)

    return work


def _save_prompt(common: Path) -> Callable:
    host()

    def work(place: Path, begin: Callable) -> None:
        import torch

        save = node("prompts", "PusaSavePrompt", common, place)
        words = torch.linspace(-1, 1, 512 * 4096).view(1, 512, 4096)  # as long as a real one
        begin()
        save.execute([[words, {"pooled_output": None}]], "stored", False)

    return work


def _encode(common: Path) -> Callable:
    host()
    (common / "clips").mkdir()
    for index in range(CLIPS):
        write_film(common / "clips" / f"{index}.mp4", 5 + index)
        (common / "clips" / f"{index}.txt").write_text(CAPTIONS[1 + index % 2])

    def work(place: Path, begin: Callable) -> None:
        import torch

        writer, encode = pack_module("training.store").StoreWriter, pack_module("training.encode")
        begin()
        if not any(place.glob("store/latents/*.safetensors")):
            with writer(place / "store") as store:  # knows the captions, so that no text encoder is needed
                for index, caption in enumerate(CAPTIONS):
                    store.add_prompt(caption, torch.full((3, 4096), float(index)))
        size = ["--num_frames", "5", "--width", "32", "--height", "32", "--dtype", "fp32", "--cpu"]
        vae = str(common / "vae" / "pusa_tiny_vae.safetensors")
        code = encode.main([str(common / "clips"), str(place / "store"), "--vae", vae, *size])
        if code:
            raise SystemExit(code)

    return work


def _train(common: Path) -> Callable:
    host()
    import accelerate  # noqa: F401
    import torch

    load_pack()
    with pack_module("training.store").StoreWriter(common / "store") as store:
        for index in range(4):
            latent = torch.linspace(-1, 1 + index, 16 * 3 * 4 * 4).view(16, 3, 4, 4)
            store.add(f"{index}.mp4", latent, CAPTIONS[1 + index % 2], torch.full((3, 4096), float(index % 2)))

    def work(place: Path, begin: Callable) -> None:
        train = pack_module("training.train")
        begin()
        code = train.main(
            [str(common / "store"), "--model", str(common / "diffusion_models/pusa_tiny_wan.safetensors"), "--rank", "4"]
            + ["--learning_rate", "1e-3", "--save_dtype", "fp32", "--cpu", "--output", str(place / "out")]
            + ["--steps", str(STEPS), "--save_every", str(SAVE_EVERY), "--resume", "auto"]
        )
        if code:
            raise SystemExit(code)

    return work


def _newest_step(place: Path) -> int:
    """Step of the newest checkpoint under its final name."""
    return max((int(path.stem.removeprefix("step-")) for path in place.glob("out/checkpoints/step-*.pt")), default=0)


def _steps_again(known: int, printed: str) -> str | None:
    """Where a resumed training began, if that was before the newest checkpoint."""
    begun = re.search(rf"(\d+)/{STEPS}\b", printed)
    return f"steps from {begun[1]} on, {known} were saved" if begun and int(begun[1]) < known else None


VICTIMS = {
    "Extend Video": Victim(
        _extend,
        exact=lambda name: name.startswith(("joined.raw", "user/")) and name.endswith((".raw", ".safetensors")),
        kept=lambda name: name.endswith(".safetensors"),
    ),
    "Merge LoRA": Victim(_merge, exact=lambda name: name.endswith(".safetensors")),
    "Save Prompt": Victim(_save_prompt, exact=lambda name: name.endswith(".safetensors")),
    "training.encode": Victim(
        _encode, exact=lambda name: name.endswith(".safetensors"), kept=lambda name: name.endswith(".safetensors")
    ),
    "training.train": Victim(_train, exact=lambda name: name.endswith(".safetensors"), progress=_newest_step, redone=_steps_again),
}
