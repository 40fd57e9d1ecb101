"""A graph queued again with other noise, positions, seed or prompt encodes nothing, reads no model file and patches no weight."""

import sys

import host_comfyui

sys.path.append(str(host_comfyui.ROOT))  # behind ComfyUI, whose `nodes` must be found first

from benchmarks import again  # noqa: E402


def test_only_what_was_changed_is_done_again():
    found = again.measure()
    assert set(again.FREE) < set(again.CHANGES)
    for change in ("nothing", *again.FREE):
        assert not any(found[change].values()), change
    encodes, files, patches = found["the first time"]
    first = found["the first time"]
    assert first[encodes] == 2 and first[files] == 3 and first[patches] > 0, "the counters count"
    assert found["picture"] == {encodes: 1, files: 0, patches: 0}
    assert found["LoRA strength"] == {encodes: 0, files: 1, patches: first[patches]}, "the LoRA alone is read"
