// What a person does on the strip: drag, trim, set noise, drop, add, remove; by pointer or by keys. Each writes the text once.

import { ends, newItem, read, withEnd, withItem, withoutItem } from "./lines.js";
import { dropped, duration, holdsFiles, isClip, upload } from "./media.js";
import { between, freeRoom, moved, place, snapped, trimmed } from "./places.js";
import { words } from "./words.js";

const CLIP = 13; // frames of a clip that is dropped, where it has as many
const NOISE_STEP = 0.05;
const rounded = (value, step) => Math.min(1, Math.max(0, Math.round(value / step) * step));

export class Gestures {
    constructor(strip) {
        this.strip = strip;
        this.active = null;
        const { lane } = strip;
        lane.addEventListener("pointerdown", event => this.begin(event));
        lane.addEventListener("pointermove", event => this.move(event));
        lane.addEventListener("pointerup", event => this.end(event));
        lane.addEventListener("pointercancel", () => this.abandon());
        lane.addEventListener("dblclick", event => this.choose(event));
        strip.add.addEventListener("click", () => this.pick(0));
        strip.addEventListener("keydown", event => this.key(event));
        strip.addEventListener("pointerdown", event => event.stopPropagation()); // the page would drag the node
        for (const name of ["pointerover", "focusin"]) lane.addEventListener(name, event => this.tell(event));
        for (const name of ["pointerleave", "focusout"]) lane.addEventListener(name, () => (strip.shown = null));
        for (const name of ["dragenter", "dragover", "dragleave", "drop"]) strip.addEventListener(name, event => this.drag(event));
    }

    /** The frame under the pointer, with its fraction: 0 is the middle of frame 0. */
    frame(event) {
        const box = this.strip.lane.getBoundingClientRect();
        return ((event.clientX - box.left) / box.width) * this.strip.length - 0.5;
    }

    spot(item) {
        return place(item, this.strip.length, this.strip.factor);
    }

    begin(event) {
        const card = event.target.closest(".item"), { node } = this.strip;
        if (!card || event.button || node.linked) return;
        this.strip.complain("");
        const { item } = card, spot = this.spot(item);
        const handle = event.target.closest(".knob, .edge");
        const kind = handle?.classList.contains("knob") ? "noise" : handle ? "trim" : "move";
        this.active = { card, item, spot, kind, end: Number(handle?.dataset.end ?? 0), at: this.frame(event), draft: item, text: node.text };
        this.strip.lane.setPointerCapture(event.pointerId); // no preventDefault: the page's undo waits for the mouseup
        card.focus({ preventScroll: true });
        card.classList.add("held");
    }

    move(event) {
        const { active, strip } = this;
        if (!active) return;
        const { item, spot, kind, end, card } = active, { length, factor } = strip, frame = this.frame(event);
        const far = frame - active.at;
        if (kind === "move") active.draft = Math.abs(far) < factor / 2 ? item : moved(item, spot, spot.first + far, length, factor);
        if (kind === "trim") active.draft = trimmed(item, spot, end, frame, length, factor);
        if (kind === "noise") {
            const box = card.getBoundingClientRect(), level = rounded(1 - (event.clientY - box.top) / box.height, NOISE_STEP);
            active.draft = { ...item, noise: withEnd(item.noise, end, level, item.last !== null) };
        }
        strip.lay(card, active.draft, this.spot(active.draft), words());
        strip.say(card.told);
    }

    end() {
        const { active, strip } = this;
        if (!active) return;
        this.abandon();
        if (active.draft !== active.item && active.text === strip.node.text) strip.node.write(withItem(active.text, active.draft));
    }

    abandon() {
        this.active?.card.classList.remove("held");
        this.active = null;
        this.strip.shown = null; // draw again
    }

    tell(event) {
        const card = event.target.closest(".item");
        if (card && !this.active) this.strip.say(card.title, card.classList.contains("wrong"));
    }

    key(event) {
        const card = event.target.closest(".item"), { strip } = this, { node } = strip;
        if (event.key === "Escape" && this.active) this.abandon();
        if (!card || node.linked || event.ctrlKey || event.metaKey) return;
        const { item } = card, spot = this.spot(item), { length, factor } = strip, clip = item.last !== null;
        const across = { ArrowLeft: -factor, ArrowRight: factor }[event.key], up = { ArrowUp: 1, ArrowDown: -1 }[event.key];
        let text = null;
        if (across && event.shiftKey && clip) text = trimmed(item, spot, 1, spot.last + across, length, factor);
        else if (across) text = moved(item, spot, spot.first + across, length, factor);
        else if (up) {
            const levels = ends(item.noise).map(level => rounded(level + up * NOISE_STEP, 0.01));
            let noise = withEnd(item.noise, 0, levels[0], clip);
            if (clip && levels[1] !== ends(item.noise)[1]) noise = withEnd(noise, 1, levels[1], clip);
            text = { ...item, noise };
        }
        text = text ? withItem(node.text, text) : ["Delete", "Backspace"].includes(event.key) ? withoutItem(node.text, item) : null;
        if (text === null) return;
        event.stopPropagation(); // Delete is not for the node
        event.preventDefault();
        node.write(text);
    }

    choose(event) {
        event.stopPropagation();
        if (!event.target.closest(".item")) this.pick(this.frame(event));
    }

    /** Let a person choose files, to lie from a frame on. */
    pick(frame) {
        if (this.strip.node.linked) return;
        this.strip.complain("");
        const input = Object.assign(document.createElement("input"), { type: "file", multiple: true, accept: "image/*,video/*" });
        input.addEventListener("change", async () => this.add(await upload(input.files, this.failed), frame));
        input.click();
    }

    failed = (name, why) => this.strip.complain(words().upload(name, why));

    async drag(event) {
        if (!holdsFiles(event.dataTransfer)) return;
        event.preventDefault(); // the page would take it for a workflow
        event.stopPropagation();
        this.strip.complain("");
        if (this.strip.node.linked) return;
        this.strip.classList.toggle("over", event.type === "dragenter" || event.type === "dragover");
        if (event.type !== "drop") return;
        const frame = this.frame(event);
        this.add(await dropped(event.dataTransfer, this.failed), frame);
    }

    /** Lines for files, from a frame on; several pictures on an empty strip are spread over it. */
    async add(names, frame) {
        const { strip } = this, { length, factor } = strip, latents = Math.floor((length - 1) / factor);
        const spread = names.length > 1 && !strip.items.length && !names.some(isClip), seconds = new Map();
        for (const name of names.filter(isClip)) seconds.set(name, await duration(name));
        let text = strip.node.text, wanted = spread ? 0 : snapped(frame, length, factor);
        names.forEach((name, at) => {
            const clip = isClip(name), frames = Math.floor((seconds.get(name) ?? CLIP) * strip.answer.rate);
            const span = clip ? Math.max(1, Math.min(Math.floor((Math.min(frames, CLIP) - 1) / factor), latents)) : 0;
            if (spread) wanted = Math.round((at * latents) / (names.length - 1)) * factor;
            const taken = read(text).map(({ item }) => item && this.spot(item)).filter(Boolean);
            const first = freeRoom(taken, span, clip, wanted, length, factor);
            if (first === null) return strip.complain(words().noRoom(name));
            const last = first + span * factor, ending = clip && first > 0 && last === length - 1;
            const noise = clip ? (ending ? "0.5..0" : "0..0.5") : "0.2";
            text = withItem(text, between(newItem(name, "", clip ? "" : null, clip && first === 0 ? "end" : "start", noise), first, last, length));
            wanted = last + 4 * factor;
        });
        strip.node.write(text);
    }
}
