#!/usr/bin/env python3
"""PyTorch reads the classifiers that this repository writes, and computes the same logits.

    python3 -m venv venv && venv/bin/pip install -r tests/interop/requirements.txt
    venv/bin/python tests/interop/classifier.py

Random nets of torchvision (small, DenseNet-121, ResNet-50, ConvNeXt-Tiny, and DenseNet-121 in one channel for torchxrayvision's class) are saved
by torch.save, loaded and written again by `cargo run -p roentgen-classifier --example interop`, and its .safetensors and .pt loaded strictly by
the class they came from. Weights must be equal bit for bit, logits within 1e-5 of the largest. Exit status 1 on a difference.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torchvision.models import DenseNet, convnext_tiny, resnet50
from torchxrayvision.models import DenseNet as XrvDenseNet

ROOT = Path(__file__).resolve().parents[2]
# Sums in another order: fp32 keeps seven digits, a hundred layers lose about one.
TOLERANCE = 1e-5


def torchvision_small():
    return DenseNet(growth_rate=8, block_config=(2, 3, 2), num_init_features=12, bn_size=2, num_classes=5)


def torchvision_121():
    return DenseNet(growth_rate=32, block_config=(6, 12, 24, 16), num_init_features=64, num_classes=14)


def torchxrayvision_121():
    return XrvDenseNet(growth_rate=32, block_config=(6, 12, 24, 16), num_init_features=64, in_channels=1, num_classes=18)


def torchvision_resnet50():
    return resnet50(num_classes=14)


def torchvision_convnext_tiny():
    return convnext_tiny(num_classes=14)


def randomise(net):
    """Gives every weight and running statistic a value that is not its initial one."""
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith(".weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim() == 1 or name.endswith("layer_scale"):
            tensor.normal_(0, 0.1)
        else:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)


@torch.no_grad()
def check(make, channels, size, folder):
    net = make().eval()
    randomise(net)
    theirs, images, ours = folder / "theirs.pt", folder / "images.safetensors", folder / "ours"
    torch.save(net.state_dict(), theirs)
    batch = torch.randn(2, channels, size, size)
    save_file({"images": batch}, images)
    command = ["cargo", "run", "--quiet", "-p", "roentgen-classifier", "--example", "interop", "--", theirs, images, ours]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True)
    logits = load_file(folder / "ours.logits.safetensors")["logits"]

    fine = True
    for path, state in [
        ("ours.safetensors", load_file(folder / "ours.safetensors")),
        ("ours.pt", torch.load(folder / "ours.pt", weights_only=True)),
    ]:
        other = make().eval()
        other.load_state_dict(state, strict=True)
        weights = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
        equal = all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in weights.items())
        expected = other(batch)
        error = ((logits - expected).abs().max() / expected.abs().max()).item()
        good = equal and error <= TOLERANCE
        print(f"{'ok  ' if good else 'FAIL'} {make.__name__:25} {path:17} weights equal: {equal}, logits differ by {error:.1e}")
        fine &= good
    return fine


def main():
    torch.manual_seed(0)
    results = []
    nets = [
        (torchvision_small, 3, 64),
        (torchvision_121, 3, 96),
        (torchvision_resnet50, 3, 96),
        (torchvision_convnext_tiny, 3, 96),
        (torchxrayvision_121, 1, 96),
    ]
    for make, channels, size in nets:
        with tempfile.TemporaryDirectory() as folder:
            results.append(check(make, channels, size, Path(folder)))
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
