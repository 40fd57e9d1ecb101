// Frames, latent frames and shares of the strip: where items lie on a clip of `length` pixel frames.

/** Where an item lies: {first, last, from, to} in frames and latent frames, or null where it does not. */
export function place(item, length, factor) {
    const index = word => {
        const value = word === "last" ? length - 1 : Number(word);
        return value < 0 ? value + length : value;
    };
    const first = index(item.first), last = item.last === null ? first : index(item.last);
    if (!(first >= 0 && last < length && last >= first)) return null;
    if (item.last === null) return { first, last, from: Math.ceil(first / factor), to: Math.ceil(first / factor) };
    if (first % factor || last % factor || first === last) return null;
    return { first, last, from: first / factor + (first > 0 ? 1 : 0), to: last / factor };
}

/** Pixel frames of latent frames. */
export const covered = (from, to, factor) => [Math.max(0, factor * (from - 1) + 1), factor * to];

/** A frame as it is written: the last one by that name, so that it stays the last where the length changes. */
export const written = (frame, length) => (frame === length - 1 && frame > 0 ? "last" : String(frame));

/** The nearest frame that is a multiple of the factor. */
export const snapped = (frame, length, factor) => Math.min(Math.max(Math.round(frame / factor), 0), Math.floor((length - 1) / factor)) * factor;

/** An item moved so that it begins at a frame. */
export function moved(item, spot, frame, length, factor) {
    const span = spot.last - spot.first;
    const first = Math.min(snapped(frame, length, factor), length - 1 - span);
    return between(item, first, first + span, length);
}

/** A clip with one end (0 or 1) at a frame; it keeps one latent frame at least. */
export function trimmed(item, spot, end, frame, length, factor) {
    const at = snapped(frame, length, factor);
    if (end) return between(item, spot.first, Math.max(at, spot.first + factor), length);
    return between(item, Math.min(at, spot.last - factor), spot.last, length);
}

/** An item from a first to a last frame. */
export function between(item, first, last, length) {
    if (item.last === null) return { ...item, first: written(first, length) };
    return { ...item, first: String(first), last: written(last, length) };
}

/** The first frame of the free room for `span` latent frames that is nearest to a frame, or null. */
export function freeRoom(taken, span, clip, frame, length, factor) {
    let best = null;
    for (let first = 0; first + (clip ? span : 0) * factor < length; first += factor) {
        const from = first / factor + (clip && first > 0 ? 1 : 0), to = first / factor + (clip ? span : 0);
        const free = !taken.some(spot => spot.from <= to && spot.to >= from);
        if (free && (best === null || Math.abs(first - frame) < Math.abs(best - frame))) best = first;
    }
    return best;
}

/** Frames that the ruler names: multiples of the factor, about ten of them, and the last. */
export function marks(length, factor) {
    const step = Math.max(1, Math.ceil((length - 1) / factor / 10)) * factor, found = [];
    for (let frame = 0; frame <= length - 1 - step / 2; frame += step) found.push(frame);
    return [...found, length - 1];
}
