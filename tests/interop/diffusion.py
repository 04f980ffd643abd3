#!/usr/bin/env python3
"""diffusers loads the pipelines that this repository writes, and paints the same images from the same noise.

    python3 -m venv venv && venv/bin/pip install -r tests/interop/requirements.txt
    venv/bin/python tests/interop/diffusion.py

Small random pipelines (Stable Diffusion 1; Stable Diffusion 2 with v-prediction; one with a BERT) are made and saved by diffusers in
the file formats that people have, loaded and written again by `cargo run --example interop_diffusion`, and loaded by
`StableDiffusionPipeline.from_pretrained` from the folder written here. So is the folder of `roentgen dev random-pipeline`. Weights
must be equal bit for bit and of the same type; latents and images of text-to-image and image-to-image within TOLERANCE of those that
this repository computed. Exit status 1 on a difference.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.autoencoders import vae as posterior
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as img2img
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertConfig, BertModel, BertTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

ROOT = Path(__file__).resolve().parents[2]
# Largest difference to the largest value, for latents and for decoded pixels. With these pipelines diffusers differs by 4e-7 to
# 1.1e-5 from itself in 64 bits; sums in another order differ about as much.
TOLERANCE = 5e-5

PROMPT = "Big right-sided pleural effusion, ‘no’ pneumothorax"
NEGATIVE = "pacemaker leads; low quality"
SIDE = 64
SAMPLERS = {
    "pndm": PNDMScheduler,
    "ddim": DDIMScheduler,
    "dpm++2m": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
}
COMPONENTS = ["text_encoder", "unet", "vae"]


def clip_tokenizer(pad):
    """Bytes, bytes at the end of a word, and a few merges."""
    characters = sorted(ByteLevel.alphabet())
    vocabulary = characters + [character + "</w>" for character in characters]
    merges = []
    for word in ["pleural", "effusion", "pneumothorax", "right", "no"]:
        left = word[0]
        for i, right in enumerate(word[1:], 2):
            right += "</w>" if i == len(word) else ""
            if left + right not in vocabulary:
                merges.append((left, right))
                vocabulary.append(left + right)
            left += right
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    ids = {token: i for i, token in enumerate(vocabulary)}
    return CLIPTokenizer(vocab=ids, merges=merges, pad_token=pad, model_max_length=77)


def clip(tokenizer, width, heads, activation, eos_token_id):
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=3,
            num_attention_heads=heads,
            hidden_act=activation,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=eos_token_id,
        )
    )


def pipeline(tokenizer, text_encoder, **options):
    """Stable Diffusion of four levels, as narrow as groups and heads allow."""
    prediction = options.pop("prediction_type", "epsilon")
    unet = UNet2DConditionModel(
        sample_size=SIDE // 8,
        block_out_channels=(16, 16, 24, 24),
        norm_num_groups=8,
        layers_per_block=2,
        cross_attention_dim=text_encoder.config.hidden_size,
        **options,
    )
    vae = AutoencoderKL(
        sample_size=SIDE,
        block_out_channels=(8, 8, 16, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
        prediction_type=prediction,
    )
    # As in Stable Diffusion's files, although PNDM has no such option: without it the sampler's DDIM would clip, and a random model
    # that is clipped enlarges rounding until diffusers differs from itself in 64 bits by a thousandth.
    scheduler.register_to_config(clip_sample=False)
    parts = {"text_encoder": text_encoder, "unet": unet, "vae": vae}
    for part in parts.values():
        randomise(part)
    return StableDiffusionPipeline(
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **parts,
    )


def sd1():
    tokenizer = clip_tokenizer("<|endoftext|>")
    return pipeline(tokenizer, clip(tokenizer, 32, 4, "quick_gelu", 2), attention_head_dim=4)


def sd2():
    tokenizer = clip_tokenizer("!")
    encoder = clip(tokenizer, 40, 5, "gelu", tokenizer.eos_token_id)
    linear = {"use_linear_projection": True, "prediction_type": "v_prediction"}
    return pipeline(tokenizer, encoder, attention_head_dim=[2, 2, 3, 3], **linear)


def bert():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "big", "right", "-", "side", "##d", "pleural", "effusion", ",", "no"]
    words += list("abcdefghijklmnopqrstuvwxyz") + ["##" + letter for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=40)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=40,
    )
    return pipeline(tokenizer, BertModel(config), attention_head_dim=4)


@torch.no_grad()
def randomise(net):
    """No norm's weight is 1 and no bias 0; activations keep their scale."""
    for name, tensor in net.named_parameters():
        if tensor.dim() == 1 and name.endswith("weight"):
            tensor.uniform_(0.8, 1.2)
        elif tensor.dim() == 1:
            tensor.uniform_(-0.1, 0.1)
        else:
            bound = (3 / tensor[0].numel()) ** 0.5
            tensor.uniform_(-bound, bound)


