// Files of ComfyUI's input folder: sent there, and shown.

import { api } from "/scripts/api.js";
import { words } from "./words.js";

const ASSET = "application/x-comfy-asset-info";

/** Whether something dragged holds files, or a picture of the page's asset panel. */
export function holdsFiles(transfer) {
    return [...transfer.types].some(type => type === "Files" || type === ASSET);
}

/** Names, as a timeline writes them, of what was dropped; files are uploaded. `failed` is told of each that cannot be. */
export async function dropped(transfer, failed) {
    const asset = transfer.getData(ASSET), files = [...transfer.files];
    if (asset) {
        const { filename, subfolder, type } = JSON.parse(asset);
        return [named(filename, subfolder, type)];
    }
    return upload(files, failed);
}

/** Upload files, one after the other. */
export async function upload(files, failed) {
    const names = [];
    for (const file of files) {
        if (!/^(image|video)\//.test(file.type) && !isClip(file.name)) {
            failed(file.name, words().noMedia);
            continue;
        }
        const body = new FormData();
        body.append("image", file);
        const answer = await api.fetchApi("/upload/image", { method: "POST", body }).catch(error => ({ statusText: error.message }));
        if (!answer.ok) {
            failed(file.name, answer.statusText || answer.status);
            continue;
        }
        const { name, subfolder, type } = await answer.json();
        names.push(named(name, subfolder, type));
    }
    return names;
}

function named(name, subfolder, type) {
    const path = subfolder ? `${subfolder}/${name}` : name;
    return type && type !== "input" ? `${path} [${type}]` : path;
}

export const isClip = name => /\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|ogv|wmv|flv|3gp)( \[\w+\])?$/i.test(name);

function address(name, preview) {
    const [, path, type] = /^(.*?)(?: \[(\w+)\])?$/s.exec(name);
    const parts = path.split("/"), filename = parts.pop();
    const query = new URLSearchParams({ filename, subfolder: parts.join("/"), type: type ?? "input", ...(preview ? { preview: "webp;60" } : {}) });
    return api.apiURL(`/view?${query}`);
}

/** An element that shows a picture, or a clip at a time in seconds; a negative time counts from its end. */
export function picture(name, seconds = 0) {
    if (!isClip(name)) {
        const image = new Image();
        Object.assign(image, { src: address(name, true), alt: "", draggable: false });
        return image;
    }
    const video = document.createElement("video");
    Object.assign(video, { src: address(name), muted: true, preload: "metadata" });
    video.addEventListener("loadedmetadata", () => {
        video.currentTime = Math.max(0, seconds < 0 ? video.duration + seconds : Math.min(seconds, video.duration));
    });
    return video;
}

/** Length of a clip in seconds, or null where the browser cannot tell. */
export function duration(name) {
    return new Promise(done => {
        const video = document.createElement("video");
        video.preload = "metadata";
        video.onloadedmetadata = () => done(Number.isFinite(video.duration) ? video.duration : null);
        video.onerror = () => done(null);
        video.src = address(name);
    });
}
