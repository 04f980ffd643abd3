#!/usr/bin/env python3
"""However a checkpoint comes, `roentgen generate` paints the image that diffusers paints of it from the same noise.

    target/interop/bin/python tests/interop/ways_in.py [NAME ...]

diffusers makes a small random Stable Diffusion 1 and stores it in each of the ways that people have: a folder, the cache of the hub, a
hub (a server on this machine that answers as huggingface.co does), a single file in the original layout (.safetensors and .ckpt), a
variant, shards, `unet_ema` of a training script, LoRA files of kohya's scripts and of peft, a textual inversion. Each is loaded by
diffusers as its documentation says and by the program's command line as ours says. Pixels of 16-bit PNGs must be within TOLERANCE of
the gray of diffusers' image, every change of weights must change the image, and the fingerprint in the manifest must be that
of no other weights. Needs no network. Exit status 1 on a difference.
"""

import csv
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from safetensors.torch import save_file

from diffusion import NEGATIVE, ROOT, SAMPLERS, SIDE, ours, prepare, randomise, sd1, text_to_image

# Of the range from black to white: one level of 16 bits is 1.5e-5, and sums in another order differ by some 1e-6.
TOLERANCE = 5e-5
NAME = "someone/small-sd"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROMPT = "Big right-sided pleural effusion"
STEPS, GUIDANCE = 10, 7.5


def unet_name(name, layers):
    """A U-Net's tensor as the original repository names it (ldm/modules/diffusionmodules/openaimodel.py)."""
    inner = [
        ("norm1", "in_layers.0"),
        ("conv1", "in_layers.2"),
        ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"),
        ("conv2", "out_layers.3"),
        ("conv_shortcut", "skip_connection"),
    ]
    if ".resnets." in name:
        for ours_, theirs_ in inner:
            name = name.replace(f".{ours_}.", f".{theirs_}.")
    whole = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    for start, target in whole.items():
        if name.startswith(start + "."):
            return target + name[len(start) :]
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name)
    side, block, kind, layer, rest = match.groups()
    block, layer = int(block), int(layer)
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.{rest.replace('conv', 'op')}"
        return f"input_blocks.{1 + block * (layers + 1) + layer}.{int(kind == 'attentions')}.{rest}"
    if kind == "upsamplers":
        # Behind the attention, which the first of the up blocks lacks.
        return f"output_blocks.{block * (layers + 1) + layers}.{1 if block == 0 else 2}.{rest}"
    return f"output_blocks.{block * (layers + 1) + layer}.{int(kind == 'attentions')}.{rest}"


