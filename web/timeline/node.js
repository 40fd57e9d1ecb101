// The node behind a strip. Nothing of it is kept: after an undo the page shows an old element for a new node, so the node is looked
// up at every use, by its id and that of its graph.

import { app } from "/scripts/app.js";

const LENGTH = "timeline_length"; // of the node's properties: frames, where no latent says it

export class TimelineNode {
    constructor(node) {
        this.node = node;
    }

    /** The node as it is now. */
    get live() {
        const { graph, id } = this.node;
        if (graph) this.home = graph === graph.rootGraph ? null : graph.id;
        const home = this.home ? app.graph.rootGraph.subgraphs.get(this.home) : app.graph.rootGraph;
        return home?.getNodeById(id) ?? this.node;
    }

    get widget() {
        return this.live.widgets?.find(widget => widget.name === "timeline");
    }

    get text() {
        return this.widget?.value ?? "";
    }

    /** Whether the text comes over a link. */
    get linked() {
        return this.live.inputs?.some(input => input.widget?.name === "timeline" && input.link != null) ?? false;
    }

    /** Write the text once, as one step of the page's undo. */
    write(text) {
        const { live, widget } = this;
        if (!widget || this.linked || widget.value === text) return;
        app.canvas.emitBeforeChange();
        widget.value = text;
        widget.callback?.(text, app.canvas, live);
        live.graph?.setDirtyCanvas(true, true);
        app.canvas.emitAfterChange();
    }

    /** What the latent says: its node's class, and its length in frames or null. */
    get latent() {
        const { live } = this;
        const slot = live.inputs?.findIndex(input => input.name === "latent") ?? -1;
        const origin = slot < 0 || !live.graph ? null : live.getInputNode(slot); // a node that was taken out has no graph
        const widget = origin?.widgets?.find(each => each.name === "length");
        return { kind: origin?.comfyClass ?? "", length: typeof widget?.value === "number" ? widget.value : null };
    }

    get fps() {
        return this.live.widgets?.find(widget => widget.name === "fps")?.value || 0;
    }

    get length() {
        return this.latent.length ?? this.live.properties?.[LENGTH] ?? 81;
    }

    set length(frames) {
        this.live.setProperty(LENGTH, frames);
    }
}
