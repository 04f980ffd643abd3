#!/usr/bin/env python3
"""diffusers and peft load what fine-tuning in this repository writes, and paint the same images from the same noise.

    python3 -m venv venv && venv/bin/pip install -r tests/interop/requirements.txt
    venv/bin/python tests/interop/finetune.py

`cargo run --example interop_finetune` fine-tunes the small random pipelines of `diffusion.py` for a few steps: U-Net and text encoder, and
LoRA in both (alpha is not the rank; convolutions and 1x1 projections among the targets). Compared with images that this repository
makes of the exported folder: the folder in `StableDiffusionPipeline.from_pretrained`; the original pipeline with
`load_lora_weights`; the original networks with `PeftModel.from_pretrained`. And none of them may be the untrained image. Exit status 1
on a difference.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import torch
import transformers
from diffusion import TOLERANCE, cargo, compare, load, ours, prepare, sd1, sd2, text_to_image, theirs
from peft import PeftModel

# An image of trained weights differs from one of the original weights by at least this share of its largest value.
CHANGED = 1e-3


def with_lora(folder, lora):
    pipe = load(folder, torch.float32)
    pipe.load_lora_weights(lora)
    return pipe


def with_peft(folder, lora):
    pipe = load(folder, torch.float32)
    for part in ("unet", "text_encoder"):
        # Merged, since the pipeline asks its networks for their classes.
        setattr(pipe, part, PeftModel.from_pretrained(getattr(pipe, part), lora / part).merge_and_unload())
    return pipe


def check(label, make):
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        folder, out = work / "theirs", work / "trained"
        make().save_pretrained(folder)
        cargo("--example", "interop_finetune", "--", folder, out)
        good = True
        for name in ("both", "lora"):
            cases = [dict(case) for case in text_to_image(samplers=["ddim", "pndm"])]
            inputs = prepare(cases)
            produced = ours(out / name, work / f"again-{name}", cases, inputs)
            adapters = out / name / "lora"
            readers = {"folder": lambda: load(out / name, torch.float32)}
            if name == "lora":
                readers["diffusers"] = lambda: with_lora(folder, adapters)
                readers["peft"] = lambda: with_peft(folder, adapters)
            untrained = theirs(load(folder, torch.float32), cases[0], inputs, produced)["latents"]
            change = ((produced[f"{cases[0]['name']}/latents"] - untrained).abs().max() / untrained.abs().max()).item()
            for reader, read in readers.items():
                worst = compare(f"{label} {name} {reader}", read(), cases, inputs, produced)
                fits = max(worst.values()) <= TOLERANCE and change > CHANGED
                good &= fits
                errors = ", ".join(f"{kind} {error:.1e}" for kind, error in worst.items())
                print(f"{'ok  ' if fits else 'FAIL'} {label:5} {name:5} {reader:10} {errors}; training changed {change:.1e}", flush=True)
        return good


def main():
    warnings.filterwarnings("ignore")
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    sys.exit(not all([check("sd1", sd1), check("sd2", sd2)]))


if __name__ == "__main__":
    main()
