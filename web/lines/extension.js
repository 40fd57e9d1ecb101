// Keeps the line that a node says of itself where it is: since 1.58 the page takes texts of progress away when a job ends.

import { api } from "/scripts/api.js";
import { app } from "/scripts/app.js";

const ENDS = ["execution_success", "execution_error", "execution_interrupted"];
const said = new Map(); // by node: its number for the server, its text, and whether it is from the job that runs

/** The node of the open workflow with such a number; that of one inside a subgraph is a path. */
function find(number) {
    return String(number)
        .split(":")
        .reduce((place, id) => (place?.subgraph ?? place)?.getNodeById?.(Number(id)), app.graph.rootGraph);
}

function sayAgain() {
    for (const [node, { nodeId, text }] of said) {
        if (find(nodeId) === node) api.dispatchCustomEvent("progress_text", { nodeId, text });
        else said.delete(node); // its workflow is not open any more
    }
}

app.registerExtension({
    name: "Pusa.Lines",
    setup() {
        api.addEventListener("progress_text", ({ detail: { nodeId, text } }) => {
            const node = find(nodeId);
            if (node?.comfyClass?.startsWith("Pusa")) said.set(node, { nodeId, text, fresh: true });
        });
        api.addEventListener("execution_start", () => said.forEach(line => (line.fresh = false)));
        api.addEventListener("executing", ({ detail }) => {
            const node = detail && find(detail); // what runs again has something else to say, or nothing
            if (said.get(node)?.fresh === false) said.delete(node);
        });
        for (const end of ENDS) api.addEventListener(end, () => setTimeout(sayAgain)); // after the page's own answer to it
    },
});
