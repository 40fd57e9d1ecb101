"""Stored prompts come back bit for bit, stay inside their folder, and never replace another one unasked."""

import json

import folder_paths
import pytest
import safetensors.torch
import tiny
import torch
from comfy.controlnet import ControlBase
from comfy.hooks import HookGroup
from hypothesis import given
from hypothesis import strategies as st
from pusa.pusa_model.prompts import stored as prompts
from pusa.schedulers import InputError
from safetensors.torch import save_file

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int64, torch.bool]


def same(found, stored) -> bool:
    """Equal in structure, type, dtype and every bit."""
    if type(found) is not type(stored):
        return False
    if isinstance(stored, torch.Tensor):
        as_bytes = [tensor.reshape(-1).view(torch.uint8) for tensor in (found, stored)]
        return found.dtype == stored.dtype and found.shape == stored.shape and torch.equal(*as_bytes)
    if isinstance(stored, dict):
        return list(found) == list(stored) and all(same(found[key], stored[key]) for key in stored)
    if isinstance(stored, (list, tuple)):
        return len(found) == len(stored) and all(map(same, found, stored))
    return repr(found) == repr(stored)


@st.composite
def tensors(draw, axes=None):
    shape = draw(st.lists(st.integers(0, 3), min_size=axes or 0, max_size=3))
    values = torch.randn(shape, generator=tiny.seeded(draw(st.integers(0, 99))))
    return values.to(draw(st.sampled_from(DTYPES))).transpose(0, -1) if shape else values


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | tensors()
options = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
conditionings = st.lists(st.tuples(tensors(axes=3), st.dictionaries(st.text(), options)).map(list), max_size=3)


@given(conditionings)
def test_any_conditioning_is_read_back_bit_for_bit(tmp_path_factory, conditioning):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(safetensors.torch.save(*prompts.pack_prompt(conditioning)))
    assert same(prompts.load_prompt(str(path)), conditioning)


def conditioning(seed=3):
    generator = tiny.seeded(seed)
    embedding = torch.randn(1, 8, 4096, generator=generator)
    return [
        [embedding, {"pooled_output": None, "attention_mask": torch.ones(1, 8, dtype=torch.int64)}],
        [
            embedding.bfloat16().transpose(1, 2),
            {
                "pooled_output": torch.randn(1, 16, generator=generator),
                "strength": 0.5,
                "area": ("percentage", 0.5, 0.25, 0.0, 1),
                "reference_latents": [torch.randn(1, 16, 1, 4, 4, generator=generator) for _ in range(2)],
                "nested": {"tensor": "not a tensor", "list": [[], (), {}], "flag": True},
            },
        ],
    ]


def test_a_prompt_with_all_that_comfyui_attaches_comes_back(folder):
    path = prompts.save_prompt(conditioning(), "mine", overwrite=False)
    assert path == folder / "mine.safetensors"
    assert same(prompts.load_prompt(str(path)), conditioning())


def test_saving_changes_nothing_that_was_given(folder):
    given_prompt = conditioning()
    prompts.save_prompt(given_prompt, "mine", overwrite=False)
    assert same(given_prompt, conditioning())


def test_stored_prompts_are_listed_with_their_subfolder(folder):
    for name in ("b", "film/a", " spaced "):
        prompts.save_prompt(conditioning(), name, overwrite=False)
    (folder / "notes.txt").write_text("not a prompt")
    listed = {name.replace("\\", "/") for name in prompts.stored_prompts()}
    assert listed == {"b.safetensors", "film/a.safetensors", "spaced.safetensors"}


