"""The answer of a validator that reads several widgets, so that only those with a mistake are marked."""

import sys

from comfy_execution.graph_utils import ExecutionBlocker


class Mistakes(str):
    """What is wrong with the widgets of a node, each in its own words.

    ComfyUI has one answer for all inputs that a validator names, and puts it on each of them in turn unless it is an
    ExecutionBlocker (`validate_inputs` in its execution.py). This answer looks which input it is being put on: a widget
    without a mistake meets an ExecutionBlocker, the others their own sentence. Where ComfyUI's function looks different one day,
    every widget that the validator names gets all sentences, as from any string.

    Args:
        sentences: by widget, one or more.
    """

    def __new__(cls, sentences: dict[str, str]):
        answer = super().__new__(cls, " ".join(sentences.values()))
        answer.sentences = sentences
        return answer

    def __str__(self) -> str:
        return self.sentences.get(_input_at_hand(), "".join(self))

    @property
    def __class__(self) -> type:
        return Mistakes if _input_at_hand() in (None, *self.sentences) else ExecutionBlocker


def _input_at_hand() -> str | None:
    """The input that ComfyUI is putting an answer on, where its validation asked."""
    asking = sys._getframe(2)
    name = asking.f_locals.get("x") if asking.f_code.co_name == "validate_inputs" else None
    return name if isinstance(name, str) else None