def with_checker(folder):
    """The index as Stable Diffusion 1 has it, which names a safety checker; its folders are left out, as many copies do."""
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    path.write_text(json.dumps(index))


def outdated(folder):
    """A scheduler from before `steps_offset` and `clip_sample`: diffusers' pipelines correct it when they are made."""
    path = folder / "scheduler" / "scheduler_config.json"
    old = {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    path.write_text(json.dumps({**old, "num_train_timesteps": 1000, "set_alpha_to_one": False, "steps_offset": 0}))
    path = folder / "model_index.json"
    path.write_text(path.read_text().replace("PNDMScheduler", "DDIMScheduler"))


def pickled(folder):
    """The text encoder as a PyTorch file, which transformers 5 reads but no longer writes."""
    path = folder / "text_encoder" / "model.safetensors"
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()


def text_to_image(steps=10, guidance=7.5, samplers=SAMPLERS):
    return [{"sampler": sampler, "steps": steps, "guidance": guidance} for sampler in samplers]


IMAGE_TO_IMAGE = [{**case, "strength": 0.6} for case in text_to_image()] + [
    {"sampler": "pndm", "steps": 10, "guidance": 7.5, "strength": 1.0}
]
ROENTGEN = [{"sampler": "pndm", "steps": 75, "guidance": 4.0}]
UNGUIDED = [{"sampler": "ddim", "steps": 5, "guidance": 1.0}, {"sampler": "euler", "steps": 5, "guidance": 4.0, "wide": True}]
ONE = text_to_image(samplers=["ddim"])
OWN = text_to_image(samplers=[None])

# Name: the pipeline, type of its weights, how diffusers saves them, what else is done to the folder, images to compare.
SOURCES = {
    "sd1": (sd1, torch.float32, {}, None, text_to_image() + IMAGE_TO_IMAGE + ROENTGEN + UNGUIDED),
    "sd2": (sd2, torch.float32, {}, None, text_to_image() + IMAGE_TO_IMAGE),
    "bert": (bert, torch.float32, {}, None, ONE),
    "sd1 .bin": (sd1, torch.float32, {"safe_serialization": False}, pickled, ONE),
    "sd2 shards": (sd2, torch.float32, {"max_shard_size": "100KB"}, None, ONE),
    "sd1 f16": (sd1, torch.float16, {}, None, ONE),
    "sd2 bf16": (sd2, torch.bfloat16, {}, None, ONE),
    "sd2 f16 variant": (sd2, torch.float16, {"variant": "fp16"}, None, ONE),
    "sd1 f16 .bin": (sd1, torch.float16, {"safe_serialization": False}, pickled, ONE),
    "sd1 safety checker": (sd1, torch.float32, {}, with_checker, ONE),
    "sd1 old scheduler": (sd1, torch.float32, {}, outdated, OWN),
}


def prepare(cases):
    """Names the cases and draws what they start from."""
    inputs = {}
    for case in cases:
        strength = case.get("strength")
        side = f" strength {strength}" if strength else ""
        case["size"] = [SIDE, SIDE + 32 * case.pop("wide", False)]
        case["prompt"], case["negative_prompt"] = PROMPT, NEGATIVE
        case["name"] = f"{case['sampler']} {case['steps']} steps guidance {case['guidance']}{side} {case['size'][1]}x{SIDE}"
        height, width = case["size"]
        if strength:
            inputs[f"{case['name']}/pixels"] = torch.rand(1, 3, height, width) * 2 - 1
        else:
            inputs[f"{case['name']}/latents"] = torch.randn(1, 4, height // 8, width // 8)
    return inputs


def cargo(*arguments):
    subprocess.run(["cargo", "run", "--quiet", *map(str, arguments)], cwd=ROOT, check=True)


def ours(folder, out, cases, inputs):
    """What this repository writes and paints."""
    paths = [out.with_name(name) for name in ("cases.json", "inputs.safetensors", "outputs.safetensors")]
    paths[0].write_text(json.dumps(cases))
    save_file(inputs, paths[1])
    cargo("--example", "interop_diffusion", "--", folder, out, *paths)
    return load_file(paths[2])


class Draws:
    """Hands out given tensors where diffusers draws noise."""

    def __init__(self, noises):
        self.noises = list(noises)

    def __call__(self, shape, **_):
        noise = self.noises.pop(0)
        assert noise.shape == tuple(shape), (noise.shape, shape)
        return noise


@torch.no_grad()
def theirs(pipe, case, inputs, produced):
    """Latents and pixels of diffusers from the same start."""
    own = pipe.scheduler
    scheduler = SAMPLERS[case["sampler"]].from_config(own.config) if case["sampler"] else own
    request = {
        "prompt": case["prompt"],
        "negative_prompt": case["negative_prompt"],
        "num_inference_steps": case["steps"],
        "guidance_scale": case["guidance"],
        "output_type": "latent",
    }
    if "strength" in case:
        draws = Draws(produced[f"{case['name']}/noise.{i}"] for i in range(2))
        posterior.randn_tensor = img2img.randn_tensor = draws
        painter = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
        request |= {"image": inputs[f"{case['name']}/pixels"], "strength": case["strength"]}
    else:
        draws = Draws([])
        painter = StableDiffusionPipeline(**pipe.components, requires_safety_checker=False)
        height, width = case["size"]
        request |= {"latents": inputs[f"{case['name']}/latents"], "height": height, "width": width}
    # Set as users set it: the constructor would change what it is given.
    painter.scheduler = scheduler
    painter.set_progress_bar_config(disable=True)
    latents = painter(**request).images
    assert not draws.noises, "diffusers drew less noise than was drawn here"
    return {"latents": latents, "pixels": pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample}


def compare(label, pipe, cases, inputs, produced):
    """Largest differences to the largest value, over the cases."""
    worst = {"latents": 0.0, "pixels": 0.0}
    for case in cases:
        for kind, expected in theirs(pipe, case, inputs, produced).items():
            error = ((produced[f"{case['name']}/{kind}"] - expected).abs().max() / expected.abs().max()).item()
            if not error <= TOLERANCE:
                print(f"FAIL {label}: {kind} of {case['name']} differ by {error:.1e}")
            worst[kind] = max(worst[kind], error)
    return worst


def stored_types(folder):
    """Types of the weights in the files of the three networks."""
    types = set()
    for component in COMPONENTS:
        for path in (folder / component).glob("*.safetensors"):
            with safe_open(path, "pt") as file:
                types |= {file.get_slice(name).get_dtype() for name in file.keys()}
    return types


def load(folder, dtype):
    return StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)


TYPES = {torch.float32: {"F32"}, torch.float16: {"F16"}, torch.bfloat16: {"BF16"}}


def check(label, pipe, folder, dtype, cases):
    """Writes the pipeline in `folder` again and compares with `pipe`, which is what the folder holds."""
    cases = [dict(case) for case in cases]
    inputs = prepare(cases)
    out = folder.with_name("ours")
    produced = ours(folder, out, cases, inputs)

    read = load(out, dtype)
    equal = stored_types(out) == TYPES[dtype]
    for component in COMPONENTS:
        expected, got = getattr(pipe, component).state_dict(), getattr(read, component).state_dict()
        equal &= expected.keys() == got.keys()
        equal &= all(torch.equal(tensor, got[name]) and tensor.dtype == got[name].dtype for name, tensor in expected.items())
    worst = compare(label, load(out, torch.float32), cases, inputs, produced)
    good = equal and max(worst.values()) <= TOLERANCE
    errors = ", ".join(f"{kind} {error:.1e}" for kind, error in worst.items())
    print(f"{'ok  ' if good else 'FAIL'} {label:20} weights equal: {equal}; {len(cases)} images, largest difference: {errors}", flush=True)
    return good


def main():
    warnings.filterwarnings("ignore")
    diffusers.logging.set_verbosity_error()
    diffusers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    wanted = sys.argv[1:]
    results = []
    for label, (make, dtype, saving, change, cases) in SOURCES.items():
        if wanted and label not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder) / "theirs"
            pipe = make().to(dtype)
            pipe.save_pretrained(folder, **saving)
            if change:
                change(folder)
            results.append(check(label, pipe, folder, dtype, cases))
    label = "dev random-pipeline"
    if not wanted or label in wanted:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder) / "theirs"
            cargo("--bin", "roentgen", "--", "dev", "random-pipeline", "--out", folder)
            results.append(check(label, load(folder, torch.float32), folder, torch.float32, text_to_image()))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
