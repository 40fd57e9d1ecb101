"""Where pixel frames live in the latent of a causal VAE with factor n: latent i is frames n(i-1)+1 to n i, latent 0 frame 0."""

from .errors import InputError

FACTOR = 4  # n of Wan


def pixel_length(latent_length: int, factor: int = FACTOR) -> int:
    """Pixel frames that ``latent_length`` latent frames decode to: n(T - 1) + 1."""
    return factor * (latent_length - 1) + 1


def check_length(frames: int, name: str = "frames", factor: int = FACTOR) -> None:
    """Refuse a clip length that is not n k + 1, the only lengths that a causal VAE encodes without a remainder.

    Raises:
        InputError: the length is below 1 or off the grid; names the two nearest lengths that are on it.
    """
    if frames < 1 or (frames - 1) % factor:
        below = max(1, pixel_length((frames - 1) // factor + 1, factor))
        first = ", ".join(str(pixel_length(count, factor)) for count in range(1, 5))
        allowed = f"{below} or {below + factor}" if frames >= 1 else f"{first}, ..."
        raise InputError(f"`{name}` is {frames}; a clip has {factor}n + 1 frames, so use {allowed}.")


def latent_length(frames: int, factor: int = FACTOR) -> int:
    """Latent frames of a clip of ``frames`` = n k + 1 pixel frames: k + 1.

    Raises:
        InputError: the length is not n k + 1.
    """
    check_length(frames, factor=factor)
    return (frames - 1) // factor + 1


def latent_frame(frame: int, factor: int = FACTOR) -> int:
    """Latent frame that holds a pixel frame: ceil(frame / n)."""
    return -(-frame // factor)


def pixel_frames(latent: int, factor: int = FACTOR) -> range:
    """Pixel frames that a latent frame holds: frame 0 alone, then groups of n."""
    return range(max(0, factor * (latent - 1) + 1), factor * latent + 1)
