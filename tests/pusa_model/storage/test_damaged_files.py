"""Wrong and damaged LoRA files: each is refused in words and at once, and leaves the model and the memory as they were."""

import gc
import json
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import comfy.model_management
import folder_paths
import psutil
import pytest
import tiny
import torch
from pusa.nodes.loaders import PusaLoraLoader
from pusa.pusa_model.lora.load import load_lora
from safetensors.torch import save, save_file
from watched import Peak

MEGABYTE = 2**20
GIGABYTE = 2**30
GOOD = tiny.lora_weights()
FIRST = "blocks.0.self_attn.q.lora_A.default.weight"
SECOND = "blocks.0.self_attn.q.lora_B.default.weight"
PROCESS = psutil.Process()


class Code:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def with_value(value, key=FIRST):
    tensor = GOOD[key].clone()
    tensor.view(-1)[-1] = value
    return GOOD | {key: tensor}


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start=0, stop=2048, shape=(4, 128), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def one_entry(**changes):
    return safetensors({FIRST: entry(**changes)}, bytes(2048))


def named_twice():
    text = json.dumps(entry())
    return safetensors(f'{{"{FIRST}": {text}, "{FIRST}": {text}}}'.encode(), bytes(2048))


def sparse_file(path, start, size):
    """A file that takes no space on the disk beyond its start."""
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(size)


def torch_file(path, content=GOOD):
    torch.save(content, path)
    return path


