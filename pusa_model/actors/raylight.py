"""A condition for a model in the actors of the pack raylight, through the hook that they have for functions.

An actor is a process with a GPU and a model of its own. ``model_function_runner.remote(fn, ...)`` sets its model to ``fn(model,
...)``, ``model_function_runner_get_values`` answers with what ``fn`` returns. This pack cannot be imported there by its name, so
``fn`` is sent whole, loads the pack from its folder, and is given plain values.

Source: raylight 1.5.1 (github.com/komikndr/raylight at c049571), ``RayWorker`` in distributed_worker/ray_worker.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...schedulers import InputError, Recipe
from ..condition import Condition
from ..families import exchanged
from ..families.lookup import counted_otherwise, of_model
from ..guards import remarks
from ..run import KEY
from ..sampling import prepare, with_samples

PACK = Path(__file__).resolve().parents[2]
NAME = "pusa_of_an_actor"  # what the pack is called in an actor


def is_installed(folders: Iterable[str]) -> bool:
    """Whether raylight lies in one of the folders of custom nodes, and is not disabled."""
    found = (path.parents[1].name for folder in folders for path in Path(folder).glob("*/src/raylight"))
    return any(not name.endswith(".disabled") for name in found)


def plain(condition: Condition) -> dict[str, Any]:
    """A condition as numbers, texts and a tensor, which any process can read."""
    values = {each.name: getattr(condition, each.name) for each in fields(condition)}
    return values | {"recipe": condition.recipe and {each.name: getattr(condition.recipe, each.name) for each in fields(Recipe)}}


def from_plain(values: dict[str, Any]) -> Condition:
    """The condition that ``plain`` was given."""
    return Condition(**values | {"recipe": values["recipe"] and Recipe(**values["recipe"])})


def take_off(model) -> None:
    """Take an earlier condition off a MODEL that is nobody else's: its wrappers, its callbacks and the forwards it exchanged."""
    for kind in model.wrappers:
        model.remove_wrappers_with_key(kind, KEY)
    for kind in model.callbacks:
        model.remove_callbacks_with_key(kind, KEY)
    exchanged.restore(model)


def prepared(model, latent: dict[str, Any], values: dict[str, Any], shift: float, node: str):
    """In an actor: its MODEL with this condition in place of an earlier one."""
    take_off(model)
    return prepare(model, latent, from_plain(values), shift, node)[0]


def answer(model, latent: dict[str, Any], values: dict[str, Any], shift: float, node: str) -> dict[str, Any]:
    """In an actor, which it leaves as it is: the samples [B, C, T, h, w] with the frames in place, and what is worth saying.

    A refusal is a text under ``error``: the caller knows the classes of this process by other names.
    """
    model, condition = model.clone(), from_plain(values)
    take_off(model)
    try:
        said = [counted_otherwise(of_model(model), latent), *(remarks(model) if condition.conditioned else ())]
        samples = prepare(model, latent, condition, shift, node)[1]["samples"]
    except InputError as error:
        return {"error": str(error)}
    return {"samples": samples, "said": [text for text in said if text]}


def sent(function: str) -> Callable:
    """One of the two above as a function that an actor can be given. It has no ties to this module, so it is pickled whole."""
    folder, name = str(PACK), NAME

    def run(model, *given):
        import importlib.util
        import sys

        if name not in sys.modules:
            place = {"submodule_search_locations": [folder]}
            spec = importlib.util.spec_from_file_location(name, f"{folder}/__init__.py", **place)
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return getattr(importlib.import_module(f"{name}.pusa_model.actors.raylight"), function)(model, *given)

    return run


def apply(
    actors: dict[str, Any], latent: dict[str, Any], condition: Condition, shift: float, node: str
) -> tuple[dict[str, Any], list[str]]:
    """Put a condition on the models of all actors, in place of an earlier one.

    Args:
        actors: RAY_ACTORS of raylight, with the handles under ``workers``.
        latent: LATENT dict of the size that the condition was made for.
        node: name in front of the errors of a run.

    Returns:
        The latent to sample, with the frames in place, and what is worth saying.

    Raises:
        InputError: no actors, or what ``prepare`` refuses; the models are then as they were.
    """
    workers = actors.get("workers") if isinstance(actors, dict) else None
    if not workers:
        raise InputError("`ray_actors` holds no actors. Connect the output of Load Diffusion Model (Ray).")
    given = (latent, plain(condition), shift, node)
    told = workers[0].model_function_runner_get_values.remote(sent("answer"), *given).future().result()
    if "error" in told:
        raise InputError(told["error"])
    for done in [worker.model_function_runner.remote(sent("prepared"), *given) for worker in workers]:
        done.future().result()
    return with_samples(latent, told["samples"]), told["said"]
