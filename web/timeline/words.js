// What the strip says, in the language of the page.

import { app } from "/scripts/app.js";

const WORDS = {
    en: {
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
        noRoom: name => `There is no free place left for ${name}.`,
        keys: "Arrow keys move it and change its noise, with Shift they trim a clip; Delete takes it away.",
    },
    zh: {
        strip: "时间线",
        add: "添加图片或视频片段",
        length: "帧数（没有连接 latent 时）",
        summary: (frames, seconds, latents, given) => `${frames} 帧，${seconds} 秒；${latents} 个潜空间帧中给定 ${given} 个`,
        empty: "把图片和视频片段拖到这里，或双击添加。",
        linked: "时间线文本来自连线，请在来源处修改。",
        picture: (name, frame, latent) => `${name}：第 ${frame} 帧，潜空间帧 ${latent}`,
        clip: (name, first, last, from, latents) => `${name}（从 ${from} 取）：第 ${first} 至 ${last} 帧，潜空间帧 ${latents}`,
        covers: (first, last) => (first === last ? `对应第 ${first} 帧` : `覆盖第 ${first} 至 ${last} 帧`),
        kept: "完全保留",
        free: "完全自由",
        level: value => `最多可变化 ${value}`,
        levels: (first, last) => `可变化程度从 ${first} 到 ${last}`,
        rest: "其余各帧自由生成",
        noise: "噪声",
        noiseAt: ["首帧噪声", "末帧噪声"],
        trim: ["片段起点", "片段终点"],
        line: (number, sentence) => `第 ${number} 行：${sentence}`,
        upload: (name, why) => `${name} 未能上传：${why}`,
        noRoom: name => `没有空位可放 ${name}。`,
        keys: "方向键移动并调整噪声，按住 Shift 裁剪片段，Delete 删除。",
    },
};

/** The words of the page's language, English where there are none. */
export function words() {
    const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
    return language.startsWith("zh") ? WORDS.zh : WORDS.en;
}
