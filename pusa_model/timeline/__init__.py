"""Pictures, clips and latents on the timeline of a video: encoded, placed, with their noise multipliers."""

from .placing import keyframes as keyframes
from .placing import latent_frames as latent_frames
from .placing import video_frames as video_frames
