// The lines of a timeline, as schedulers/timeline/lines.py reads and writes them. A line that is not understood here is left alone;
// what is wrong with it the server says in words.

const CHOICES = {
    fit: ["crop", "pad", "stretch"],
    encode: ["causal", "still"],
    resample: ["nearest", "blend", "keep"],
    renoise: ["once", "always", "steps"],
};
const BLANK = " \\t\\r\\u3000";
const EDGES = new RegExp(`^[${BLANK}]+|[${BLANK}]+$`, "g");
const COMMAS = /[,\uff0c\u3001\uff64]/;
const COMMENT = /(?:^|(?<=[ \t\u3000]))#.*/;
const QUOTED = /^"((?:[^"\\]|\\.)*)"/;
const ODD = /[\x00-\x1f\x7f,\uff0c\u3001\uff64"\\#\u3000]|^ | $|  | from |^image[0-9]+$/;
const PLACE = /^(-?[0-9]{1,9}|last)(?:\s*-\s*(-?[0-9]{1,9}|last))?$/;
const SECONDS = /^[0-9]{1,6}(?:\.[0-9]{1,6})?s$/;
const NUMBER = /^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/;

const trim = text => text.replace(EDGES, "");

function ascii(text) {
    return text
        .replace(/[\uff01-\uff5e]/g, sign => String.fromCharCode(sign.charCodeAt(0) - 0xfee0))
        .replace(/\u3000/g, " ")
        .replace(/[\u3001\uff64]/g, ",")
        .replace(/[\u3002\uff61]/g, ".")
        .replace(/[\u2212\u30fc]/g, "-");
}

/** Every line of a text: {line, item} with the item that it holds, or {line} where it holds none that is understood. */
export function read(text) {
    return text.split("\n").map((line, number) => ({ line, item: readLine(line, number) }));
}

function readLine(line, number) {
    if (!trim(line) || trim(line).startsWith("#")) return null;
    const colon = line.search(/[:\uff1a]/);
    const place = colon < 0 ? null : PLACE.exec(trim(ascii(line.slice(0, colon))));
    if (!place) return null;
    const found = readSource(trim(line.slice(colon + 1)));
    const options = found?.source ? readOptions(found.parts) : null;
    if (!options) return null;
    return { number, first: place[1], last: place[2] ?? null, ...found, ...options, parts: undefined };
}

function readSource(rest) {
    const quoted = QUOTED.exec(rest);
    const behind = quoted ? rest.slice(quoted[0].length) : rest;
    const comment = COMMENT.exec(behind)?.[0] ?? "";
    const [head, ...parts] = behind.replace(COMMENT, "").split(COMMAS);
    let source = quoted ? quoted[1].replace(/\\(.)/g, "$1") : trim(head), begin = "";
    if (quoted) {
        begin = trim(head);
        if (begin && !begin.startsWith("from ")) return null;
        begin = trim(begin.slice(5));
    } else if (source.startsWith('"')) {
        return null;
    } else if (source.lastIndexOf(" from ") > 0) {
        const at = source.lastIndexOf(" from ");
        [source, begin] = [trim(source.slice(0, at)), trim(source.slice(at + 6))];
    }
    begin = ascii(begin).replaceAll(" ", "") || "start";
    if (begin !== "start" && begin !== "end" && !SECONDS.test(begin)) return null;
    return { source, socket: !quoted && /^image[0-9]{1,9}$/.test(source), begin, comment, parts };
}

function readOptions(parts) {
    const options = { noise: "0.2", fit: "crop", encode: "causal", resample: "nearest", renoise: "once", renoiseSteps: 1 };
    const noise = [], seen = new Set();
    let name = "";
    for (const part of parts) {
        const word = trim(ascii(part)), space = word.indexOf(" ");
        const key = space < 0 ? word : word.slice(0, space), value = space < 0 ? "" : trim(word.slice(space));
        if (key !== "noise" && !CHOICES[key]) {
            if (name !== "noise") return null;
            noise.push(word);
            continue;
        }
        if (seen.has(key)) return null;
        seen.add((name = key));
        const steps = /^steps ([0-9]{1,5})$/.exec(value);
        if (key === "noise") noise.push(value);
        else if (key === "renoise" && steps && Number(steps[1])) Object.assign(options, { renoise: "steps", renoiseSteps: Number(steps[1]) });
        else if (CHOICES[key].includes(value) && value !== "steps") options[key] = value;
        else return null;
    }
    if (noise.length) {
        const text = noise.join(", "), dots = text.indexOf("..");
        const ramp = dots < 0 ? null : [trim(text.slice(0, dots)), trim(text.slice(dots + 2))];
        if (!(ramp ?? noise).every(each => NUMBER.test(each) && Number(each) >= 0 && Number(each) <= 1)) return null;
        options.noise = ramp ? ramp.join("..") : text;
    }
    return options;
}

/** The line of an item, its comment behind it. */
export function print(item) {
    const place = item.last === null ? item.first : `${item.first}-${item.last}`;
    const name = item.socket || !ODD.test(item.source) ? item.source : `"${item.source.replace(/(["\\])/g, "\\$1")}"`;
    const parts = [`${place}: ${name}${item.begin === "start" ? "" : ` from ${item.begin}`}`, `noise ${item.noise}`];
    for (const [key, choices] of Object.entries(CHOICES)) {
        const steps = item[key] === "steps" ? ` ${item.renoiseSteps}` : "";
        if (item[key] !== choices[0]) parts.push(`${key} ${item[key]}${steps}`);
    }
    return parts.join(", ") + (item.comment ? `  ${item.comment}` : "");
}

/** A new item for a file. */
export function newItem(source, first, last, begin = "start", noise = "0.2") {
    const item = { number: null, first, last, source, socket: false, begin, comment: "" };
    return Object.assign(item, readOptions([]), { noise });
}

/** A text with the line of an item written anew, or a line more where it has none yet. */
export function withItem(text, item) {
    const lines = text.split("\n");
    if (item.number !== null) lines[item.number] = print(item);
    else if (!trim(lines.at(-1))) lines[lines.length - 1] = print(item);
    else lines.push(print(item));
    return lines.join("\n");
}

/** A text without the line of an item. */
export function withoutItem(text, item) {
    return text.split("\n").filter((_, number) => number !== item.number).join("\n");
}

/** Multipliers at the first and the last latent frame of an item. */
export function ends(noise) {
    const values = noise.split(noise.includes("..") ? ".." : ",").map(Number);
    return [values[0], values.at(-1)];
}

/** A noise text with another value at its first (0) or last (1) latent frame; `clip` tells whether there are several. */
export function withEnd(noise, end, value, clip) {
    const written = String(Number(value.toFixed(3)));
    if (!clip) return written;
    if (noise.includes(",")) return noise.split(",").map((each, at, all) => (at === end * (all.length - 1) ? written : trim(each))).join(", ");
    const both = ends(noise).map(each => String(each));
    both[end] = written;
    return both[0] === both[1] ? written : both.join("..");
}
