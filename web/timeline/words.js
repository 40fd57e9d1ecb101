// What the strip says, in the language of the page.

import { app } from "/scripts/app.js";
import { CHINESE } from "./zh.js";

const ENGLISH = {
    strip: "Timeline",
    add: "Add a picture or clip",
    length: "Frames, where no latent says it",
    summary: (frames, seconds, latents, given) => `${frames} frames, ${seconds} s; ${given} of ${latents} latent frames given`,
    empty: "Drop pictures and clips here, or double-click.",
    linked: "The timeline comes over a link; change it where it comes from.",
    picture: (name, frame, latent) => `${name}: frame ${frame}, latent frame ${latent}`,
    clip: (name, first, last, from, latents) => `${name} from ${from}: frames ${first} to ${last}, latent frames ${latents}`,
    covers: (first, last) => (first === last ? `it is frame ${first}` : `it covers frames ${first} to ${last}`),
    kept: "kept exactly",
    free: "left free",
    level: value => `may change up to ${value}`,
    levels: (first, last) => `may change up to ${first}, rising or falling to ${last}`,
    rest: "the rest is free",
    noise: "Noise",
    noiseAt: ["Noise of the first frame", "Noise of the last frame"],
    trim: ["Start of the clip", "End of the clip"],
    line: (number, sentence) => `Line ${number}: ${sentence}`,
    upload: (name, why) => `${name} was not uploaded: ${why}`,
    noMedia: "it is neither a picture nor a video",
    noRoom: name => `There is no free place left for ${name}.`,
    keys: "Arrow keys move it and change its noise, with Shift they trim a clip; Delete takes it away.",
};

/** The words of the page's language, English where there are none. */
export function words() {
    const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
    return language.startsWith("zh") ? CHINESE : ENGLISH;
}
