"""Image to video on the tiny models, from an empty server to a file. Started by `dev.py demo`."""

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from .client import ComfyClient, ComfyError, Progress
from .server import ComfyServer, ServerDied, cpu_arguments

PICTURE = Path(__file__).resolve().parent.parent / "assets" / "demo.png"


def i2v_graph(image_name: str, width: int = 64, height: int = 64, length: int = 33, steps: int = 10, seed: int = 0) -> dict:
    """The image-to-video graph in API format: one clean-ish first frame, the rest from noise.

    Args:
        image_name: a picture in the server's input folder.
        width: of the video, in pixels, as is `height`.
        height: a multiple of 16, as is `width`.
        length: number of frames, 4n + 1.
        steps: sampling steps.
        seed: of the noise.
    """

    def node(class_type, **inputs):
        return {"class_type": class_type, "inputs": inputs}

    return {
        "unet": node("UNETLoader", unet_name="pusa_tiny_wan.safetensors", weight_dtype="default"),
        "model": node("PusaLoraLoader", model=["unet", 0], lora_name="pusa_tiny_lora.safetensors", strength=1.4),
        "vae": node("VAELoader", vae_name="pusa_tiny_vae.safetensors"),
        "image": node("LoadImage", image=image_name),
        "positive": node("PusaLoadPrompt", prompt_name="pusa_tiny_positive.safetensors"),
        "negative": node("PusaLoadPrompt", prompt_name="pusa_tiny_negative.safetensors"),
        "empty": node("EmptyHunyuanLatentVideo", width=width, height=height, length=length, batch_size=1),
        "keyframes": node(
            "PusaKeyframes",
            vae=["vae", 0],
            latent=["empty", 0],
            **{"images.image0": ["image", 0]},
            positions="0",
            unit="frame",
            noise="0.2",
            fit="crop",
            encode="still",
        ),
        "sampler": node(
            "PusaKSampler",
            model=["model", 0],
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["empty", 0],
            condition=["keyframes", 0],
            seed=seed,
            steps=steps,
            cfg=3.0,
            shift=5.0,
            sampler_name="euler",
            scheduler="flow_match",
            denoise=1.0,
        ),
        "frames": node("VAEDecode", samples=["sampler", 0], vae=["vae", 0]),
        "video": node("CreateVideo", images=["frames", 0], fps=16.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="video/pusa_demo", format="mp4", codec="h264"),
    }


class ProgressBar:
    """A bar that is redrawn on a terminal, and a line per step elsewhere."""

    width = 28

    def __init__(self):
        self.started = time.monotonic()
        self.live = sys.stdout.isatty()

    def __call__(self, progress: Progress) -> None:
        """Show how far a prompt is."""
        steps = f" {progress.value:.0f}/{progress.maximum:.0f}" if progress.maximum > 1 else ""
        self.show(progress.fraction, progress.node_type + steps)

    def show(self, fraction: float, text: str) -> None:
        """Show a share in [0, 1] and what it is about."""
        text = f"{fraction:4.0%}  {text}"
        if not self.live:
            print(f"  {text}", flush=True)
            return
        filled = round(fraction * self.width)
        bar = "#" * filled + "." * (self.width - filled)
        line = f"  [{bar}] {text}  {time.monotonic() - self.started:.0f} s"
        columns = shutil.get_terminal_size().columns - 1
        print("\r" + line[:columns].ljust(columns), end="", flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self.live:
            print(flush=True)


async def make_video(url: str, picture: Path) -> list:
    """Queue the graph on the server at `url` and follow it; returns the saved files."""
    async with ComfyClient(url) as client:
        image_name = await client.upload_image(picture)
        bar = ProgressBar()
        try:
            files = await client.run(i2v_graph(image_name), bar)
            bar.show(1.0, "done")
            return files
        finally:
            bar.end()


def main(arguments: list) -> int:
    """Run the demonstration in the base directory given as the only argument."""
    base = Path(arguments[0])
    # Leaving by an exception is what stops the server.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: sys.exit(128 + number))
    try:
        print("Starting ComfyUI ...", flush=True)
        extra = cpu_arguments(sys.executable)
        server = ComfyServer(sys.executable, os.environ["COMFYUI_PATH"], base, extra_args=extra)
        with server:
            print(f"Making a video from {PICTURE.name} at {server.url}", flush=True)
            files = asyncio.run(make_video(server.url, PICTURE))
    except ServerDied as error:
        print(f"\nError: {error}", file=sys.stderr)
        return 1
    except ComfyError as error:
        print(f"\nError: {error}\n\nComfyUI's log: {server.log}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    for file in files:
        print(f"Video: {file.path(base)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