def test_nothing_but_the_prompt_is_left_in_the_folder(folder):
    prompts.save_prompt(conditioning(), "mine", overwrite=False)
    prompts.save_prompt(conditioning(seed=4), "mine", overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["mine.safetensors"]


def test_a_prompt_that_cannot_be_stored_leaves_the_old_one(folder):
    path = prompts.save_prompt(conditioning(), "mine", overwrite=False)
    before = path.read_bytes()
    with pytest.raises(InputError):
        prompts.save_prompt([[torch.zeros(1), {"hooks": object()}]], "mine", overwrite=True)
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_prompt_and_no_part_of_the_new(folder):
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of a file")
    path = prompts.save_prompt(conditioning(), "mine", overwrite=False)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(InputError, match="models/prompts/mine.safetensors cannot be written: the disk takes no file of this"):
            prompts.save_prompt(conditioning(seed=4), "mine", overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


def test_the_same_prompt_may_be_stored_again(folder):
    path = prompts.save_prompt(conditioning(), "mine", overwrite=False)
    first = path.read_bytes()
    prompts.save_prompt(conditioning(), "mine", overwrite=False)
    assert path.read_bytes() == first


def test_another_prompt_replaces_a_stored_one_only_when_asked(folder):
    path = prompts.save_prompt(conditioning(), "mine", overwrite=False)
    with pytest.raises(InputError, match="models/prompts/mine.safetensors holds another prompt.* turn on `overwrite`"):
        prompts.save_prompt(conditioning(seed=4), "mine", overwrite=False)
    assert same(prompts.load_prompt(str(path)), conditioning())
    prompts.save_prompt(conditioning(seed=4), "mine", overwrite=True)
    assert same(prompts.load_prompt(str(path)), conditioning(seed=4))


def test_a_prompt_that_version_0_2_0_stored_is_the_same_prompt(folder):
    """Its files carry no hash."""
    tensors, metadata = prompts.pack_prompt(conditioning())
    structure = json.loads(metadata[prompts.METADATA])
    del structure["sha256"]
    save_file(tensors, folder / "mine.safetensors", {prompts.METADATA: json.dumps(structure)})
    assert same(prompts.load_prompt(str(folder / "mine.safetensors")), conditioning())
    prompts.save_prompt(conditioning(), "mine", overwrite=False)
    assert same(prompts.load_prompt(str(folder / "mine.safetensors")), conditioning())
    with pytest.raises(InputError, match="holds another prompt"):
        prompts.save_prompt(conditioning(seed=4), "mine", overwrite=False)


def test_a_damaged_file_is_another_prompt(folder):
    path = folder / "mine.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="holds another prompt"):
        prompts.save_prompt(conditioning(), "mine", overwrite=False)
    prompts.save_prompt(conditioning(), "mine", overwrite=True)
    assert same(prompts.load_prompt(str(path)), conditioning())


@pytest.mark.parametrize("name", ["mine", "mine.safetensors", " mine.safetensors "])
def test_the_suffix_comes_once(folder, name):
    assert prompts.save_prompt(conditioning(), name, overwrite=False) == folder / "mine.safetensors"


@pytest.mark.parametrize(
    "name, words",
    [
        ("x" * 300, "its name is longer than the disk takes"),
        ("file/x", "a file is where its folder should be"),
        ("a\0b", "give a file name that stays inside"),
        ("a\ud800b", "give a file name that stays inside"),
    ],
)
def test_a_name_that_no_disk_takes_is_told_in_words(folder, name, words):
    (folder / "file").write_text("in the way")
    with pytest.raises(InputError, match=words) as raised:
        prompts.save_prompt(conditioning(), name, overwrite=True)
    assert str(folder) not in str(raised.value) and len(str(raised.value)) < 500
    assert [path.name for path in folder.iterdir()] == ["file"]


OUTSIDE = ["../x", "../../x", "a/../../x", "..//x", "../prompts2/x", "/x", "/tmp/pusa_x", "", "  ", "a/", "/"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_the_folder_is_refused(folder, name):
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(InputError, match="give a file name that stays inside models/prompts"):
        prompts.save_prompt(conditioning(), name, overwrite=True)
    assert sorted(folder.parent.rglob("*")) == before


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    (folder / "out").symlink_to(tmp_path)
    with pytest.raises(InputError, match="stays inside models/prompts"):
        prompts.save_prompt(conditioning(), "out/x", overwrite=True)


@pytest.mark.parametrize(
    "option, kind, where",
    [
        ({"hooks": HookGroup()}, "HookGroup", "entry 0, item 1, `hooks`"),
        ({"control": ControlBase()}, "ControlBase", "entry 0, item 1, `control`"),
        ({"a": [1, (2, object())]}, "object", "entry 0, item 1, `a`, item 1, item 1"),
        ({"a": {1: 2}}, "dict", "entry 0, item 1, `a`"),
        ({"a": {1, 2}}, "set", "entry 0, item 1, `a`"),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(folder, option, kind, where):
    with pytest.raises(InputError, match=f"holds a {kind} in {where}, which cannot be stored"):
        prompts.save_prompt([[torch.zeros(1, 1, 4), option]], "mine", overwrite=False)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "pusa_prompt"}])
def test_a_foreign_safetensors_file_is_told_apart(tmp_path, metadata):
    save_file(tiny.lora_weights(layers=1), tmp_path / "lora.safetensors", metadata)
    with pytest.raises(InputError, match="not a prompt stored by Save Prompt"):
        prompts.load_prompt(str(tmp_path / "lora.safetensors"))


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_damaged(folder, keep):
    path = prompts.save_prompt(conditioning(), "mine", overwrite=False)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(InputError, match="the file is damaged"):
        prompts.load_prompt(str(path))


STRUCTURES = [
    "",
    "[",
    "3",
    "null",
    "[]",
    "{}",
    '{"version": 1}',
    '{"version": 1, "conditioning": 3}',
    '{"version": 1, "conditioning": [{}]}',
    '{"version": 1, "conditioning": [{"tensor": "other"}]}',
]


DEEP = f'{{"version": 1, "conditioning": {100_000 * "["}{100_000 * "]"}}}'
FOREIGN = ['"abc"', "[3]", '["ab"]', "[[]]", '[[{"tensor": "tensor_0"}]]', '[[{"tensor": "tensor_0"}, []]]', '[[1, {"dict": {}}]]']
FOREIGN += ['[{"dict": []}]', '[[{"tensor": "flat"}, {"dict": {}}]]', '[[{"tensor": []}, {"dict": {}}]]']
NOT_FINITE = ['[[{"tensor": "nan"}, {"dict": {}}]]', '[[{"tensor": "tensor_0"}, {"dict": {"strength": NaN}}]]']
STRUCTURES += [DEEP, *(f'{{"version": 1, "conditioning": {each}}}' for each in FOREIGN + NOT_FINITE)]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda text: text[:70])
def test_a_structure_that_is_no_prompt_is_damaged(tmp_path, structure):
    tensors = {"tensor_0": torch.zeros(1, 2, 4), "flat": torch.zeros(1), "nan": torch.full((1, 2, 4), torch.nan)}
    save_file(tensors, tmp_path / "x.safetensors", {prompts.METADATA: structure})
    with pytest.raises(InputError, match="the file is damaged"):
        prompts.load_prompt(str(tmp_path / "x.safetensors"))


@pytest.mark.parametrize("part", range(8))
def test_a_changed_byte_is_damage_or_changes_nothing(folder, part):
    """Any byte of the file, header and data, changed in one bit or to a sign that JSON knows."""
    small = [[torch.randn(1, 2, 4, generator=tiny.seeded(0)), {"strength": 0.5, "area": (1, "percentage"), "none": None}]]
    path = prompts.save_prompt(small, "mine", overwrite=False)
    good = path.read_bytes()
    for place in range(part, len(good), 8):
        for other in {good[place] ^ (1 << place % 7), ord('"'), ord("0"), ord("[")} - {good[place]}:
            path.write_bytes(good[:place] + bytes([other]) + good[place + 1 :])
            try:
                assert same(prompts.load_prompt(str(path)), small)
            except InputError as error:
                assert len(str(error)) < 500


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_stored(folder, value):
    for entry, where in (
        ([torch.full((1, 2, 4), value), {}], "entry 0, item 0"),
        ([torch.zeros(1, 2, 4), {"strength": value}], "entry 0, item 1, `strength`"),
        ([torch.zeros(1, 2, 4), {"pooled_output": torch.tensor([0, value])}], "entry 0, item 1, `pooled_output`"),
    ):
        with pytest.raises(InputError, match=f"not a finite number in {where}"):
            prompts.save_prompt([entry], "mine", overwrite=False)
    assert not list(folder.iterdir())


def test_a_file_of_a_later_version_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {prompts.METADATA: '{"version": 2, "conditioning": []}'})
    with pytest.raises(InputError, match="of version 2; this pack reads version 1"):
        prompts.load_prompt(str(tmp_path / "x.safetensors"))


def test_the_folder_is_registered_where_models_are(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    prompts.register_folder()
    assert folder_paths.get_folder_paths(prompts.FOLDER) == [str(tmp_path / "prompts")]
