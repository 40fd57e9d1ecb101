"""Stand-ins for what other packs put around a model: each a few lines with the call pattern of the real thing, named for it."""

import comfy.ldm.wan.model
import comfy.model_patcher
import comfy.samplers
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers

Wan = comfy.ldm.wan.model.WanModel


class ForeignWan(Wan):
    """RES4LYF's ReWan: a class whose forward runs no wrapper."""

    def forward(self, x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs):
        return self._forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)


class OneTimestepWan(Wan):
    """ComfyUI-TeaCache: a forward of its own from before networks took a vector of timesteps."""

    def forward_orig(self, x, t, context, **kwargs):
        torch.outer(t, torch.ones(self.freq_dim // 2))
        return super().forward_orig(x, t, context, **kwargs)


def object_patch(name, function):
    def put(model):
        patched = model.clone()
        patched.add_object_patch(f"diffusion_model.{name}", function(model.model.diffusion_model))
        return patched

    return put


def wrapper(kind, function):
    def put(model):
        patched = model.clone()
        patched.add_wrapper_with_key(kind, "neighbour", function)
        return patched

    return put


def past_the_wrappers(network):
    def forward(x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs):
        return Wan._forward(network, x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)

    return forward


def through_the_class(network):
    return lambda *args, **kwargs: Wan.forward(network, *args, **kwargs)


def wrappers_by_itself(network):
    def forward(x, timestep, context, clip_fea=None, time_dim_concat=None, transformer_options={}, **kwargs):
        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, transformer_options)
        executor = WrapperExecutor.new_class_executor(network._forward, network, wrappers)
        return executor.execute(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)

    return forward


def only_one_timestep(network):
    """An own ``forward_orig`` of the old kind, as an object patch."""
    return lambda *args, **kwargs: OneTimestepWan.forward_orig(_as(network, OneTimestepWan), *args, **kwargs)


def _as(network, kind):
    shown = kind.__new__(kind)
    shown.__dict__ = network.__dict__
    return shown


def blocks_called_the_older_way(network):
    """ComfyUI-NAG: block replacements without ``transformer_options``, as ComfyUI called them before August 2025."""

    def forward_orig(x, t, context, clip_fea=None, freqs=None, transformer_options={}, **kwargs):
        def older(replacement):
            def call(args, extra):
                original = {"original_block": lambda kept: extra["original_block"](args | kept)}
                return replacement({key: args[key] for key in ("img", "txt", "vec", "pe")}, original)

            return call

        replaced = transformer_options.get("patches_replace", {})
        dit = {key: older(value) for key, value in replaced.get("dit", {}).items()}
        options = transformer_options | {"patches_replace": replaced | {"dit": dit}}
        return Wan.forward_orig(network, x, t, context, clip_fea, freqs, options, **kwargs)

    return forward_orig


def first_timestep_for_all(executor, x, timestep, *args, **kwargs):
    return executor(x, timestep.reshape(len(x), -1)[:, -1], *args, **kwargs)


def passed_on(executor, *args, **kwargs):
    return executor(*args, **kwargs)


def one_row_at_a_time(model):
    """A model function wrapper that splits the batch of guidance."""

    def call(apply_model, args):
        rows = range(len(args["input"]))
        parts = {key: value for key, value in args["c"].items() if not torch.is_tensor(value)}
        split = {key: value for key, value in args["c"].items() if torch.is_tensor(value)}
        return torch.cat(
            [
                apply_model(
                    args["input"][row : row + 1],
                    args["timestep"][row : row + 1],
                    **parts,
                    **{key: value[row : row + 1] for key, value in split.items()},
                )
                for row in rows
            ]
        )

    patched = model.clone()
    patched.set_model_unet_function_wrapper(call)
    return patched


def block_replacement(model):
    """Any pack that replaces blocks and calls the original."""
    patched = model.clone()
    for index in range(len(model.model.diffusion_model.blocks)):
        patched.set_model_patch_replace(lambda args, extra: extra["original_block"](args), "dit", "double_block", index)
    return patched


HARMLESS = {
    "nothing": lambda model: model,
    "a forward that calls the class's": object_patch("forward", through_the_class),
    "a forward that runs the wrappers itself": object_patch("forward", wrappers_by_itself),
    "a forward_orig that calls blocks the older way": object_patch("forward_orig", blocks_called_the_older_way),
    "a model function wrapper that splits the batch": one_row_at_a_time,
    "block replacements": block_replacement,
} | {
    f"a wrapper of {kind}": wrapper(kind, passed_on)
    for kind in (
        WrappersMP.OUTER_SAMPLE,
        WrappersMP.SAMPLER_SAMPLE,
        WrappersMP.PREDICT_NOISE,
        WrappersMP.CALC_COND_BATCH,
        WrappersMP.APPLY_MODEL,
        WrappersMP.DIFFUSION_MODEL,
    )
}

IN_THE_WAY = {
    "a forward past the wrappers": object_patch("forward", past_the_wrappers),
    "a class whose forward runs no wrapper": object_patch("__class__", lambda network: ForeignWan),
    "a forward of the old kind": object_patch("forward_orig", only_one_timestep),
    "a class of the old kind": object_patch("__class__", lambda network: OneTimestepWan),
    "a wrapper that hands on one timestep": wrapper(WrappersMP.DIFFUSION_MODEL, first_timestep_for_all),
}


class OwnPrediction(comfy.samplers.CFGGuider):
    """A guider that replaces ``predict_noise`` and leaves ``__call__``: most of them."""

    def predict_noise(self, x, timestep, model_options={}, seed=None):
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, self.conds["negative"], self.conds["positive"], self.cfg, model_options, seed
        )


