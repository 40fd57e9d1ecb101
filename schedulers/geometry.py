"""Where pixel frames live in a Wan latent: latent 0 is frame 0, latent i is frames 4i - 3 to 4i."""

from .errors import InputError

FRAMES_PER_LATENT = 4


def pixel_length(latent_length: int) -> int:
    """Pixel frames that ``latent_length`` latent frames decode to: 4T - 3."""
    return FRAMES_PER_LATENT * (latent_length - 1) + 1


def check_length(frames: int, name: str = "frames") -> None:
    """Refuse a clip length that is not 4n + 1, the only lengths a causal Wan VAE encodes without a remainder.

    Raises:
        InputError: the length is below 1 or off the grid; names the two nearest lengths that are on it.
    """
    if frames < 1 or (frames - 1) % FRAMES_PER_LATENT:
        below = max(1, pixel_length((frames - 1) // FRAMES_PER_LATENT + 1))
        allowed = f"{below} or {below + FRAMES_PER_LATENT}" if frames >= 1 else "1, 5, 9, 13, ..."
        raise InputError(f"`{name}` is {frames}; a Wan clip has 4n + 1 frames, so use {allowed}.")


def latent_length(frames: int) -> int:
    """Latent frames of a clip of ``frames`` = 4n + 1 pixel frames: n + 1.

    Raises:
        InputError: the length is not 4n + 1.
    """
    check_length(frames)
    return (frames - 1) // FRAMES_PER_LATENT + 1


def latent_frame(frame: int) -> int:
    """Latent frame that holds a pixel frame: ceil(frame / 4)."""
    return -(-frame // FRAMES_PER_LATENT)


def pixel_frames(latent: int) -> range:
    """Pixel frames that a latent frame holds: frame 0 alone, then groups of four."""
    return range(max(0, FRAMES_PER_LATENT * latent - 3), FRAMES_PER_LATENT * latent + 1)
