"""Features of the reference implementations, with weights by the rule of the parity tests, for tests/parity/feature_networks.rs.

    python tests/interop/feature_networks.py

Prints what that test expects: some features of Inception-v3 as pytorch-fid 0.3.0 adapts torchvision's, and of a small CLIP image tower and two
small DINOv2 of transformers. Nothing is downloaded.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torchvision.models import inception_v3
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model

SALT = "features"
WRAP = (1 << 64) - 1


def by_rule(name, shape):
    """Weights by rule: the README of the parity trees, and tests/parity/rule.rs."""
    h = 0xCBF29CE484222325
    for byte in f"{SALT}/{name}".encode():
        h = ((h ^ byte) * 0x100000001B3) & WRAP
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2**24
    if len(shape) == 1 and name.endswith("running_var"):
        low, high = 0.5, 1.5
    elif len(shape) == 1 and name.endswith(".weight"):
        low, high = 0.8, 1.2
    elif len(shape) < 2:
        low, high = -0.1, 0.1
    else:
        high = (1.4 if len(shape) == 4 else 1.0) * np.sqrt(3 / np.prod(shape[1:]))
        low = -high
    return torch.from_numpy((low + (high - low) * u).astype(np.float32).reshape(shape))


def fill(model):
    state = model.state_dict()
    floats = {name: by_rule(name, tuple(value.shape)) for name, value in state.items() if value.is_floating_point()}
    model.load_state_dict(floats, strict=False)
    return model.eval()


def image(height, width):
    """8-bit levels, [3, height, width]."""
    c, y, x = np.meshgrid(np.arange(3), np.arange(height), np.arange(width), indexing="ij")
    return ((x * 7 + y * 13 + c * 29 + (x * y) // 5) % 256).astype(np.uint8)


def adapt(inception):
    """pytorch-fid's poolings: means over what a window has of the image, and in the last block the largest."""

    def pools(block, pool):
        forward = block._forward

        def with_pool(x):
            average = F.avg_pool2d
            F.avg_pool2d = lambda x, **_: pool(x)
            try:
                return torch.cat(forward(x), 1)
            finally:
                F.avg_pool2d = average

        block.forward = with_pool

    mean = F.avg_pool2d
    for name in ["5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b"]:
        pools(getattr(inception, f"Mixed_{name}"), lambda x: mean(x, 3, stride=1, padding=1, count_include_pad=False))
    pools(inception.Mixed_7c, lambda x: F.max_pool2d(x, 3, stride=1, padding=1))
    return inception


def inception_features(inception, levels):
    x = torch.from_numpy(levels).float()[None] / 255
    x = F.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
    kept = []
    hook = inception.avgpool.register_forward_hook(lambda *args: kept.append(args[2]))
    inception(2 * x - 1)
    hook.remove()
    return kept[0].flatten()


def dinov2(**config):
    """With weights by the names of files, which transformers 5 has no longer in memory."""
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14, layer_norm_eps=1e-6, **config
    )
    with tempfile.TemporaryDirectory() as folder:
        Dinov2Model(config).save_pretrained(folder)
        file = Path(folder) / "model.safetensors"
        shapes = {name: tuple(value.shape) for name, value in load_file(file).items()}
        save_file({name: by_rule(name, shape) for name, shape in shapes.items()}, file, metadata={"format": "pt"})
        return Dinov2Model.from_pretrained(folder).eval()


def normalised(levels):
    return (torch.from_numpy(levels).float()[None] / 255 - 0.5) / 0.25


@torch.no_grad()
def main():
    inception = inception_v3(weights=None, aux_logits=False, num_classes=1008, init_weights=False, transform_input=False)
    inception = adapt(fill(inception))
    for size in [(120, 90), (310, 402)]:
        features = inception_features(inception, image(*size))
        print("inception", size, [f"{value:.6g}" for value in features[[0, 1, 1000, 2047]].tolist()], f"{features.norm():.6g}")
    config = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, projection_dim=16, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=7
    )
    clip = fill(CLIPVisionModelWithProjection(config))
    features = clip(normalised(image(28, 28))).image_embeds.flatten()
    print("clip", [f"{value:.6g}" for value in features[[0, 1, 2, 15]].tolist()], f"{features.norm():.6g}")
    for gated in [False, True]:
        network = dinov2(use_swiglu_ffn=gated)
        for size in [(56, 56), (45, 88)]:
            features = network(normalised(image(*size))).pooler_output.flatten()
            print("dinov2", gated, size, [f"{value:.6g}" for value in features[[0, 1, 2, 31]].tolist()], f"{features.norm():.6g}")


if __name__ == "__main__":
    main()