def vae_name(name, levels):
    """An autoencoder's tensor as the original repository names it (ldm/modules/diffusionmodules/model.py)."""
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    for ours_, theirs_ in [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")]:
        name = name.replace(f"attn_1.{ours_}.", f"attn_1.{theirs_}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    up = lambda m: f"up.{levels - 1 - int(m[1])}."  # noqa: E731
    name = re.sub(r"up_blocks\.(\d)\.(?=resnets)", up, name).replace(".resnets.", ".block.")
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: up(m) + "upsample.", name)


def original(pipe):
    """The state of a pipeline in the layout of the original repository."""
    unet, vae = pipe.unet, pipe.vae
    state = {f"model.diffusion_model.{unet_name(n, unet.config.layers_per_block)}": t for n, t in unet.state_dict().items()}
    for name, tensor in vae.state_dict().items():
        new = vae_name(name, len(vae.config.block_out_channels))
        is_projection = ".attn_1." in new and new.endswith(("q.weight", "k.weight", "v.weight", "proj_out.weight"))
        state[f"first_stage_model.{new}"] = tensor[:, :, None, None] if is_projection else tensor
    text = {f"cond_stage_model.transformer.{n}": t for n, t in pipe.text_encoder.state_dict().items()}
    # transformers 5 names the tensors of the text model without the part that every file has.
    text = {n if ".text_model." in n else n.replace("transformer.", "transformer.text_model.", 1): t for n, t in text.items()}
    return {name: tensor.contiguous().clone() for name, tensor in {**state, **text}.items()}


class Hub(http.server.BaseHTTPRequestHandler):
    """The answers of huggingface.co that a download needs, for the files of `folder`."""

    folder = None

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        if self.path.startswith(f"/api/models/{NAME}/revision/"):
            files = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
            body = json.dumps({"sha": COMMIT, "siblings": [{"rfilename": f} for f in files]}).encode()
            etag = "list"
        elif self.path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
            body = (self.folder / self.path.split(f"/{COMMIT}/", 1)[1]).read_bytes()
            etag = hashlib.sha256(body).hexdigest()
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("etag", f'"{etag}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def cached(folder, home):
    """`folder` as the hub's cache holds it."""
    root = home / "hub" / ("models--" + NAME.replace("/", "--"))
    for path in (p for p in folder.rglob("*") if p.is_file()):
        blob = root / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        link = root / "snapshots" / COMMIT / path.relative_to(folder)
        blob.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)


def kohya(unet, path):
    """A LoRA as kohya's scripts write it: an alpha of half the rank."""
    state = {}
    for name, module in unet.named_modules():
        if name.endswith(("to_q", "to_v")) and "transformer_blocks" in name:
            key = "lora_unet_" + name.replace(".", "_")
            state[f"{key}.lora_down.weight"] = torch.randn(4, module.in_features) * 0.3
            state[f"{key}.lora_up.weight"] = torch.randn(module.out_features, 4) * 0.3
            state[f"{key}.alpha"] = torch.tensor(2.0)
    save_file(state, path)


def peft(pipe, folder):
    """A LoRA as diffusers' scripts train and save it."""
    unet = UNet2DConditionModel.from_config(pipe.unet.config)
    unet.load_state_dict(pipe.unet.state_dict())
    unet.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    with torch.no_grad():
        for name, tensor in unet.named_parameters():
            if "lora_" in name:
                tensor.normal_(0, 0.2)
    StableDiffusionPipeline.save_lora_weights(folder, get_peft_model_state_dict(unet))


def program(out, arguments, environment):
    """The image that the command line paints, in [0, 1], and the fingerprint of the weights in its manifest."""
    common = ["--prompt", PROMPT, "--negative-prompt", NEGATIVE, "--sampler", "ddim", "--steps", STEPS, "--guidance", GUIDANCE]
    common += ["--size", SIDE, "--bits", 16, "--device", "cpu", "--out", out]
    command = [ROOT / "target/release/roentgen", "generate", *arguments, *common]
    result = subprocess.run(list(map(str, command)), env={**os.environ, **environment}, capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stderr}")
    pixels = np.asarray(Image.open(out / "000000.png")).astype(np.float64) / 65535
    with open(out / "manifest.csv", newline="") as file:
        row = next(csv.DictReader(file))
    return pixels, row["weights"]


@torch.no_grad()
def reference(pipe, noise, prompt=PROMPT):
    """The gray of diffusers' image, in [0, 1]."""
    pipe.scheduler = SAMPLERS["ddim"].from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    image = pipe(
        prompt,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise,
        height=SIDE,
        width=SIDE,
        output_type="np",
    ).images[0]
    return image.astype(np.float64).mean(axis=2)


def main():
    warnings.filterwarnings("ignore")
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
        library.logging.disable_progress_bar()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "roentgen"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as root:
        results = list(run(Path(root), sys.argv[1:]))
    sys.exit(not all(results))


def run(root, wanted):
    global PROMPT
    base = root / "base"
    pipe = sd1()
    pipe.save_pretrained(base)
    # The noise of seed 0, which the program draws too.
    cases = [{**case, "strength": 0.6} for case in text_to_image(samplers=["ddim"])]
    inputs = prepare(cases)
    noise = ours(base, root / "again", cases, inputs)[f"{cases[0]['name']}/noise.0"]

    load = lambda folder=base, **options: StableDiffusionPipeline.from_pretrained(  # noqa: E731
        folder, local_files_only=True, torch_dtype=torch.float32, **options
    )
    home, empty = root / "home", root / "empty"
    cached(base, home)
    Hub.folder = base
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    online = {"HF_HOME": str(empty), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0"}

    single = {".safetensors": root / "single.safetensors", ".ckpt": root / "single.ckpt"}
    state = original(pipe)
    save_file(state, single[".safetensors"])
    torch.save({"global_step": 1, "state_dict": state}, single[".ckpt"])
    for kind, path in single.items():
        command = [ROOT / "target/release/roentgen", "convert", path, "--config", base, "--out", root / f"converted{kind}"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)

    variant = root / "variant"
    shutil.copytree(base, variant)
    other = sd1()
    other.to(torch.float16).save_pretrained(variant, variant="fp16")
    shards = root / "shards"
    pipe.save_pretrained(shards, max_shard_size="60KB")

    average = UNet2DConditionModel.from_config(pipe.unet.config)
    randomise(average)
    ema = root / "checkpoint-500" / "unet_ema"
    EMAModel(average.parameters(), model_cls=UNet2DConditionModel, model_config=average.config).save_pretrained(ema)

    lora = root / "kohya.safetensors"
    kohya(pipe.unet, lora)
    peft(pipe, root / "peft")
    inversion = root / "learnt.safetensors"
    save_file({"<effusion>": torch.randn(2, pipe.text_encoder.config.hidden_size)}, inversion)

    def with_lora(path):
        loaded = load()
        loaded.load_lora_weights(path)
        return loaded

    def with_embedding():
        loaded = load()
        loaded.load_textual_inversion(inversion)
        return loaded

    # Name: what the program is given, in which environment; what diffusers loads; whether the weights are those of the folder.
    ways = {
        "folder": (["--pipeline", base], {}, load, True),
        "hub cache": (["--pipeline", NAME], {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}, load, True),
        "hub download": (["--pipeline", NAME], online, load, True),
        "single file": (
            ["--pipeline", root / "converted.safetensors"],
            {},
            lambda: StableDiffusionPipeline.from_single_file(str(single[".safetensors"]), config=str(base), local_files_only=True),
            True,
        ),
        "ckpt": (
            ["--pipeline", root / "converted.ckpt"],
            {},
            lambda: StableDiffusionPipeline.from_single_file(str(single[".ckpt"]), config=str(base), local_files_only=True),
            True,
        ),
        "variant": (["--pipeline", variant, "--variant", "fp16"], {}, lambda: load(variant, variant="fp16"), False),
        "shards": (["--pipeline", shards], {}, lambda: load(shards), True),
        "unet_ema": (
            ["--pipeline", base, "--unet", root / "checkpoint-500"],
            {},
            lambda: load(unet=UNet2DConditionModel.from_pretrained(ema)),
            False,
        ),
        "kohya": (["--pipeline", base, "--lora", lora], {}, lambda: with_lora(lora), False),
        "peft": (["--pipeline", base, "--lora", root / "peft"], {}, lambda: with_lora(root / "peft"), False),
        "textual inversion": (["--pipeline", base, "--embedding", inversion], {}, with_embedding, False),
    }
    plain, known, changed = None, set(), set()
    for at, (name, (arguments, environment, loaded, is_plain)) in enumerate(ways.items()):
        if wanted and name not in wanted:
            continue
        PROMPT = "<effusion> right" if name == "textual inversion" else "Big right-sided pleural effusion"
        pixels, weights = program(root / f"out{at}", arguments, environment)
        expected = reference(loaded(), noise.clone(), PROMPT)
        error = float(np.abs(pixels - expected).max())
        plain = pixels if name == "folder" else plain
        change = 0.0 if plain is None else float(np.abs(pixels - plain).max())
        is_told = bool(weights) and (weights not in changed if is_plain else weights not in known)
        known.add(weights)
        changed |= set() if is_plain else {weights}
        good = error <= TOLERANCE and is_told and (is_plain or change > 100 * TOLERANCE)
        print(f"{'ok  ' if good else 'FAIL'} {name:18} largest difference {error:.1e}; from the plain image {change:.2f}; weights {weights}", flush=True)
        yield good
    server.shutdown()


if __name__ == "__main__":
    main()
