"""Encoded clips on disk and in memory."""

import json

import pytest
import tiny
import torch
from pusa.schedulers import InputError
from pusa.training.data.encoded import EncodedDataset, padded
from pusa.training.store import StoreWriter, dataset_hash, read_index


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=tiny.seeded(seed))


def words(seed, rows=3, length=8, width=6):
    return padded(rand(rows, width, seed=seed), length)


def write(folder, clips=3, **how):
    with StoreWriter(folder, how) as writer:
        for index in range(clips):
            writer.add(f"clip {index}.mp4", rand(4, 3, 2, 2, seed=index), f"caption {index % 2}", words(index % 2))
    return folder


@pytest.mark.parametrize("preload", [False, True])
def test_what_goes_in_comes_out(tmp_path, preload):
    dataset = EncodedDataset(write(tmp_path / "store"), preload)
    assert len(dataset) == 3 and dataset.shapes == [(4, 3, 2, 2)] * 3 and dataset.empty is None
    for index in range(3):
        latent, context = dataset[index]
        assert torch.equal(latent, rand(4, 3, 2, 2, seed=index)) and torch.equal(context, words(index % 2))
    latents, contexts = dataset.batch([2, 0])
    assert torch.equal(latents[0], dataset[2][0]) and torch.equal(contexts[1], dataset[0][1])


def test_preloaded_clips_need_no_files(tmp_path):
    dataset = EncodedDataset(write(tmp_path / "store"), preload=True)
    for path in (tmp_path / "store").rglob("*.safetensors"):
        path.unlink()
    assert dataset.batch([0, 1])[0].shape == (2, 4, 3, 2, 2)


def test_a_caption_is_stored_once_and_without_its_empty_rows(tmp_path):
    files = list((write(tmp_path / "store") / "prompts").iterdir())
    assert len(files) == 2 and all(path.stat().st_size < 3 * 6 * 4 + 400 for path in files)


def test_embeddings_of_unlike_length_are_filled_up_with_zeros(tmp_path):
    dataset = EncodedDataset.from_tensors([rand(4, 1, 2, 2)] * 2, [words(0, length=5), words(1, length=9)], [0, 1])
    contexts = dataset.batch([0, 1])[1]
    assert contexts.shape == (2, 9, 6) and not contexts[0, 5:].any() and torch.equal(contexts[0, :5], words(0, length=5))


def test_the_dtype_is_kept(tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        writer.add("a", rand(4, 3, 2, 2).bfloat16(), "a", words(0).half())
        writer.add_prompt("", words(5))
    dataset = EncodedDataset(tmp_path / "store")
    assert [tensor.dtype for tensor in dataset[0]] == [torch.bfloat16, torch.float16]
    assert torch.equal(dataset.empty, words(5))


def test_the_hash_is_of_what_is_seen(tmp_path):
    first = EncodedDataset(write(tmp_path / "a")).hash
    assert first == EncodedDataset(write(tmp_path / "b")).hash
    assert first != EncodedDataset(write(tmp_path / "c", clips=2)).hash
    for change in ({"latent": rand(4, 3, 2, 2, seed=9)}, {"caption": "another"}):
        folder = write(tmp_path / next(iter(change)))
        with StoreWriter(folder) as writer:
            writer.add(**{"name": "clip 0.mp4", "latent": rand(4, 3, 2, 2), "caption": "caption 0", "embedding": words(0)} | change)
        assert EncodedDataset(folder).hash != first
    assert EncodedDataset.from_tensors([rand(1, 1, 2, 2)], [words(0)], [0]).hash != EncodedDataset.from_tensors(
        [rand(1, 1, 2, 2)], [words(1)], [0]
    ).hash  # fmt: skip


def test_an_interrupted_run_loses_nothing(tmp_path):
    """The index was not written at the end; the files themselves say what they are."""
    writer = StoreWriter(tmp_path / "store", {"size": 64})
    writer.add("a.mp4", rand(4, 3, 2, 2), "one", words(0), source="10 bytes")
    (tmp_path / "store" / "latents" / ".half.part").write_bytes(b"cut off")
    with StoreWriter(tmp_path / "store", {"size": 64}) as again:
        assert again.has("a.mp4", "one", "10 bytes")
        assert not again.has("a.mp4", "two", "10 bytes") and not again.has("a.mp4", "one", "11 bytes")
        assert not again.has("b.mp4", "one", "10 bytes")
    index = read_index(tmp_path / "store")
    assert [item["name"] for item in index["items"]] == ["a.mp4"] and index["dataset_hash"] == dataset_hash(index["items"])


def test_an_embedding_is_made_only_for_a_new_caption(tmp_path):
    made = []

    def embedding():
        made.append(1)
        return words(0)

    with StoreWriter(tmp_path / "store") as writer:
        for name in ("a", "b"):
            writer.add(name, rand(4, 3, 2, 2), "the same", embedding)
    assert len(made) == 1


def test_names_that_differ_only_in_signs_do_not_collide(tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        for index, name in enumerate(("a/b.mp4", "a b.mp4", "../a.b.mp4", "ä.mp4", "ö.mp4")):
            writer.add(name, rand(4, 1, 2, 2, seed=index), "a", words(0))
    dataset = EncodedDataset(tmp_path / "store")
    assert len({tuple(latent.flatten().tolist()) for latent, _ in dataset}) == 5


def test_what_cannot_be_meant_is_refused(tmp_path):
    store = write(tmp_path / "store", size=64)
    with pytest.raises(InputError, match="size is 64 there, 96 here"):
        StoreWriter(store, {"size": 96})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="neither empty nor a store"):
        StoreWriter(tmp_path / "other")
    with StoreWriter(tmp_path / "new") as writer, pytest.raises(InputError, match=r"the latent has the shape \(1, 4, 3, 2, 2\)"):
        writer.add("a", rand(1, 4, 3, 2, 2), "a", words(0))
    with pytest.raises(InputError, match="holds no clips"):
        EncodedDataset(tmp_path / "new")
    with pytest.raises(InputError, match="holds no encoded clips"):
        EncodedDataset(tmp_path / "other")
    with pytest.raises(InputError, match="2 latents for 1 prompts"):
        EncodedDataset.from_tensors([rand(1, 1, 2, 2)] * 2, [words(0)], [0])


def test_damage_is_named(tmp_path):
    store = write(tmp_path / "store")
    index = json.loads((store / "index.json").read_text())
    (store / "latents" / index["items"][1]["file"]).write_bytes(b"damaged")
    with pytest.raises(InputError, match=f"{index['items'][1]['file']} cannot be read"):
        EncodedDataset(store, preload=True)
    with StoreWriter(store) as writer:
        assert sorted(writer.items) == ["clip 0.mp4", "clip 2.mp4"]  # the damaged one is encoded again
    (store / "index.json").write_text(json.dumps(index | {"version": 99}))
    with pytest.raises(InputError, match="of version 99"):
        EncodedDataset(store)
    (store / "index.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        EncodedDataset(store)
