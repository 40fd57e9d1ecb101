"""A graph for Wan turned to the embedded model, which runs anywhere: its files, its size, and stored prompts in place of texts."""

FILES = {
    "unet_name": "pusa_nano_wan.safetensors",
    "lora_name": "pusa_nano_lora.safetensors",
    "vae_name": "pusa_nano_vae.safetensors",
    "width": 64,
    "height": 64,
    "cfg": 1,  # half the work
}
PROMPTS = {"Prompt": "nano_positive.safetensors", "Negative prompt": "nano_negative.safetensors"}
# In the graph of the page, or inside its node of a blueprint.
STORED_PROMPTS = """([prompts, inside]) => {
    const graph = inside ? app.graph.nodes.find(node => node.isSubgraphNode()).subgraph : app.graph;
    for (const [title, file] of Object.entries(prompts)) {
        const encoder = graph.nodes.find(node => node.title === title);
        const stored = LiteGraph.createNode('PusaLoadPrompt');
        graph.add(stored);
        stored.widgets[0].value = file;
        for (const id of [...encoder.outputs[0].links]) {
            const link = graph.getLink(id);
            stored.connect(0, graph.getNodeById(link.target_id), link.target_slot);
        }
    }
}"""
SET_ALL = """values => {
    for (const node of app.graph.nodes)
        for (const widget of node.widgets ?? []) if (widget.name in values) widget.value = values[widget.name];
}"""


def use(editor, widgets: dict, inside: bool = False) -> None:
    """Set widgets of the page's nodes by name, and put stored prompts in the place of encoded ones."""
    editor.evaluate(STORED_PROMPTS, [PROMPTS, inside])
    editor.evaluate(SET_ALL, widgets)
