"""What goes wrong on the way of a run costs as little of it as can be, and is said in words."""

import os
import stat

import pytest
import tiny
import torch
from pusa.schedulers import InputError
from pusa.training.data.encoded import EncodedDataset
from pusa.training.keeping.checkpoint import checkpoints, read_checkpoint
from pusa.training.keeping.room import check_room, needed, probe
from pusa.training.loop import train
from pusa.training.run import Run
from pusa.training.settings import Settings
from pusa.training.store import StoreWriter

FAST = {"steps": 4, "batch_size": 2, "learning_rate": 1e-2, "mixed_precision": "no", "save_every": 0}


class Scale(torch.nn.Module):
    """The smallest network: its input times a number."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, x, timestep, context, transformer_options):
        return self.factor * x


class Unreadable(EncodedDataset):
    """Clips of which one cannot be read once some batches were."""

    def batch(self, indices):
        self.read = getattr(self, "read", 0) + 1
        if self.read > 3:
            raise OSError("the disk is gone")
        return super().batch(indices)


def settings(**changed):
    return Settings(**FAST | changed)


def as_unreadable(clips):
    made = Unreadable.__new__(Unreadable)
    made.__dict__.update(clips.__dict__)
    return made


def test_a_run_that_came_apart_goes_on_at_another_rate_and_says_so(clips, tmp_path, capsys):
    about = {"folder": tmp_path, "show": True}
    train(Scale(), clips, settings(steps=2, weight_decay=0.5), **about)
    network, slower = Scale(), {"learning_rate": 1e-4, "warmup": 3, "grad_clip": 0.1, "weight_decay": 0.25}
    result = train(network, clips, settings(**slower), resume="auto", **about)
    told = capsys.readouterr().out
    assert "Changed on resume, at step 2: learning_rate (0.01 then, 0.0001 now)." in told and told.count("Changed on resume") == 4
    (change,) = result.changes
    assert change["step"] == 2 and len(change["changed"]) == 4
    content = read_checkpoint(checkpoints(tmp_path)[-1])
    assert content["changes"] == [change] and content["optimizer"]["param_groups"][0]["weight_decay"] == 0.25
    again = train(Scale(), clips, settings(steps=5, **slower), resume="auto", **about)
    assert again.changes == [change], "nothing has changed since"


def test_a_run_that_goes_on_from_an_older_checkpoint_keeps_what_it_writes(clips, tmp_path):
    train(Scale(), clips, settings(save_every=1, keep=9), tmp_path, show=False)
    train(Scale(), clips, settings(steps=2, keep=2), tmp_path, resume=checkpoints(tmp_path)[0], show=False)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002.pt", "step-00000004.pt"]
    train(Scale(), clips, settings(steps=5, keep=1), tmp_path, resume=checkpoints(tmp_path)[0], show=False)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000005.pt"]


def test_other_clips_of_the_same_sizes_may_follow(clips, network, tmp_path):
    train(Scale(), clips, settings(steps=2), tmp_path, show=False)
    latents = [clips[index][0] + 1 for index in range(len(clips))]
    other = EncodedDataset.from_tensors(latents, [clips[0][1], clips[1][1]], [0, 1] * 4)
    result = train(Scale(), other, settings(), tmp_path, resume="auto", show=False)
    assert "the data (" in result.changes[0]["changed"][0]


def test_a_finished_run_says_so(clips, tmp_path, capsys):
    train(Scale(), clips, settings(), tmp_path, show=False)
    written = []
    train(Scale(), clips, settings(), tmp_path, resume="auto", on_save=lambda *_: written.append(1))
    assert "Finished already at step 4; `steps` is 4." in capsys.readouterr().out and not written


def test_weights_that_a_bad_step_has_spoiled_are_not_saved(clips, tmp_path):
    network, written = Scale(), []

    def spoil(trained, step):
        if step == 3:
            trained.factor.data.fill_(float("inf"))

    with pytest.raises(InputError, match=r"after step 3 the weights are not finite numbers \(first: factor\)"):
        train(
            network, clips, settings(save_every=1, validate_every=1), tmp_path, validate=spoil, show=False,
            on_save=lambda network, result: written.append(result.step),
        )  # fmt: skip
    assert written == [1, 2] and [read_checkpoint(path)["step"] for path in checkpoints(tmp_path)] == [1, 2]


def test_a_save_that_fails_is_told_and_the_run_goes_on(clips, tmp_path, capsys):
    tries = []

    def save(network, result):
        tries.append(result.step)
        if result.step == 2:
            raise InputError("the disk is full.")

    result = train(Scale(), clips, settings(save_every=1), tmp_path, on_save=save)
    assert result.step == 4 and tries == [1, 2, 3, 4] and len(checkpoints(tmp_path)) == 2
    assert "Warning: the disk is full. The run goes on, and tries again" in capsys.readouterr().out
    with pytest.raises(InputError, match="the disk is full"):  # where nothing comes after it, it is an error
        train(Scale(), clips, settings(steps=2), tmp_path / "new", on_save=save, show=False)


def test_a_checkpoint_that_fails_leaves_the_lora(clips, tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way")
    written = []
    with pytest.raises(InputError, match="a file is where its folder should be"):
        train(Scale(), clips, settings(), tmp_path, on_save=lambda *_: written.append(1), show=False)
    assert written == [1]


def test_an_error_in_a_step_loses_no_step_before_it(clips, tmp_path):
    written = []
    with pytest.raises(OSError, match="the disk is gone"):
        train(
            Scale(), as_unreadable(clips), settings(), tmp_path, show=False, on_save=lambda _, result: written.append(result.step)
        )
    assert written == [3] and read_checkpoint(checkpoints(tmp_path)[-1])["step"] == 3
    resumed, whole = Scale(), Scale()
    train(resumed, clips, settings(), tmp_path, resume="auto", show=False)
    train(whole, clips, settings(), show=False)
    assert torch.equal(resumed.factor, whole.factor)


def test_every_clip_counts_the_same_in_a_step_of_unlike_batches():
    """Three clips and a picture, in one step of two passes, one of them smaller: the mean of all four."""
    latents = [torch.full((16, 3, 4, 4), float(index)) for index in range(3)] + [torch.full((16, 1, 4, 4), 9.0)]
    mixed = EncodedDataset.from_tensors(latents, [torch.ones(2, tiny.TEXT_WIDTH)], [0] * 4)
    run = Run(Scale(), mixed, settings(batch_size=3, accumulate=2), None, None, None, lambda s, b, t, g: torch.full((b, t), 0.5))
    sizes = [len(run.clips(number)) for number in range(2)]
    expected = sum(run.loss(number).item() * size for number, size in enumerate(sizes)) / 4
    assert sorted(sizes) == [1, 3]
    run.step()
    assert run.result.losses[0] == pytest.approx(expected, rel=1e-6)


def store_of(folder, clips):
    with StoreWriter(folder) as writer:
        for index, (latent, context) in enumerate(clips):
            writer.add(f"{index}.mp4", latent, f"caption {index % 2}", context)
    return folder


def test_files_that_are_missing_or_damaged_are_named_at_the_start_and_encoded_again(clips, tmp_path):
    folder = store_of(tmp_path / "store", clips)
    dataset = EncodedDataset(folder)
    dataset.check_files()
    latents, prompts = sorted((folder / "latents").iterdir()), sorted((folder / "prompts").iterdir())
    latents[0].unlink(), prompts[0].unlink()
    latents[1].write_bytes(latents[1].read_bytes()[:-10])
    with pytest.raises(InputError, match=r"3 of 10 files of .* are missing or damaged: latents.0-") as error:
        dataset.check_files()
    assert str(error.value).endswith("Run the same python -m training.encode again: it encodes what is missing or damaged, "
                                     "and nothing else.")  # fmt: skip
    with StoreWriter(folder) as writer:
        kept = [writer.has(f"{index}.mp4", f"caption {index % 2}") for index in range(8)]
        assert kept.count(True) in (3, 4), "half of the clips have the caption whose embedding is gone, two of all are damaged"
        for index, (latent, context) in enumerate(clips):
            if not kept[index]:
                writer.add(f"{index}.mp4", latent, f"caption {index % 2}", context)
    EncodedDataset(folder).check_files()


def test_a_folder_that_cannot_be_written_to_is_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file is where its folder should be"):
        probe(tmp_path / "file" / "run")
    (tmp_path / "new" / "run").mkdir(parents=True)
    (tmp_path / "new" / "run" / ".log.png.pusa-0123456789abcdef.part").write_bytes(b"of a killed run")
    probe(tmp_path / "new" / "run")
    assert not any(path.is_file() for path in (tmp_path / "new").rglob("*"))


def test_the_room_of_the_official_run():
    """Rank 512 on Wan 14B: three checkpoints of 29.4 GB, six LoRA files of 4.9 GB."""
    checkpoints, files = needed(2_453_667_840, Settings(), 2)
    assert (round(checkpoints / 1e9), round(files / 1e9)) == (88, 29)


def test_too_small_a_disk_is_told_before_the_run(tmp_path):
    with pytest.raises(InputError, match="A single save takes"):
        check_room(tmp_path, 10**16, Settings(), 2)
    assert "in all" in check_room(tmp_path, 1000, Settings(), 2)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_mode_that_the_umask_gives(clips, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        train(Scale(), clips, settings(steps=1), tmp_path, show=False)
        store_of(tmp_path / "store", clips)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10 and {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}
