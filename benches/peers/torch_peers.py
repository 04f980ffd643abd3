"""The work of `cargo bench` in PyTorch, diffusers, Pillow, NumPy, scikit-learn and the libraries of image metrics, on two threads.

    cargo bench --bench pixels        # once: writes the images that are read here
    python benches/peers/torch_peers.py [NAME ...]

Work in the shapes of Stable Diffusion 1.4 (`sd14`) takes 5 GB of memory and minutes, and is left out unless it is named. Names with
`_bf16` are PyTorch's best setting for a processor with brain floats: `channels_last`, weights in bfloat16 where nothing is trained, and
autocast where weights stay in 32 bits for their optimiser. `_compiled` is the same through `torch.compile`.
One JSON line a piece of work: name, seconds (median, min, max), runs, and the peak memory of a process that did nothing else.
"""

import argparse
import contextlib
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

THREADS = 2
FINDINGS = 14
IMAGES = Path(__file__).resolve().parents[2] / "target" / "tmp"


def decode(extension, size=None, mode="L"):
    """A phantom of 1024 px, resized with Pillow's antialiased bilinear filter; mode F resamples unrounded, as roentgen does."""
    import numpy as np
    from PIL import Image

    path = IMAGES / f"phantom-1024.{extension}"

    def work():
        image = Image.open(path).convert("L")
        if size is None:
            return image.load()
        image = image.convert(mode).resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image, np.float32) / 127.5 - 1

    return work


def torchvision_decode(extension, size):
    """A phantom of 1024 px to a tensor by torchvision's usual transforms, which round to 8 bits between the axes and after them."""
    from PIL import Image
    from torchvision import transforms

    path = IMAGES / f"phantom-1024.{extension}"
    steps = [transforms.Resize((size, size), antialias=True), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
    prepare = transforms.Compose(steps)
    return lambda: prepare(Image.open(path).convert("L"))


DENSENET121 = {"growth_rate": 32, "block_config": (6, 12, 24, 16), "num_init_features": 64}
SMALL = {"growth_rate": 12, "block_config": (2, 4, 6, 4), "num_init_features": 24}


@contextlib.contextmanager
def autocast(best):
    """Products in bfloat16 where the best setting is asked for."""
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=best):
        yield


def tuned(net, best, train=False):
    """The network as `best` runs it: None, "bf16" or "compiled"."""
    import torch

    if best:
        net = net.to(memory_format=torch.channels_last)
        net = net if train else net.to(torch.bfloat16)
    return torch.compile(net) if best == "compiled" else net


def given(tensor, best):
    """An input of the network: planes of pixels in the order of `channels_last`."""
    import torch

    if not best:
        return tensor
    tensor = tensor.to(torch.bfloat16)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def densenet(shape, batch, side, train, best=None):
    import torch
    from torchvision.models import DenseNet

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    net = DenseNet(**shape, num_classes=FINDINGS)
    net.features.conv0 = torch.nn.Conv2d(1, shape["num_init_features"], 7, stride=2, padding=3, bias=False)
    images = torch.rand(batch, 1, side, side) * 2 - 1
    targets = torch.zeros(batch, FINDINGS)
    if not train:
        net, images = tuned(net.eval(), best), given(images, best)

        def forward():
            with torch.inference_mode():
                return net(images)

        return forward
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    net = tuned(net, best, train=True)
    images = images.contiguous(memory_format=torch.channels_last) if best else images

    def step():
        optimizer.zero_grad()
        with autocast(best is not None):
            predicted = net(images)
        torch.nn.functional.binary_cross_entropy_with_logits(predicted.float(), targets).backward()
        optimizer.step()

    return step


def adamw():
    """A step over the weights of DenseNet-121, gradients given."""
    import torch
    from torchvision.models import DenseNet

    torch.set_num_threads(THREADS)
    net = DenseNet(**DENSENET121, num_classes=FINDINGS)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    return torch.optim.AdamW(net.parameters(), lr=1e-4).step


