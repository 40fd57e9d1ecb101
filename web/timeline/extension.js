// Puts the strip beside the text of Timeline (Pusa). The text is the timeline; the strip shows it, and nothing of the strip is saved.

import { app } from "/scripts/app.js";
import { Strip } from "./strip.js";

const HEIGHT = 190;

app.registerExtension({
    name: "Pusa.Timeline",
    init() {
        const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("strip.css", import.meta.url) });
        document.head.append(style);
    },
    nodeCreated(node) {
        if (node.comfyClass !== "PusaTimeline") return;
        const strip = new Strip().attach(node);
        const options = { serialize: false, hideOnZoom: false, hideInPanel: true, getMinHeight: () => HEIGHT };
        const widget = node.addDOMWidget("timeline_strip", "PUSA_TIMELINE_STRIP", strip, options);
        widget.serialize = false;
        // The classic canvas would keep the width that another canvas gave it.
        Object.defineProperty(widget, "width", { get: () => undefined, set() {} });
        if (node.size[0] < 480) node.setSize([480, node.size[1]]);
    },
});