class PastPredictNoise(comfy.samplers.CFGGuider):
    """ComfyUI-NAG's guider."""

    def __call__(self, *args, **kwargs):
        return self.predict_noise(*args, **kwargs)


class PastAfterOnce(comfy.samplers.CFGGuider):
    """A guider that goes through the wrappers in its first step alone."""

    begun = False

    def __call__(self, *args, **kwargs):
        begun, self.begun = self.begun, True
        return self.predict_noise(*args, **kwargs) if begun else super().__call__(*args, **kwargs)


class PastSamplerSample(comfy.samplers.CFGGuider):
    """A guider that calls the sampler itself."""

    def inner_sample(self, noise, latent_image, device, sampler, sigmas, denoise_mask, callback, disable_pbar, seed, **kwargs):
        self.conds = comfy.samplers.process_conds(self.inner_model, noise, self.conds, device, latent_image, denoise_mask, seed)
        extra = {"model_options": comfy.model_patcher.create_model_options_clone(self.model_options), "seed": seed}
        return sampler.sample(self, sigmas, extra, callback, noise, latent_image, denoise_mask, disable_pbar)


class Draft(comfy.samplers.CFGGuider):
    """A guider that lets another sampler make a draft before its own begins, in one run."""

    def inner_sample(self, noise, latent_image, device, sampler, sigmas, *args, **kwargs):
        prompts = {name: [each.copy() for each in given] for name, given in self.conds.items()}
        super().inner_sample(noise, latent_image, device, comfy.samplers.sampler_object("lcm"), sigmas, *args, **kwargs)
        self.conds = prompts
        return super().inner_sample(noise, latent_image, device, sampler, sigmas, *args, **kwargs)


class PastOuterSample(comfy.samplers.CFGGuider):
    """A guider that begins in the middle."""

    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, disable_pbar=False, seed=None):
        self.conds = {name: [each.copy() for each in prompts] for name, prompts in self.original_conds.items()}
        return self.outer_sample(noise, latent_image, sampler, sigmas, denoise_mask, callback, disable_pbar, seed)


def euler(state=torch.float32, call=torch.float32, result=torch.float32, dips=()):
    """Euler that keeps its state in one dtype, calls the model in another and returns a third, as RES4LYF's samplers do.

    Args:
        dips: levels at which the model is called once more in every step, for nothing, as implicit methods do.
    """

    def sample(model, x, sigmas, extra_args=None, callback=None, disable=None, **options):
        x = x.to(state)
        ones = torch.ones(len(x), dtype=call)
        for level, following in zip(sigmas[:-1].to(state), sigmas[1:].to(state)):
            d = model(x.to(call), level.to(call) * ones, **extra_args).to(state)
            for dip in dips:
                model(x.to(call), dip * ones, **extra_args)
            x = x + (x - d) / level * (following - level)
        return x.to(result)

    return comfy.samplers.KSAMPLER(sample)