def attention(batch, queries, keys, heads, size, train):
    """From and to the `[B, L, heads * size]` of the projections, as in the networks."""
    torch = seeded()
    tokens = [torch.randn(batch, length, heads * size, requires_grad=train) for length in (queries, keys, keys)]
    towards = torch.randn(batch, queries, heads * size)

    def forward():
        split = [x.view(batch, -1, heads, size).transpose(1, 2) for x in tokens]
        results = torch.nn.functional.scaled_dot_product_attention(*split)
        return results.transpose(1, 2).reshape(batch, queries, heads * size)

    return (lambda: torch.autograd.grad(forward(), tokens, towards)) if train else torch.inference_mode()(forward)


def convolution(batch, inputs, outputs, kernel, stride, side, train):
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    image = torch.randn(batch, inputs, side, side, requires_grad=train)
    weight = torch.randn(outputs, inputs, kernel, kernel, requires_grad=train)

    def forward():
        return torch.nn.functional.conv2d(image, weight, stride=stride, padding=kernel // 2)

    if not train:
        return torch.inference_mode()(forward)
    towards = torch.randn_like(forward())
    return lambda: torch.autograd.grad((forward() * towards).sum(), [image, weight])


def linear(rows, inputs, outputs, train):
    torch = seeded()
    parts = [torch.randn(*shape, requires_grad=train) for shape in ((rows, inputs), (outputs, inputs), (outputs,))]

    def forward():
        return torch.nn.functional.linear(*parts)

    if not train:
        return torch.inference_mode()(forward)
    towards = torch.randn_like(forward())
    return lambda: torch.autograd.grad((forward() * towards).sum(), parts)


def elementwise(shape, compute, train, affine=0):
    """`compute` of a random input of this shape and of a scale and a shift of `affine` numbers, if any."""
    torch = seeded()
    inputs = [torch.randn(shape, requires_grad=train)] + 2 * bool(affine) * [None]
    inputs[1:] = [torch.randn(affine, requires_grad=train) for _ in inputs[1:]]

    def forward():
        return compute(torch.nn.functional, *inputs)

    if not train:
        return torch.inference_mode()(forward)
    towards = torch.randn_like(forward())
    return lambda: torch.autograd.grad((forward() * towards).sum(), inputs)


def group_silu(f, x, gamma, beta):
    return f.silu(f.group_norm(x, 32, gamma, beta))


def layer(f, x, gamma, beta):
    return f.layer_norm(x, gamma.shape, gamma, beta)


def batch_relu(f, x, gamma, beta):
    return f.relu(f.batch_norm(x, None, None, gamma, beta, training=True), inplace=True)


def quick_gelu(f, x):
    return x * (1.702 * x).sigmoid()


def geglu(f, x):
    value, gate = x.chunk(2, dim=-1)
    return value * f.gelu(gate)


def scores(rows, findings, seed):
    import numpy as np

    generator = np.random.default_rng(seed)
    targets = (generator.random((rows, findings)) < 0.1).astype(float)
    return 0.8 * generator.random((rows, findings)) + 0.2 * targets, targets


def auroc(rows):
    from sklearn.metrics import roc_auc_score

    predicted, targets = scores(rows, FINDINGS, 0)
    return lambda: roc_auc_score(targets, predicted, average=None)


def delong(rows):
    """Sun and Xu's fast DeLong covariance (IEEE Signal Processing Letters 21, 2014) of two scores."""
    import numpy as np
    from scipy.stats import rankdata

    first, targets = scores(rows, 1, 0)
    second = 0.5 * first + 0.5 * np.random.default_rng(1).random(first.shape)
    both = np.hstack([first, second]).T
    positive = targets[:, 0] == 1

    def work():
        cases, controls = both[:, positive], both[:, ~positive]
        n, m = cases.shape[1], controls.shape[1]
        ranks = rankdata(np.hstack([cases, controls]), axis=1)
        of_cases = (ranks[:, :n] - rankdata(cases, axis=1)) / m
        of_controls = 1 - (ranks[:, n:] - rankdata(controls, axis=1)) / n
        return np.cov(of_cases) / n + np.cov(of_controls) / m

    return work


def bootstrap(replicates, rows):
    """Macro AUROC of patient-resampled rows, sorted anew by scikit-learn in every replicate."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    predicted, targets = scores(rows, FINDINGS, 0)
    patients = [np.arange(first, min(first + 2, rows)) for first in range(0, rows, 2)]

    def work():
        generator = np.random.default_rng(0)
        values = []
        for _ in range(replicates):
            drawn = np.concatenate([patients[i] for i in generator.integers(len(patients), size=len(patients))])
            values.append(np.nanmean(roc_auc_score(targets[drawn], predicted[drawn], average=None)))
        return np.quantile(values, [0.025, 0.975])

    return work


# Stable Diffusion 1.4, and the shapes of `roentgen dev random-pipeline --size tiny`. What is left out has the same default.
SHAPES = {
    "sd14": {
        "text": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        "vocabulary": 49408,
        "unet": {
            "sample_size": 64,
            "block_out_channels": (320, 640, 1280, 1280),
            "attention_head_dim": 8,
            "layers_per_block": 2,
            "norm_num_groups": 32,
        },
        "vae": {"sample_size": 512, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32},
    },
    "tiny": {
        "text": {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
        "vocabulary": 514,
        "unet": {
            "sample_size": 8,
            "block_out_channels": (16, 32, 32, 32),
            "attention_head_dim": 4,
            "layers_per_block": 1,
            "norm_num_groups": 8,
        },
        "vae": {"sample_size": 64, "block_out_channels": (8, 16, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
    },
}
TOKENS = 77
GUIDANCE = 4.0


def seeded():
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    return torch


def clip(shape):
    from transformers import CLIPTextConfig, CLIPTextModel

    ids = {"vocab_size": shape["vocabulary"], "bos_token_id": 0, "eos_token_id": 2}
    return CLIPTextModel(CLIPTextConfig(**shape["text"], **ids, hidden_act="quick_gelu")).eval()


def unet(shape):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**shape["unet"], cross_attention_dim=shape["text"]["hidden_size"]).eval()


def vae(shape):
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    return AutoencoderKL(**shape["vae"], **blocks).eval()


def text_encoder(shape, best=None):
    torch = seeded()
    encoder = tuned(clip(shape), best)
    ids = torch.arange(2 * TOKENS).reshape(2, TOKENS) % shape["vocabulary"]
    return torch.inference_mode()(lambda: encoder(ids).last_hidden_state)


def guided_step(shape, best=None):
    torch = seeded()
    net = tuned(unet(shape), best)
    side = shape["unet"]["sample_size"]
    latents, states = torch.randn(1, 4, side, side), torch.randn(2, TOKENS, shape["text"]["hidden_size"])
    latents, states = given(latents, best), given(states, best)

    @torch.inference_mode()
    def step():
        unconditional, conditional = net(torch.cat([latents, latents]), 500, states).sample.chunk(2)
        return unconditional + GUIDANCE * (conditional - unconditional)

    return step


# The highest level of Stable Diffusion 1.4 alone.
ONE_LEVEL = {
    "sample_size": 64,
    "block_out_channels": (320,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
    "attention_head_dim": 8,
    "layers_per_block": 1,
}


def one_row(net_shape, side, width, train, best=None):
    """One row through a U-Net, and with `train` the gradients of all weights."""
    torch = seeded()
    net = tuned(unet({"unet": net_shape, "text": {"hidden_size": width}}).train(train), best, train)
    latents, states = torch.randn(1, 4, side, side), torch.randn(1, TOKENS, width)
    noise = latents.flip(2)
    if not train:
        latents, states = given(latents, best), given(states, best)

    def step():
        net.zero_grad()
        with autocast(best is not None):
            predicted = net(latents, 500, states).sample
        torch.nn.functional.mse_loss(predicted.float(), noise).backward()

    return step if train else torch.inference_mode()(lambda: net(latents, 500, states).sample)


def decode_latents(shape, best=None):
    torch = seeded()
    net = vae(shape)
    if best:
        # The method `decode` is called, which torch.compile does not reach: the decoder is compiled alone.
        net = net.to(torch.bfloat16, memory_format=torch.channels_last)
        net.decoder = tuned(net.decoder, best)
    side = shape["unet"]["sample_size"]
    latents = given(torch.randn(1, 4, side, side), best)
    return torch.inference_mode()(lambda: net.decode(latents).sample)


def image(shape, steps, best=None):
    """Prompt to 8-bit picture with diffusers' pipeline. The tokenizer knows single bytes, as that of our random pipelines."""
    torch = seeded()
    from diffusers import PNDMScheduler, StableDiffusionPipeline
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    characters = sorted(ByteLevel.alphabet())
    tokens = characters + [character + "</w>" for character in characters]
    ids = {token: i for i, token in enumerate(tokens)}
    ids |= {"<|startoftext|>": shape["vocabulary"] - 2, "<|endoftext|>": shape["vocabulary"] - 1}
    pipeline = StableDiffusionPipeline(
        tokenizer=CLIPTokenizer(vocab=ids, merges=[], model_max_length=TOKENS),
        text_encoder=tuned(clip(shape), best),
        unet=tuned(unet(shape), best),
        vae=tuned(vae(shape), best and "bf16"),
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def paint():
        generator = torch.Generator().manual_seed(0)
        request = {"num_inference_steps": steps, "guidance_scale": GUIDANCE, "generator": generator}
        return pipeline("Big right-sided pleural effusion", **request).images[0]

    return paint


# Batch, queries, keys, heads, and numbers a head has for a token; how often it runs.
ATTENTION = {
    (1, 4096, 4096, 8, 40): 5,
    (2, 256, 256, 8, 160): 30,
    (2, 4096, 77, 8, 40): 20,
    (1, 4096, 4096, 1, 512): 5,
    (2, 77, 77, 12, 64): 100,
    (2, 64, 77, 4, 4): 100,
}


def finetune_step(shape, side, samples, best=None):
    """A step of diffusers' train_text_to_image.py on given latents and text states: the U-Net alone, weights in F32, AdamW, clipping."""
    torch = seeded()
    from diffusers import DDPMScheduler

    net = tuned(unet(shape).train(), best, train=True)
    noiser = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-5, weight_decay=1e-2)
    latents, noise = torch.randn(2, samples, 4, side, side)
    states = torch.randn(samples, TOKENS, shape["text"]["hidden_size"])
    timesteps = (500 + 31 * torch.arange(samples)) % 1000

    def step():
        with autocast(best is not None):
            predicted = net(noiser.add_noise(latents, noise, timesteps), timesteps, states).sample
        loss = torch.nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def features(rows, width, seed):
    """Two sets whose columns spread less and less, about means that are not 0."""
    import numpy as np

    scales = (1 / (1 + 0.01 * np.arange(width))).astype(np.float32)
    return np.random.default_rng(seed).random((rows, width), dtype=np.float32) * scales


def fid(rows, width):
    """The usual code on NumPy and SciPy, as in pytorch-fid: covariances in f64, the root of their product by a Schur decomposition."""
    import numpy as np
    import scipy.linalg

    sets = [features(rows, width, seed) for seed in (0, 1)]

    def work():
        (mean_1, cov_1), (mean_2, cov_2) = ((x.mean(axis=0, dtype=np.float64), np.cov(x, rowvar=False)) for x in sets)
        root = scipy.linalg.sqrtm(cov_1 @ cov_2)
        return ((mean_1 - mean_2) ** 2).sum() + np.trace(cov_1) + np.trace(cov_2) - 2 * np.trace(root.real)

    return work


def kid(rows, width):
    torch = seeded()
    from torch_fidelity.metric_kid import kid_features_to_metric

    sets = [torch.from_numpy(features(rows, width, seed)) for seed in (0, 1)]
    settings = {"kid_subsets": 100, "kid_subset_size": 1000, "verbose": False, "rng_seed": 2020}
    return lambda: kid_features_to_metric(*sets, **settings)


def prdc(rows, width):
    import prdc

    sets = [features(rows, width, seed) for seed in (0, 1)]

    def work():
        with contextlib.redirect_stdout(None):
            return prdc.compute_prdc(*sets, nearest_k=5)

    return work


def dino_features(images, side, best=None):
    """transformers' DINOv2 with the shape of RAD-DINO."""
    torch = seeded()
    from transformers import Dinov2Config, Dinov2Model

    network = tuned(Dinov2Model(Dinov2Config(image_size=518, patch_size=14)).eval(), best)
    pixels = given(torch.randn(images, 3, side, side), best)

    def work():
        with torch.inference_mode():
            return network(pixels).pooler_output

    return work


def ms_ssim(images, side):
    """All pairs of these images, on one core."""
    torch = seeded()
    from pytorch_msssim import ms_ssim

    torch.set_num_threads(1)
    pixels = torch.rand(images, 1, side, side)
    first, second = torch.triu_indices(images, images, 1)

    def work():
        with torch.inference_mode():
            return ms_ssim(pixels[first], pixels[second], data_range=1, size_average=False)

    return work


# Batch, input and output channels, kernel, stride, and pixels a side of the input; how often it runs.
CONVOLUTIONS = {
    (1, 320, 320, 3, 1, 64): 10,
    (2, 1280, 1280, 3, 1, 8): 10,
    (1, 320, 320, 3, 2, 64): 20,
    (1, 4, 320, 3, 1, 64): 50,
    (4, 1, 64, 7, 2, 224): 30,
    (4, 128, 32, 3, 1, 56): 30,
    (4, 256, 128, 1, 1, 56): 30,
    (8, 128, 32, 3, 1, 16): 100,
    (8, 256, 128, 1, 1, 16): 100,
    (8, 128, 32, 3, 1, 2): 200,
    (8, 512, 128, 1, 1, 4): 200,
}

# What is computed, and batch, channels, height and width of the input; how often it runs.
NORMS = {
    (group_silu, 2, 320, 64, 64): 20,
    (group_silu, 2, 1280, 8, 8): 100,
    (group_silu, 1, 128, 512, 512): 5,
    (layer, 2, 4096, 1, 320): 20,
    (batch_relu, 4, 128, 56, 56): 30,
    (batch_relu, 8, 128, 4, 4): 200,
}

# Functions of ten million elements.
FUNCTIONS = {
    "relu": lambda f, x: f.relu(x),
    "silu": lambda f, x: f.silu(x),
    "gelu": lambda f, x: f.gelu(x),
    "quick_gelu": quick_gelu,
}

# Rows, inputs and outputs.
LAYERS = [(8192, 320, 320), (8192, 320, 2560), (8192, 1280, 320), (2048, 640, 640), (154, 768, 3072)]

# Tokens and width.
GATES = [(4096, 1280), (64, 5120)]

# Name: what prepares the work, and how often it runs.
WORKS = {
    **{
        f"attention_{work}/b{b}_q{q}_k{k}_h{h}_d{d}": (
            functools.partial(attention, b, q, k, h, d, train=work == "train"),
            runs,
        )
        for work in ("forward", "train")
        for (b, q, k, h, d), runs in ATTENTION.items()
    },
    **{
        f"conv_{work}/b{b}_i{i}_o{o}_k{k}_s{s}_{side}px": (
            functools.partial(convolution, b, i, o, k, s, side, train=work == "train"),
            runs,
        )
        for work in ("forward", "train")
        for (b, i, o, k, s, side), runs in CONVOLUTIONS.items()
    },
    **{
        f"linear_{work}/r{r}_i{i}_o{o}": (functools.partial(linear, r, i, o, train=work == "train"), 10)
        for work in ("forward", "train")
        for r, i, o in LAYERS
    },
    **{
        f"norm_{work}/{norm.__name__}_b{b}_c{c}_{h}x{w}": (
            functools.partial(elementwise, (b, c, h, w), norm, work == "train", affine=w if norm is layer else c),
            runs,
        )
        for work in ("forward", "train")
        for (norm, b, c, h, w), runs in NORMS.items()
    },
    # The product and the sum of the rows with gradients, without a kernel.
    "norm_loss_alone/b2_c4096_1x320": (lambda: elementwise((2, 4096, 1, 320), lambda f, x: x, train=True), 20),
    **{
        f"activation_{work}/{name}": (functools.partial(elementwise, (10_000_000,), function, work == "train"), 10)
        for work in ("forward", "train")
        for name, function in FUNCTIONS.items()
    },
    **{
        f"geglu_{work}/b2_n{n}_c{c}": (functools.partial(elementwise, (2, n, 2 * c), geglu, work == "train"), 10)
        for work in ("forward", "train")
        for n, c in GATES
    },
    "decode_1024px/png": (lambda: decode("png"), 15),
    "decode_1024px/jpeg": (lambda: decode("jpeg"), 15),
    "decode_1024px_to_64px/png": (lambda: decode("png", 64, "F"), 15),
    "decode_1024px_to_64px/jpeg": (lambda: decode("jpeg", 64, "F"), 15),
    "decode_1024px_to_224px/png": (lambda: decode("png", 224, "F"), 15),
    "decode_1024px_to_224px/jpeg": (lambda: decode("jpeg", 224, "F"), 15),
    "decode_1024px_to_512px/png": (lambda: decode("png", 512, "F"), 15),
    "decode_1024px_to_512px/jpeg": (lambda: decode("jpeg", 512, "F"), 15),
    "decode_1024px_to_224px_rounded/png": (lambda: decode("png", 224), 15),
    **{
        f"decode_1024px_to_{size}px_torchvision/{kind}": (lambda kind=kind, size=size: torchvision_decode(kind, size), 15)
        for size in (224, 512)
        for kind in ("png", "jpeg")
    },
    "densenet121_forward/b8_64px": (lambda: densenet(DENSENET121, 8, 64, train=False), 5),
    "densenet121_forward/b8_224px": (lambda: densenet(DENSENET121, 8, 224, train=False), 5),
    "densenet121_train/b8_64px": (lambda: densenet(DENSENET121, 8, 64, train=True), 4),
    "densenet121_train/b16_64px": (lambda: densenet(DENSENET121, 16, 64, train=True), 4),
    "densenet121_train/b4_224px": (lambda: densenet(DENSENET121, 4, 224, train=True), 4),
    "densenet121_adamw/7_million": (adamw, 20),
    "small_train/b32_64px": (lambda: densenet(SMALL, 32, 64, train=True), 10),
    "text_encoder_2_prompts/tiny_64px": (lambda: text_encoder(SHAPES["tiny"]), 5),
    "unet_guided_step/tiny_64px": (lambda: guided_step(SHAPES["tiny"]), 4),
    "unet_train/tiny_64px": (lambda: one_row(SHAPES["tiny"]["unet"], 8, 32, train=True), 10),
    "vae_decode/tiny_64px": (lambda: decode_latents(SHAPES["tiny"]), 4),
    "image_10_steps/tiny_64px": (lambda: image(SHAPES["tiny"], 10), 2),
    "text_encoder_2_prompts/sd14_512px": (lambda: text_encoder(SHAPES["sd14"]), 5),
    "unet_guided_step/sd14_512px": (lambda: guided_step(SHAPES["sd14"]), 4),
    "unet_train/sd14_512px": (lambda: one_row(SHAPES["sd14"]["unet"], 32, 768, train=True), 4),
    "unet_level_forward/320ch_64x64": (lambda: one_row(ONE_LEVEL, 64, 768, train=False), 4),
    "unet_level_train/320ch_64x64": (lambda: one_row(ONE_LEVEL, 64, 768, train=True), 4),
    "vae_decode/sd14_512px": (lambda: decode_latents(SHAPES["sd14"]), 4),
    "image_10_steps/sd14_512px": (lambda: image(SHAPES["sd14"], 10), 1),
    "finetune_step/tiny_8latents_b1": (lambda: finetune_step(SHAPES["tiny"], 8, 1), 4),
    "finetune_step/tiny_8latents_b16": (lambda: finetune_step(SHAPES["tiny"], 8, 16), 4),
    "finetune_step/sd14_32latents_b1": (lambda: finetune_step(SHAPES["sd14"], 32, 1), 3),
    "finetune_step/sd14_64latents_b1": (lambda: finetune_step(SHAPES["sd14"], 64, 1), 3),
    "fid_2048_features/5000": (lambda: fid(5_000, 2048), 2),
    "fid_2048_features/50000": (lambda: fid(50_000, 2048), 1),
    "fid_2048_features_of_few/100": (lambda: fid(100, 2048), 2),
    "fid_2048_features_of_few/1000": (lambda: fid(1_000, 2048), 2),
    "kid_768_features/10000": (lambda: kid(10_000, 768), 2),
    "prdc_768_features/10000": (lambda: prdc(10_000, 768), 2),
    "dino_features_518px/2": (lambda: dino_features(2, 518), 3),
    "msssim_pair_px/256": (lambda: ms_ssim(2, 256), 20),
    "msssim_pair_px/512": (lambda: ms_ssim(2, 512), 20),
    "msssim_prompt_of_4_px/512": (lambda: ms_ssim(4, 512), 10),
    "auroc_14_findings/100000": (lambda: auroc(100_000), 5),
    "delong_2_scores/100000": (lambda: delong(100_000), 5),
    "bootstrap_1000_replicates_309_rows_14_findings_of_runs/1": (lambda: bootstrap(1_000, 309), 1),
}

# What has a best setting; the name's first part says which.
BEST = {
    "densenet121_train/b8_64px": functools.partial(densenet, DENSENET121, 8, 64, train=True),
    "densenet121_train/b16_64px": functools.partial(densenet, DENSENET121, 16, 64, train=True),
    "densenet121_train/b4_224px": functools.partial(densenet, DENSENET121, 4, 224, train=True),
    "text_encoder_2_prompts/sd14_512px": functools.partial(text_encoder, SHAPES["sd14"]),
    "unet_guided_step/sd14_512px": functools.partial(guided_step, SHAPES["sd14"]),
    "unet_train/sd14_512px": functools.partial(one_row, SHAPES["sd14"]["unet"], 32, 768, train=True),
    "unet_level_forward/320ch_64x64": functools.partial(one_row, ONE_LEVEL, 64, 768, train=False),
    "unet_level_train/320ch_64x64": functools.partial(one_row, ONE_LEVEL, 64, 768, train=True),
    "vae_decode/sd14_512px": functools.partial(decode_latents, SHAPES["sd14"]),
    "image_25_steps/sd14_512px": functools.partial(image, SHAPES["sd14"], 25),
    "finetune_step/sd14_32latents_b1": functools.partial(finetune_step, SHAPES["sd14"], 32, 1),
    "finetune_step/sd14_64latents_b1": functools.partial(finetune_step, SHAPES["sd14"], 64, 1),
    "dino_features_518px/2": functools.partial(dino_features, 2, 518),
}
for name, prepare in BEST.items():
    work, _, argument = name.partition("/")
    for best in ("bf16", "compiled"):
        WORKS[f"{work}_{best}/{argument}"] = (functools.partial(prepare, best=best), 1 if work.startswith("image") else 3)

# All but what takes long.
DEFAULT = [name for name in WORKS if not any(long in name for long in ("/sd14", "/320ch", "/50000", "_compiled/"))]


def measure(name):
    prepare, runs = WORKS[name]
    work = prepare()
    if runs > 1:
        work()  # what is made on the first call is not timed
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {"name": name, "median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}
    print(json.dumps({**row, "runs": runs, "peak_mib": round(peak, 1)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help="pieces of work (default: all but sd14)")
    names = parser.parse_args().name or DEFAULT
    if unknown := set(names) - set(WORKS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(WORKS)}")
    if len(names) == 1:
        return measure(names[0])
    for name in names:
        subprocess.run([sys.executable, __file__, name], check=True)


if __name__ == "__main__":
    main()
