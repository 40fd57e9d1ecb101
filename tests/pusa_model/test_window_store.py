"""Sampled windows on disk: which are kept, and what tells one from another."""

import folder_paths
import pytest
import torch
from pusa.pusa_model import window_store
from pusa.pusa_model.window_store import load_window, store_window, window_key


@pytest.fixture
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    return tmp_path / "temp"


def test_what_was_not_asked_for_longest_is_forgotten(temp, monkeypatch):
    latent = torch.zeros(1, 16, 2, 4, 4)
    store_window("first", latent)
    monkeypatch.setattr(window_store, "LIMIT", 3 * sum(path.stat().st_size for path in temp.rglob("*.safetensors")))
    for key in ("second", "third"):
        store_window(key, latent)
    assert load_window("first") is not None
    store_window("fourth", latent)
    assert [load_window(key) is not None for key in ("first", "second", "third", "fourth")] == [True, False, True, True]


def test_inputs_that_cannot_be_told_apart_are_not_stored(temp):
    class Nameless:
        __slots__ = ()

    assert window_key(thing=Nameless()) is None
    store_window(None, torch.zeros(1))
    assert load_window(None) is None and not temp.exists()


def test_keys_tell_values_apart(positive):
    values = (1, 1.0, "1", None, True, [1], {"a": 1}, {"a": 2}, torch.ones(1), torch.ones(2), {1: 2, "a": 3}, positive)
    keys = [window_key(value=value) for value in values]
    assert len(set(keys)) == len(keys) and window_key(value=positive) == keys[-1]
