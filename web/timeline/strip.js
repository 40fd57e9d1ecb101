// The film strip: what a text says, drawn; redrawn whenever text, length or the server's answer is another. It holds no state of its own.

import { api } from "/scripts/api.js";
import { Gestures } from "./gestures.js";
import { ends, read } from "./lines.js";
import { isClip, picture } from "./media.js";
import { TimelineNode } from "./node.js";
import { covered, marks, place } from "./places.js";
import { words } from "./words.js";

const CHECK_AFTER = 120; // ms without a change, before the server is asked

function make(name, className, attributes = {}) {
    const element = document.createElement(name);
    element.className = className;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
}

/** A tile of grey noise, the same each time. */
function noiseTile() {
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
    const context = canvas.getContext("2d"), data = context.createImageData(64, 64);
    for (let at = 0, state = 1; at < data.data.length; at += 4) {
        state = (state * 1103515245 + 12345) % 2147483648;
        data.data.fill(30 + (state / 2147483648) * 90, at, at + 3);
        data.data[at + 3] = 255;
    }
    context.putImageData(data, 0, 0);
    return canvas.toDataURL();
}

export class Strip extends HTMLElement {
    /** Build the strip of a node. */
    attach(node) {
        this.node = new TimelineNode(node);
        this.className = "pusa-timeline";
        this.style.setProperty("--noise", `url(${noiseTile()})`);
        this.head = make("div", "head");
        this.status = make("span", "status", { role: "status" });
        this.frames = make("input", "frames", { type: "number", min: 1, step: 1 });
        this.add = make("button", "add", { type: "button" });
        this.add.textContent = "+";
        this.head.append(this.status, this.frames, this.add);
        this.track = make("div", "track");
        this.ruler = make("div", "ruler", { "aria-hidden": "true" });
        this.lane = make("div", "lane", { role: "list" });
        this.grid = make("div", "grid", { "aria-hidden": "true" });
        this.hint = make("div", "hint");
        this.lane.append(this.grid, this.hint);
        this.track.append(this.ruler, this.lane);
        this.append(this.head, this.track);
        this.cards = new Map();
        this.answer = { factor: 4, rate: 16, mistakes: {} };
        this.gestures = new Gestures(this);
        this.frames.addEventListener("change", () => (this.node.length = Math.max(1, Math.round(Number(this.frames.value)) || 81)));
        return this;
    }

    connectedCallback() {
        const tick = () => {
            this.refresh();
            this.tick = requestAnimationFrame(tick);
        };
        this.tick = requestAnimationFrame(tick);
    }

    disconnectedCallback() {
        cancelAnimationFrame(this.tick);
    }

    get factor() {
        return this.answer.factor;
    }

    /** Pixel frames of the clip, as the latent frames decode to them. */
    get length() {
        return Math.floor(Math.max(0, this.node.length - 1) / this.factor) * this.factor + 1;
    }

    /** Items that lie on the clip, each with its place. */
    get items() {
        const found = [];
        for (const { item } of read(this.node.text)) {
            const spot = item && place(item, this.length, this.factor);
            if (spot) found.push({ item, spot });
        }
        return found;
    }

    /** Draw what is there, if it is not drawn yet. */
    refresh() {
        if (this.gestures.active) return;
        const { node } = this, { kind, length } = node.latent, told = words();
        const asked = JSON.stringify([node.text, node.length, kind, node.fps]);
        if (asked !== this.asked) {
            this.asked = asked;
            clearTimeout(this.asking);
            this.asking = setTimeout(() => this.check(asked, kind), CHECK_AFTER);
        }
        const state = JSON.stringify([asked, length, node.linked, told.strip, this.answer]);
        if (state === this.shown) return;
        this.shown = state;
        this.draw(told, length);
    }

    /** Ask the server what the node would say. */
    async check(asked, latent) {
        const { node } = this, body = JSON.stringify({ text: node.text, length: node.length, latent, fps: node.fps });
        const answer = await api.fetchApi("/pusa/timeline", { method: "POST", body }).catch(() => null);
        if (answer?.ok && asked === this.asked) this.answer = await answer.json();
    }

    draw(told, given) {
        const { length, factor, items } = this, mistakes = this.node.linked ? {} : this.answer.mistakes;
        this.setAttribute("aria-label", told.strip);
        for (const element of [this.add, this.frames]) {
            element.title = element === this.add ? told.add : told.length;
            element.setAttribute("aria-label", element.title);
        }
        this.add.disabled = this.node.linked;
        this.frames.hidden = given !== null;
        this.frames.value = length;
        this.hint.textContent = this.node.linked ? told.linked : items.length ? "" : told.empty;
        this.drawRuler();
        const seen = new Map();
        items.sort((a, b) => a.spot.first - b.spot.first);
        items.forEach(({ item, spot }, at) => {
            const key = [item.source, item.begin, item.last !== null].join("\n"), known = seen.get(key) ?? 0;
            seen.set(key, known + 1);
            const name = `${key}\n${known}`, card = this.cards.get(name) ?? this.card(item);
            this.cards.set(name, card);
            card.used = this.shown;
            const gaps = [items[at - 1], items[at + 1]].filter(Boolean).map(other => Math.abs(other.spot.first - spot.first));
            card.gap = Math.min(length, ...gaps);
            const line = each => mistakes[each.item.number + 1], own = mistakes[item.number + 1];
            const other = items.find(each => each.item !== item && each.spot.from <= spot.to && each.spot.to >= spot.from);
            this.lay(card, item, spot, told, own ?? (other && line(other) && told.line(other.item.number + 1, line(other))));
            if (card.parentNode !== this.lane) this.lane.append(card);
        });
        for (const [name, card] of this.cards) {
            if (card.used === this.shown) continue;
            card.remove();
            this.cards.delete(name);
        }
        const [wrong] = Object.entries(mistakes);
        const latents = Math.floor((length - 1) / factor) + 1, seconds = (length / this.answer.rate).toFixed(1);
        const kept = items.reduce((sum, { spot }) => sum + spot.to - spot.from + 1, 0);
        const trouble = this.trouble || (wrong && told.line(...wrong));
        this.say(trouble || told.summary(length, seconds, latents, kept), Boolean(trouble));
    }