def rezipped(path, change, content=GOOD):
    """A torch file with another list of (name, bytes, compression)."""
    with zipfile.ZipFile(torch_file(path.with_suffix(".tmp"), content)) as archive:
        entries = [(name, archive.read(name), zipfile.ZIP_STORED) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data, compression in change(entries):
            archive.writestr(name, data, compression)


def pickled(path, data, content=GOOD):
    """A torch file whose pickle is replaced."""
    rezipped(path, lambda entries: [(n, data if n.endswith("data.pkl") else b, c) for n, b, c in entries], content)


def shortened(entries, part="data/3"):
    return [(name, data[:-512] if name.endswith(part) else data, how) for name, data, how in entries]


def bomb(path, part):
    """A torch file of a megabyte, one entry of which unpacks to a gigabyte."""
    rezipped(path, lambda entries: [entry for entry in entries if not entry[0].endswith(part)])
    with zipfile.ZipFile(path) as archive:
        folder = archive.namelist()[0].partition("/")[0]
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(f"{folder}/{part}", "w") as out:
            for _ in range(GIGABYTE // MEGABYTE):
                out.write(bytes(MEGABYTE))


def claiming(path, storage, rows):
    """A torch file whose pickle claims other sizes for the storage, and for the tensor of 4 x 128, than it holds."""
    content = {FIRST: GOOD[FIRST]}
    torch_file(path, content)
    number = {n: pickle.dumps(n, protocol=2)[2:-1] for n in (4, 128, 4 * 128, storage, rows)}
    with zipfile.ZipFile(path) as archive:
        data = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    data = data.replace(number[4 * 128], number[storage], 1).replace(number[4] + number[128], number[rows] + number[128], 1)
    pickled(path, data, content)


def nested(depth):
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def flux():
    modules = [f"transformer.single_transformer_blocks.{block}.attn.to_q" for block in range(9)]
    return {f"{module}.lora_{x}.weight": torch.ones(4, 4) for module in modules for x in "AB"}


def stable_diffusion():
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    return {f"{name}.lora_{x}.weight": torch.ones(4, 4) for x in ("down", "up")} | {f"{name}.alpha": torch.tensor(4.0)}


def image_to_video():
    """Wan image-to-video LoRAs have two modules that text-to-video does not."""
    more = {f"blocks.0.cross_attn.{module}_img.lora_{x}.weight": torch.ones(4, 128) for module in "kv" for x in "AB"}
    return GOOD | more


ONE_VALUE = torch.zeros(1).expand(50_000, 50_000)

# name: (file name, what is in it: bytes, tensors for safetensors or torch, or a writer of the path; words of the message)
KINDS = {
    "empty safetensors": (".safetensors", b"", "empty, cut off"),
    "empty pt": (".pt", b"", "damaged"),
    "three bytes": (".safetensors", b"abc", "empty, cut off"),
    "only zeros": (".safetensors", bytes(10_000), "empty, cut off, or not in the safetensors format"),
    "only zeros, pt": (".pt", bytes(10_000), "damaged"),
    "random bytes": (".safetensors", torch.arange(4000).mul(7919).to(torch.uint8).numpy().tobytes(), "not in the safetensors"),
    "random bytes, pt": (".pt", torch.arange(4000).mul(7919).to(torch.uint8).numpy().tobytes(), "damaged"),
    "web page": (".safetensors", b"<!doctype html><title>404</title>" * 90, "not in the safetensors format"),
    "truncated in the header": (".safetensors", save(GOOD)[:2000], "cut off"),
    "truncated in the tensors": (".safetensors", save(GOOD)[:-1000], "it is cut off: "),
    "truncated pt": (".pt", lambda path: path.write_bytes(torch_file(path).read_bytes()[:-2000]), "damaged"),
    "bytes left over": (".safetensors", save(GOOD) + bytes(1000), "longer than its tensors: "),
    "header of 2^63 bytes": (".safetensors", safetensors({}, length=2**63), "not in the safetensors format"),
    "header of 2 GB": (".safetensors", lambda p: sparse_file(p, struct.pack("<Q", 2 * GIGABYTE), 3 * GIGABYTE), "not in the"),
    "header not text": (".safetensors", safetensors(b"\xff\xfe" * 500), "header is damaged"),
    "header not JSON": (".safetensors", safetensors(b'{"a": ' + b" " * 90), "header is damaged"),
    "header a list": (".safetensors", safetensors([1, 2, 3]), "header is damaged"),
    "header nested": (".safetensors", safetensors(b"[" * 100_000), "header is damaged"),
    "header without offsets": (".safetensors", safetensors({FIRST: {"dtype": "F32", "shape": [1]}}), "header is damaged"),
    "tensor of a petabyte": (".safetensors", one_entry(shape=(2**24, 2**24), stop=2**50), "it is cut off: "),
    "shape against offsets": (".safetensors", one_entry(shape=(4, 999)), "header is damaged"),
    "negative offset": (".safetensors", one_entry(start=-2048), "header is damaged"),
    "unknown dtype": (".safetensors", one_entry(dtype="F13"), "header is damaged"),
    "overlapping tensors": (".safetensors", safetensors({FIRST: entry(), SECOND: entry()}, bytes(2048)), "header is damaged"),
    "key twice in the header": (".safetensors", named_twice(), "names a tensor twice"),
    "two keys for one weight": (".safetensors", GOOD | {f"diffusion_model.{FIRST}": GOOD[FIRST].clone()}, "name the same weight"),
    "torch file called safetensors": (".safetensors", torch_file, "not in the safetensors format"),
    "safetensors called pt": (".pt", save(GOOD), "damaged"),
    "zip bomb in the pickle": (".pt", lambda path: bomb(path, "data.pkl"), "unpack to more than its size"),
    "zip bomb in a tensor": (".pt", lambda path: bomb(path, "data/0"), "unpack to more than its size"),
    "zip of something else": (".pt", lambda p: rezipped(p, lambda _: [("a.txt", b"text", 0)]), "damaged"),
    "zip with a name twice": (".pt", lambda p: rezipped(p, lambda entries: [entries[0], *entries]), "two entries of one name"),
    "zip without its tensors": (".pt", lambda p: rezipped(p, lambda entries: entries[:2]), "damaged"),
    "zip with a tensor too short": (".pt", lambda path: rezipped(path, shortened), "an entry has another size"),
    "tensor of a terabyte": (".pt", lambda path: claiming(path, 2**38, 2**31), "damaged"),
    "code in a torch file": (".pt", lambda path: torch_file(path, GOOD | {"x": Code(path.with_name("ran"))}), "could run code"),
    "code in a pickle": (".ckpt", lambda path: path.write_bytes(pickle.dumps(Code(path.with_name("ran")))), "could run code"),
    "code in the opcodes": (".pt", lambda path: pickled(path, b"cposix\nsystem\n(S'touch ran'\ntR."), "could run code"),
    "nested pickle": (".bin", nested(300_000), "damaged"),
    "nested pickle in a torch file": (".pt", lambda path: pickled(path, nested(300_000)), "holds a list"),
    "numbers, not tensors": (".pt", GOOD | {"epoch": 3}, "not a tensor with a name"),
    "a model, not tensors": (".pt", lambda path: torch_file(path, torch.nn.Linear(2, 2)), "could run code"),
    "one value by strides": (".pt", GOOD | {FIRST: ONE_VALUE}, "not a plain tensor"),
    "sparse tensor": (".pt", GOOD | {FIRST: GOOD[FIRST].to_sparse()}, "not a plain tensor"),
    "complex numbers": (".pt", GOOD | {FIRST: GOOD[FIRST].to(torch.complex64)}, "not a plain tensor"),
    "integers": (".safetensors", GOOD | {FIRST: GOOD[FIRST].to(torch.int8)}, "floating-point numbers (int8"),
    "NaN": (".safetensors", with_value(float("nan")), "not finite numbers (NaN or infinity)"),
    "NaN in bfloat16": (".pt", {k: v.bfloat16() for k, v in with_value(float("nan"), SECOND).items()}, "not finite numbers"),
    "NaN in fp8": (".safetensors", {k: v.to(torch.float8_e4m3fn) for k, v in with_value(float("nan")).items()}, "not finite"),
    "infinity": (".safetensors", with_value(float("inf")), "not finite numbers"),
    "infinity in float16": (".safetensors", {k: v.half() for k, v in with_value(-1e6).items()}, "not finite numbers"),
    "alpha NaN": (".safetensors", GOOD | {"blocks.0.self_attn.q.alpha": torch.tensor(float("nan"))}, "not finite numbers"),
    "alpha of two numbers": (".safetensors", GOOD | {"blocks.0.self_attn.q.alpha": torch.ones(2)}, "one number is expected"),
    "rank 0": (".pt", GOOD | {FIRST: torch.zeros(0, 128), SECOND: torch.zeros(128, 0)}, "0 x 128"),
    "DoRA scale of another size": (".safetensors", GOOD | {"blocks.0.ffn.0.dora_scale": torch.ones(7)}, "is 7, the weight"),
    "no tensors": (".safetensors", safetensors({}), "the file is empty"),
    "Flux LoRA": (".safetensors", flux(), "match no weight of this model"),
    "Stable Diffusion LoRA": (".safetensors", stable_diffusion(), "match no weight of this model"),
    "Wan image-to-video LoRA": (".safetensors", image_to_video(), "4 of 44 keys of the file match no weight"),
    "LoRA of another width": (".safetensors", {k: v.repeat(2, 2) for k, v in GOOD.items()}, "do not fit the weights of this model"),
    "a whole model": (".safetensors", tiny.wan_weights(), "match no weight of this model"),
    "half of a pair": (".safetensors", {k: v for k, v in GOOD.items() if k != FIRST}, "has no lora_A.weight beside it"),
    "path as a key": (".safetensors", GOOD | {"../../../etc/passwd": torch.ones(1)}, "match no weight of this model"),
    "endless key": (".safetensors", GOOD | {"blocks." * 100_000: torch.ones(1)}, "cannot be the name of a weight"),
    "escape sequences in a key": (".pt", GOOD | {"\x1b[2J\r\nok": torch.ones(1)}, "cannot be the name of a weight"),
    "directory": (".safetensors", lambda path: path.mkdir(), "there is no file"),
    "link to nothing": (".safetensors", lambda path: path.symlink_to("nowhere"), "there is no file"),
}
NAMES = {
    "nothing": "",
    "folder above": "../outside.safetensors",
    "folder above, twice": "sub/../../outside.safetensors",
    "folder above, Windows": "..\\outside.safetensors",
    "the folder": ".",
    "absolute": "/etc/passwd",
    "NUL": "lora\x00.safetensors",
    "endless": "a" * 100_000,
    "not there": "nothing.safetensors",
}


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    """A models/loras folder; beside it a LoRA that is none of its files."""
    folder = tmp_path_factory.mktemp("models") / "loras"
    folder.mkdir()
    save_file(GOOD, folder.parent / "outside.safetensors")
    save_file(GOOD, folder / "good.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(folder)], {".safetensors", ".pt", ".ckpt", ".bin"}))
        yield folder


@pytest.fixture(scope="module")
def model(loras):
    """A MODEL on which a good LoRA was loaded once, so that what ComfyUI sets up for good is there."""
    model = tiny.wan_model(tiny.wan_weights())
    comfy.model_management.load_models_gpu([load_lora(model, str(loras / "good.safetensors"), 1.4)])
    comfy.model_management.load_models_gpu([model])
    return model


@pytest.fixture(scope="module", autouse=True)
def memory_comes_back(model):
    """After everything in this file, the process is as large as before, to 5 %."""
    gc.collect()
    before = PROCESS.memory_info().rss
    yield
    gc.collect()
    assert PROCESS.memory_info().rss <= 1.05 * before


def assert_refused(model, name, words):
    base = {key: tensor.clone() for key, tensor in model.model.diffusion_model.state_dict().items()}
    began = time.monotonic()
    with Peak() as peak, pytest.raises(ValueError) as error:
        PusaLoraLoader.execute(model, name, 1.4)
    message = str(error.value)
    assert time.monotonic() - began < 5 and peak.bytes < 200 * MEGABYTE
    assert message.startswith("Load Pusa LoRA: `lora_name`: ") and words in message
    assert message.endswith(".") and len(message) < 500 and message.isprintable() and "Error" not in message
    assert not model.patches
    after = model.model.diffusion_model.state_dict()
    assert all(torch.equal(after[key], tensor) for key, tensor in base.items())


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:Detected pickle protocol", "ignore:Duplicate name")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused(loras, model, kind):
    suffix, content, words = KINDS[kind]
    path = loras / f"{kind.replace(' ', '_')}{suffix}"
    if callable(content):
        content(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file(content, path) if suffix == ".safetensors" else torch.save(OrderedDict(content), path)
    assert_refused(model, path.name, words)
    assert not (loras / "ran").exists() and not Path("ran").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_is_refused(loras, model, name):
    assert_refused(model, NAMES[name], "there is no file")
