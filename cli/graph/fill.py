"""A graph in API format with a user's settings in it."""

from dataclasses import dataclass

from .conditions import clips, kept, pictures
from .files import fill_files
from .filling import LOADED, Filling
from .links import GraphError, drop, links, only, path_to, source_of
from .settings import Settings
from .tasks import Task
from .timeline import timeline

SAMPLING = {  # our flags for the inputs of the node that samples
    "num_inference_steps": "steps", "cfg_scale": "cfg", "shift": "shift", "sampler": "sampler_name", "scheduler": "scheduler",
    "seed": "seed", "switch_DiT_boundary": "boundary", "overlap": "overlap", "new_frames": "new_frames", "hops": "hops",
    "direction": "direction",
}  # fmt: skip
LATENT = {"width": "width", "height": "height", "num_frames": "length"}
ENCODERS = ("CLIPTextEncode", "PusaLoadPrompt")
LORA_LOADERS = ("PusaLoraLoader", "PusaModelLoader", "PusaModelPairLoader")


@dataclass(frozen=True)
class Filled:
    """A graph ready to be posted once its files are on the server.

    Attributes:
        uploads: name on the server -> file on this machine. The graph holds the names, alone or in a text.
        said: prompts and seed, the user's or the graph's own.
        paths: name of a model file -> path as it was given. The graph holds the name, which a server may list in a folder.
    """

    graph: dict
    uploads: dict
    paths: dict
    said: dict


def fill(graph: dict, task: Task, settings: Settings) -> Filled:
    """Put settings into a copy of a graph.

    Raises:
        GraphError: names the flag, and what the graph has or lacks.
    """
    filling = Filling(graph, task)
    only(graph, "SaveVideo")
    fill_values(filling, settings)
    fill_files(filling, settings)
    fill_strengths(filling, settings)
    fill_prompts(filling, settings)
    if task.files == "pictures":
        pictures(filling, settings)
    elif task.files == "timeline":
        timeline(filling, settings)
    elif task.files and task.sampler == "PusaKSampler":
        kept(filling, settings)
    elif task.files:
        clips(filling, settings)
    return Filled(filling.graph, filling.uploads, filling.paths, said(filling))


def said(filling: Filling) -> dict:
    """Prompts, one or one for each hop, and seed of the node that samples."""
    texts = {"positive": [], "negative": []}
    for socket, source in links(filling.graph[filling.sampler]).items():
        node = filling.graph.get(source)
        if node and node["class_type"] in ENCODERS and (kind := socket.partition(".")[0]) in texts:
            texts[kind].append(node["inputs"][LOADED[node["class_type"]]])
    return {"prompt": texts["positive"], "negative_prompt": texts["negative"], "seed": filling.inputs.get("seed")}


def fill_values(filling: Filling, settings: Settings) -> None:
    """Numbers and choices of the sampler, the size, and the frame rate."""
    for flag, name in SAMPLING.items():
        if (value := getattr(settings, flag)) is not None:
            if flag == "switch_DiT_boundary" and "model_low" not in filling.inputs:
                raise GraphError(f"--{flag}: the graph samples with one model; the boundary is between the two of Wan2.2")
            filling.inputs[name] = value
    for flag, name in LATENT.items():
        if (value := getattr(settings, flag)) is not None:
            filling.latent(flag)[name] = value
    if settings.fps is not None:
        path = path_to(filling.graph, only(filling.graph, "SaveVideo"), "video", ("CreateVideo",))
        filling.graph[source_of(filling.graph, path[-1])]["inputs"]["fps"] = settings.fps


def fill_strengths(filling: Filling, settings: Settings) -> None:
    """Strengths of the Pusa LoRAs."""
    pair = "model_low" in filling.inputs
    for flag, socket in (("lora_alpha", "model"), ("high_lora_alpha", "model"), ("low_lora_alpha", "model_low")):
        value = getattr(settings, flag)
        if value is None:
            continue
        if pair == (flag == "lora_alpha"):
            right = "two models; give --high_lora_alpha and --low_lora_alpha" if pair else "one model; give --lora_alpha"
            raise GraphError(f"--{flag}: the graph samples with {right}")
        loader = filling.graph[lora_loader(filling, socket)]
        name = {"model": "strength_high", "model_low": "strength_low"}[socket]
        loader["inputs"][name if loader["class_type"] == "PusaModelPairLoader" else "strength"] = value


def lora_loader(filling: Filling, socket: str) -> str:
    """The node that loads the Pusa LoRA of a model. Of several, it is the one whose file has Pusa in its name."""
    user, loaders = filling.sampler, []
    while True:
        try:
            user = source_of(filling.graph, path_to(filling.graph, user, socket, LORA_LOADERS)[-1])
        except GraphError:
            break
        if filling.graph[user]["inputs"].get("lora_name") != "none":
            loaders.append(user)
        socket = "model"
    if len(loaders) > 1:
        loaders = [id for id in loaders if "pusa" in str(filling.graph[id]["inputs"].get("lora_name", "pusa")).lower()]
    if len(loaders) != 1:
        raise GraphError(f"{len(loaders) or 'no'} nodes load a Pusa LoRA for {filling.task.sampler}; exactly one can be set")
    return loaders[0]


def fill_prompts(filling: Filling, settings: Settings) -> None:
    """Texts, or names of stored prompts, of the encoders that feed the sampler."""
    hops = filling.task.sampler == "PusaExtendVideo"
    first = "positive.prompt0" if hops else "positive"
    given = prompt_for(filling, first, "prompt", settings)
    limit = filling.inputs["hops"] if hops else 1
    if len(given) > limit:
        what = f"{limit} hop{'s' * (limit > 1)}; raise --hops" if hops else "one video"
        raise GraphError(f"--prompt is given {len(given)} times for {what}")
    slots = [f"positive.prompt{number}" for number in range(len(given))] if hops else [first]
    for slot, text in zip(slots, given):
        filling.inputs.setdefault(slot, list(filling.inputs[first]))
        filling.set(filling.sampler, slot, ENCODERS, text)
    if given and hops:  # the last prompt goes on
        for slot in [name for name in filling.inputs if name.startswith("positive.") and name not in slots]:
            drop(filling.graph, filling.sampler, slot)
    if settings.negative_prompt is not None or settings.negative_prompt_file is not None:
        text = prompt_for(filling, "negative", "negative_prompt", settings)
        filling.set(filling.sampler, "negative", ENCODERS, text)


def prompt_for(filling: Filling, slot: str, flag: str, settings: Settings):
    """What was given for the encoder behind a socket: a text, or the name of a stored prompt."""
    source = links(filling.graph[filling.sampler]).get(slot)
    kind = filling.graph[source]["class_type"] if source in filling.graph else "nothing"
    if kind not in ENCODERS:
        raise GraphError(f"--{flag}: {slot} of {filling.task.sampler} comes from {kind}; it must be {' or '.join(ENCODERS)}")
    stored = kind == "PusaLoadPrompt"
    right, wrong = (f"{flag}_file", flag) if stored else (flag, f"{flag}_file")
    if getattr(settings, wrong):
        takes = "stored prompts (PusaLoadPrompt)" if stored else "texts (CLIPTextEncode)"
        raise GraphError(f"--{wrong}: the graph takes {takes}; give --{right}")
    given = getattr(settings, right)
    if given == () and not stored:
        raise GraphError(f"--{flag} is missing")
    return given
