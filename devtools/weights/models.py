"""What each name that `dev.py download` takes consists of. Sizes and checksums are the hub's own, asked for at run time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFile:
    """A file of a repository on the hub, and where ComfyUI looks for it."""

    repository: str
    source: str
    folder: str
    name: str
    note: str

    @property
    def stem(self) -> str:
        """Name of the source without folder and suffix."""
        return self.source.rpartition("/")[2].rpartition(".")[0]


@dataclass(frozen=True)
class JoinedFile:
    """A file for ComfyUI that the hub has in halves: the tensors of each, with the stem of its name and a dot in front."""

    halves: tuple[ModelFile, ...]
    folder: str
    name: str
    note: str


def _joined(repository: str, sources: tuple[str, ...], folder: str, name: str, note: str) -> JoinedFile:
    """A file in halves; each waits beside it for the other, under a name that ComfyUI does not list."""
    halves = (ModelFile(repository, source, folder, f"{name}.{source}.half", f"half of it, {source}") for source in sources)
    return JoinedFile(tuple(halves), folder, name, note)


def _repackaged(repository: str, folder: str, name: str, note: str) -> ModelFile:
    """A file of Comfy-Org's repackaged models, whose folders are named like ComfyUI's."""
    return ModelFile(f"Comfy-Org/{repository}", f"split_files/{folder}/{name}", folder, name, note)


def _lora(repository: str, name: str, note: str) -> ModelFile:
    return ModelFile(repository, name, "loras", name, note)


_WAN21, _WAN22, _MOCHI = "Wan_2.1_ComfyUI_repackaged", "Wan_2.2_ComfyUI_Repackaged", "mochi_preview_repackaged"


def _lightx2v(expert: str, note: str) -> ModelFile:
    """One half of LightX2V's pair V1.1, under the name that ComfyUI's own templates have."""
    return _repackaged(_WAN22, "loras", f"wan2.2_t2v_lightx2v_4steps_lora_v1.1_{expert}_noise.safetensors", note)


_V05, _HALVES = "pusa_v0_dit.safetensors", ("encoder.safetensors", "decoder.safetensors")
_DIT, _TEXT, _VAE = "diffusion_models", "text_encoders", "vae"

# What several models share has one source for all of them, so that the second download finds the files of the first.
_UMT5 = _repackaged(_WAN21, _TEXT, "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "umT5-XXL text encoder")
_BOTH_WAN = (_UMT5, _repackaged(_WAN21, _VAE, "wan_2.1_vae.safetensors", "VAE, of Wan2.2-A14B too"))
_PUSA_WAN21 = _lora("RaphaelLiu/PusaV1", "pusa_v1.pt", "Pusa V1.0 LoRA, strength 1.4")
_SKYREELS = "Wan2_1-SkyReels-V2-DF-14B-720P_fp8_e4m3fn.safetensors"

MODELS = {
    "wan21": (
        _repackaged(_WAN21, _DIT, "wan2.1_t2v_14B_fp8_scaled.safetensors", "Wan2.1-T2V-14B"),
        *_BOTH_WAN,
        _PUSA_WAN21,
    ),
    "wan22": (
        _repackaged(_WAN22, _DIT, "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "Wan2.2-T2V-A14B, high noise"),
        _repackaged(_WAN22, _DIT, "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", "Wan2.2-T2V-A14B, low noise"),
        *_BOTH_WAN,
        _lora("RaphaelLiu/Pusa-Wan2.2-V1", "high_noise_pusa.safetensors", "Pusa LoRA for high noise, strength 1.5"),
        _lora("RaphaelLiu/Pusa-Wan2.2-V1", "low_noise_pusa.safetensors", "Pusa LoRA for low noise, strength 1.4"),
    ),
    "lightx2v": (
        _lightx2v("high", "4 steps at cfg 1 for high noise"),
        _lightx2v("low", "4 steps at cfg 1 for low noise, and for Wan2.1"),
    ),
    "wan22_5b": (
        _repackaged(_WAN22, _DIT, "wan2.2_ti2v_5B_fp16.safetensors", "Wan2.2 TI2V 5B; it needs no LoRA"),
        _UMT5,
        _repackaged(_WAN22, _VAE, "wan2.2_vae.safetensors", "VAE, of Wan2.2 TI2V 5B only"),
    ),
    "vace": (
        _repackaged(_WAN21, _DIT, "wan2.1_vace_14B_fp16.safetensors", "Wan2.1 VACE 14B"),
        *_BOTH_WAN,
        _PUSA_WAN21,
    ),
    "skyreels": (
        ModelFile("Kijai/WanVideo_comfy", f"Skyreels/{_SKYREELS}", _DIT, _SKYREELS, "SkyReels-V2 DF 14B; it needs no LoRA"),
        *_BOTH_WAN,
    ),
    "mochi": (
        # The network is fine-tuned as a whole: Mochi's own is not needed.
        ModelFile("RaphaelLiu/Pusa-V0.5", _V05, _DIT, _V05, "Pusa V0.5, in place of Mochi 1 preview"),
        _repackaged(_MOCHI, _TEXT, "t5xxl_fp8_e4m3fn_scaled.safetensors", "T5-XXL text encoder"),
        _joined("RaphaelLiu/Pusa-V0.5", _HALVES, _VAE, "mochi_vae_whole.safetensors", "VAE, encoder and decoder in one"),
    ),
}
