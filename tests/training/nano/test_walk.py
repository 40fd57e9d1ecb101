"""The walk of training/README.md: clips, encode, train from the embedded LoRA, see the loss fall, sample."""

import csv
import re

import host_comfyui
import pytest

host_comfyui.load_pack()

from pusa.training import encode, train
from pusa.training.nano.walk import clips, sample

README = (host_comfyui.ROOT / "training" / "README.md").read_text()


def commands():
    """The command lines of the walk, as the page has them."""
    section = README.split("## A walk that works here")[1].split("\n## ")[0]
    return [line.split()[3:] for line in re.findall(r"^    (python -m training\.\S+ .+)$", section.replace("\\\n", ""), re.M)]


def test_the_walk(tmp_path, monkeypatch):
    made, encoded, trained, sampled = commands()
    monkeypatch.setattr(clips, "COUNT", 4)
    monkeypatch.chdir(host_comfyui.ROOT)

    def here(arguments):
        """The same, with what is written in a folder of its own."""
        return [str(tmp_path / part.removeprefix("runs/walk/")) if part.startswith("runs/walk/") else part for part in arguments]

    assert clips.main(here(made[1:])) == 0 and len(list((tmp_path / "clips").iterdir())) == 8
    assert encode.main([*here(encoded), "--num_frames", "9"]) == 0
    quick = ["--steps", "6", "--validate_every", "3", "--batch_size", "1", "--mixed_precision", "no"]
    assert train.main([*here(trained), *quick]) == 0
    with open(tmp_path / "run" / "log.csv", newline="") as file:
        scores = [float(row["validation"]) for row in csv.DictReader(file) if row["validation"]]
    assert len(scores) == 3 and scores[-1] < 0.98 * scores[0]
    lora = next((tmp_path / "run").glob("*_best.safetensors"))
    assert sample.sampled(lora, 1, 2).shape == (1, 33, 64, 64, 3) and here(sampled)[1].startswith(str(tmp_path))


@pytest.mark.parametrize("text", ["a red circle dances"])
def test_words_that_the_embedded_model_does_not_know_are_told(text):
    from pusa.schedulers import InputError
    from pusa.training.data.encoders import text_encoder

    with pytest.raises(InputError, match="has the word `dances`"):
        text_encoder("nano")(text)
