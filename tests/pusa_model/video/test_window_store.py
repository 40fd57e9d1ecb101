"""Sampled windows on disk: which are kept, and what tells one from another."""

import os
import subprocess
import sys
from dataclasses import fields, replace

import folder_paths
import host_comfyui
import pytest
import tiny
import torch
from pusa.pusa_model.condition import Condition
from pusa.pusa_model.sampling import sample
from pusa.pusa_model.storage import identity
from pusa.pusa_model.timeline.encode import encode_clip
from pusa.pusa_model.video import window_store
from pusa.pusa_model.video.window import WindowSampler
from pusa.pusa_model.video.window_store import load_window, store_window, window_key
from pusa.schedulers import fit_noise


@pytest.fixture
def temp(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
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


def test_the_key_of_what_only_this_process_knows_does_not_outlive_it(temp):
    key = window_key(thing=lambda: None)
    assert window_key(thing=1).startswith("lasting-") and not key.startswith("lasting-")
    store_window(key, torch.zeros(1, 16, 2, 4, 4))
    assert list(temp.rglob(f"{key}.safetensors")) and not (temp.parent / "user").exists()


def test_keys_tell_values_apart(positive):
    values = (1, 1.0, "1", None, True, [1], {"a": 1}, {"a": 2}, torch.ones(1), torch.ones(2), {1: 2, "a": 3}, positive)
    keys = [window_key(value=value) for value in values]
    assert len(set(keys)) == len(keys) and window_key(value=positive) == keys[-1]


SETTINGS = dict(noise="0, 0.5", steps=2, cfg=1.0, shift=5.0, sampler_name="euler", scheduler="flow_match", boundary=0.875)
LENGTH = 9
BEFORE = torch.rand(5, 32, 32, 3, generator=tiny.seeded(5))


@pytest.fixture(scope="module")
def low():
    return tiny.wan_model(tiny.wan_weights(10))


@pytest.fixture
def pair(wan, low, vae, negative):
    """A sampler of a Wan2.2 pair whose every value matters: the levels are 1, 0.91 and 0.71, all but the first the low expert's."""
    return WindowSampler(wan, vae, negative, **SETTINGS | {"steps": 3, "cfg": 2.0, "boundary": 0.95}, model_low=low, cfg_low=1.5)


def drawn(sampler, positive, seed=7):
    """The latent of a window, sampled or as it was stored."""
    with torch.inference_mode():
        sampler.draw(positive, seed, LENGTH, BEFORE, None)
        return load_window(window_key(positive=positive, seed=seed, length=LENGTH, before=BEFORE, after=None, **sampler._inputs()))


CHANGES = {
    "model": lambda old: tiny.wan_model(tiny.wan_weights(11)),
    "vae": lambda old: tiny.vae(9),
    "negative": lambda old: tiny.prompt(8),
    "noise": lambda old: "0, 0.4",
    "steps": lambda old: 4,
    "cfg": lambda old: 2.5,
    "shift": lambda old: 4.0,
    "sampler_name": lambda old: "heun",
    "scheduler": lambda old: "beta",
    "model_low": lambda old: None,
    "boundary": lambda old: 0.875,
    "cfg_low": lambda old: None,
}


def test_every_input_of_a_window_tells_it_from_others(pair):
    """The one list above has every field of the sampler, and each makes another key, that of equal values none."""
    assert set(CHANGES) == {each.name for each in fields(WindowSampler)} - {"windows", "warn"}
    keys = {None: window_key(**pair._inputs()), "again": window_key(**replace(pair, model=pair.model.clone())._inputs())}
    assert keys.pop("again") == keys[None]
    for name, change in CHANGES.items():
        keys[name] = window_key(**replace(pair, **{name: change(getattr(pair, name))})._inputs())
    assert len(set(keys.values())) == len(keys)
    assert all(key.startswith("lasting-") for key in keys.values())
    shown = replace(pair, windows=9, warn=print)
    assert window_key(**shown._inputs()) == keys[None], "what changes no frame changes no key"


@pytest.mark.parametrize("name", [*CHANGES, "seed", "positive"])
def test_a_changed_input_gives_the_window_that_it_gives_alone(temp, pair, positive, name, monkeypatch):
    first = drawn(pair, positive)
    changed = replace(pair, **{name: CHANGES[name](None)}) if name in CHANGES else pair
    given = {"positive": tiny.prompt(6) if name == "positive" else positive, "seed": 8 if name == "seed" else 7}
    second = drawn(changed, **given)
    monkeypatch.setattr(folder_paths, "user_directory", str(temp.parent / "another"))
    assert torch.equal(second, drawn(changed, **given)) and not torch.equal(first, second)


def test_a_window_is_what_the_sampler_makes_of_the_same_values(temp, pair, positive):
    """The Wan2.2 pair with its boundary and its cfg, handed on whole."""
    with torch.inference_mode():
        given = encode_clip(pair.vae, BEFORE)
        latent = torch.zeros(1, 16, 3, 4, 4)
        condition = Condition.empty(latent).add(given, range(2), fit_noise("0, 0.5", 2))
        settings = {name: getattr(pair, name) for name in ("steps", "cfg", "shift", "sampler_name", "scheduler")}
        experts = {"model_low": pair.model_low, "boundary": pair.boundary, "cfg_low": pair.cfg_low}
        given = {"seed": 7, "denoise": 1.0, "condition": condition}
        expected = sample(pair.model, positive, pair.negative, {"samples": latent}, **given, **settings, **experts)
    assert torch.equal(drawn(pair, positive), expected["samples"])


def test_what_is_damaged_is_sampled_again(temp, caplog):
    latent = torch.rand(1, 16, 2, 4, 4, generator=tiny.seeded(1))
    for key in ("lasting-key", "key"):
        store_window(key, latent)
        (path,) = temp.parent.rglob(f"{key}.safetensors")
        good = path.read_bytes()
        for place in range(0, len(good), 37):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            found = load_window(key)
            assert found is None or torch.equal(found, latent)
        assert "sampled again" in caplog.text
        path.write_bytes(good)
        path.with_name(f"{key}2.safetensors").write_bytes(good)
        assert load_window(f"{key}2") is None, "another window under this name"
        store_window(key, latent * torch.nan)
        assert torch.equal(load_window(key), latent), "a window that is not finite is not kept"


ANOTHER = """
import sys
sys.path[:0] = [{tests!r}, {tests!r} + "/pusa_model/video"]
import host_comfyui
host_comfyui.start(); host_comfyui.load_pack()
import folder_paths, os, signal, tiny, torch
from pusa.pusa_model.video import window, window_store
from test_window_store import BEFORE, LENGTH, SETTINGS
folder_paths.set_user_directory({user!r}); folder_paths.set_temp_directory({temp!r})
steps = [0]
class Told(window.WindowSampler):
    def _sample(self, *inputs):
        if steps[0] == {hops}:
            os.kill(os.getpid(), signal.SIGKILL)
        steps[0] += 1
        return super()._sample(*inputs)
sampler = Told(tiny.wan_model(tiny.wan_weights()), tiny.vae(), tiny.prompt(4), **SETTINGS)
context = BEFORE
with torch.inference_mode():
    for hop in range(4):
        context = sampler.draw(tiny.prompt(3), hop, LENGTH, context, None)[-5:]
print(steps[0], context.sum().item())
"""


def test_a_killed_process_leaves_its_finished_hops_to_the_next(temp):
    """Killed in the third hop of four: the next process samples two, and gets what one that was never killed gets."""
    answers = {}
    for name, user, hops in (("killed", "user", 2), ("next", "user", -1), ("alone", "other", -1)):
        script = ANOTHER.format(tests=str(host_comfyui.ROOT / "tests"), user=str(temp.parent / user), temp=str(temp), hops=hops)
        process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ)
        answers[name] = process.stdout.split() if process.returncode == 0 else process.returncode
    assert answers["killed"] == -9 and answers["next"][0] == "2" and answers["alone"][0] == "4"
    assert answers["next"][1] == answers["alone"][1]


def test_windows_of_this_process_are_not_those_of_another_with_its_number(temp, monkeypatch):
    """Process numbers come back, in a container after every restart."""
    store_window("key", torch.zeros(1, 16, 2, 4, 4))
    assert load_window("key") is not None
    monkeypatch.setattr(identity, "_RANDOM", "another")
    assert load_window("key") is None


def test_windows_of_a_process_that_is_gone_go(temp):
    """Those that mean nothing to another process, and only those."""
    gone, living = temp / "pusa_windows" / "gone", temp / "pusa_windows" / "living"
    for folder in (gone, living):
        folder.mkdir(parents=True)
        (folder / "x.safetensors").write_bytes(b"")
    with open(living / "alive", "wb") as held:
        (gone / "alive").write_bytes(b"")
        assert window_store.lock(held, wait=False)
        store_window("key", torch.zeros(1, 16, 2, 4, 4))
        assert not gone.exists() and (living / "x.safetensors").exists()
