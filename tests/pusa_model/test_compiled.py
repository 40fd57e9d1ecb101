"""torch.compile: no graph break of ours, no compilation again, and blocks that are compiled one by one are used."""

import pytest
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from sampled import empty, given, run

LATENT = empty()
CONDITIONS = {"first": ("0, 2", "0, 0.3"), "other places": ("1, 3", "0, 0.3"), "other noise": ("0, 2", "0.1, 0.9")}


@pytest.fixture
def model(wan):
    """A Wan with PyTorch's attention, as on a GPU. That of a CPU asks for the free memory, at which a graph breaks."""
    model = wan.clone()
    model.model_options["transformer_options"]["optimized_attention_override"] = pytorch_attention
    torch.compiler.reset()
    yield model
    torch.compiler.reset()


def pytorch_attention(function, *args, **kwargs):
    return attention_pytorch(*args, **kwargs)


def explained(model, positive, negative, condition):
    """What the compiler makes of the network as it is called in a run."""
    answers = []

    def ask(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs):
        network = torch._dynamo.explain(executor.class_obj.diffusion_model)
        answers.append(network(x, t, context=c_crossattn, transformer_options=transformer_options.copy()))
        return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)

    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "explain", ask)
    run(model, positive, negative, LATENT, condition, steps=1)
    return answers[0]


@pytest.mark.parametrize("condition", [None, given(LATENT, "0, 2", "0, 0.3")], ids=["text to video", "image to video"])
def test_the_network_is_one_graph_with_a_condition_as_without(model, positive, negative, condition):
    answer = explained(model, positive, negative, condition)
    assert (answer.graph_count, answer.graph_break_count) == (1, 0), answer.break_reasons


def compiled(model, keys) -> list:
    """Compile parts of a model with a compiler that only notes what it is given; returns the notes."""
    graphs = []

    def note(graph, inputs):
        graphs.append(graph)
        return graph.forward

    set_torch_compile_wrapper(model=model, backend=note, keys=keys)
    return graphs


def test_another_seed_or_condition_compiles_nothing_again(model, positive, negative):
    plain, graphs = model.clone(), compiled(model, ["diffusion_model"])
    for seed, places in enumerate(CONDITIONS.values()):
        condition = given(LATENT, *places)
        result = run(model, positive, negative, LATENT, condition, seed=seed)
        assert len(graphs) == 1
        assert (result - run(plain, positive, negative, LATENT, condition, seed=seed)).abs().max() < 1e-5


def test_blocks_that_are_compiled_one_by_one_are_used(model, positive, negative):
    """As node packs compile Wan. A block of this pack's would take the plain one."""
    plain, condition = model.clone(), given(LATENT, "0, 2", "0, 0.3")
    blocks = len(model.model.diffusion_model.blocks)
    graphs = compiled(model, [f"diffusion_model.blocks.{index}" for index in range(blocks)])
    result = run(model, positive, negative, LATENT, condition)
    assert len(graphs) == blocks
    assert (result - run(plain, positive, negative, LATENT, condition)).abs().max() < 1e-5