    /** Say what went wrong, until a person goes on; nothing takes it back. */
    complain(text) {
        this.trouble = text;
        this.shown = null; // draw again
    }

    drawRuler() {
        const { length, factor } = this, drawn = [length, factor, this.answer.rate].join();
        if (this.ruler.dataset.drawn === drawn) return;
        this.ruler.dataset.drawn = drawn;
        this.ruler.replaceChildren(
            ...marks(length, factor).map(frame => {
                const mark = make("span", "mark");
                mark.style.left = `${this.centre(frame)}%`;
                mark.textContent = frame;
                const time = make("small", "");
                time.textContent = `${(frame / this.answer.rate).toFixed(1)} s`;
                mark.append(time);
                return mark;
            }),
        );
        this.grid.style.left = `${100 / length}%`;
        this.grid.style.backgroundSize = `${(100 * factor) / Math.max(1, length - 1)}% 100%`;
    }

    /** Middle of a frame, in percent of the strip. */
    centre(frame) {
        return (100 * (frame + 0.5)) / this.length;
    }

    /** The element of an item, without its place. */
    card(item) {
        const card = make("div", "item", { role: "listitem", tabindex: 0 }), clip = item.last !== null;
        card.classList.toggle("clip", clip);
        const pictures = make("div", "pictures"), from = Number.parseFloat(item.begin) || 0;
        if (item.socket) pictures.append(item.source);
        else if (!clip) pictures.append(picture(item.source, item.begin === "end" ? -0.05 : from));
        else if (isClip(item.source)) pictures.append(picture(item.source), picture(item.source));
        const level = make("div", "level"), value = make("span", "value"), name = make("span", "name");
        card.append(pictures, level, value, name);
        const sides = clip ? [0, 1] : [0];
        card.knobs = sides.map(end => make("span", "knob", { role: "slider", "aria-valuemin": 0, "aria-valuemax": 1, "data-end": end }));
        card.edges = clip ? sides.map(end => make("span", "edge", { "data-end": end })) : [];
        card.append(...card.knobs, ...card.edges);
        return Object.assign(card, { pictures, level, value, name });
    }

    /** Put an element where its item is, with all that it says. */
    lay(card, item, spot, told, mistake) {
        const clip = item.last !== null, levels = ends(item.noise), [first, last] = covered(spot.from, spot.to, this.factor);
        card.item = item;
        card.style.left = `${clip ? (100 * spot.first) / this.length : this.centre(spot.first)}%`;
        card.style.width = `${(100 * (clip ? spot.last - spot.first + 1 : card.gap)) / this.length}%`;
        const [left, right] = levels.map(level => `${100 * (1 - level)}%`);
        card.level.style.clipPath = `polygon(0 ${left}, 100% ${right}, 100% 100%, 0 100%)`;
        card.value.textContent = levels[0] === levels[1] ? levels[0] : levels.join(" .. ");
        card.name.textContent = item.source;
        card.knobs.forEach((knob, end) => {
            knob.style.bottom = `${100 * levels[end]}%`;
            knob.setAttribute("aria-valuenow", levels[end]);
            knob.setAttribute("aria-label", clip ? told.noiseAt[end] : told.noise);
        });
        card.edges.forEach((edge, end) => edge.setAttribute("aria-label", told.trim[end]));
        const name = clip
            ? told.clip(item.source, spot.first, spot.last, item.begin, `${spot.from}-${spot.to}`)
            : told.picture(item.source, spot.first, spot.from);
        const [low, high] = [Math.min(...levels), Math.max(...levels)];
        const change = high === 0 ? told.kept : low === 1 ? told.free : low === high ? told.level(low) : told.levels(...levels);
        card.told = `${name}; ${told.covers(first, last)}; ${change}; ${told.rest}`;
        card.classList.toggle("wrong", Boolean(mistake));
        card.title = mistake ?? card.told;
        card.setAttribute("aria-label", `${mistake ? `${mistake} ` : ""}${card.told}. ${told.keys}`);
        if (clip) this.seek(card, item, spot);
    }

    /** The first and the last picture of a clip. */
    seek(card, item, spot) {
        const span = (spot.last - spot.first) / this.answer.rate, from = Number.parseFloat(item.begin) || 0;
        card.pictures.querySelectorAll("video").forEach((video, end) => {
            const show = () => {
                const start = item.begin === "end" ? Math.max(0, video.duration - span - 1 / this.answer.rate) : from;
                const wanted = Math.min(start + end * span, Math.max(0, video.duration - 0.01));
                if (Math.abs(video.currentTime - wanted) > 0.01) video.currentTime = wanted;
            };
            if (video.readyState) show();
            else video.onloadeddata = show;
        });
    }

    say(text, wrong = false) {
        this.status.textContent = text;
        this.status.title = text;
        this.status.classList.toggle("wrong", wrong);
    }
}

customElements.define("pusa-timeline", Strip);
