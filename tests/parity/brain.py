"""What brain floats cost PyTorch: distances of its bf16 results from the fp32 ones that the parity trees hold.

    pip install torch==2.15.0 torchvision==0.29.2 torchxrayvision==1.5.7 safetensors==0.8.0
    python tests/parity/brain.py > tests/parity/brain.json

For each case of fixtures/08_classifier with a network, the network runs under torch.autocast("cpu", dtype=torch.bfloat16); of each
output that is compared, the Euclidean norm of its difference from the fp32 one is printed as a share of the fp32 one's norm. Training
cases take the first step's gradients and five steps, as autocast is used: weights, optimiser and loss in fp32.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torchvision.models import DenseNet

TOPIC = Path(__file__).parent / "fixtures" / "08_classifier"


def network(case):
    folder = TOPIC / case["checkpoint"]
    config = json.loads((folder / "config.json").read_text())
    keys = ("growth_rate", "num_init_features", "bn_size", "num_classes")
    net = DenseNet(block_config=tuple(config["block_config"]), **{key: config[key] for key in keys})
    weights = load_file(folder / "model.safetensors")
    first = weights["features.conv0.weight"]
    net.features.conv0 = torch.nn.Conv2d(first.shape[1], first.shape[0], 7, 2, 3, bias=False)
    missing = net.load_state_dict({key: value for key, value in weights.items() if key != "op_threshs"}, strict=False)
    assert not missing.missing_keys, missing
    return net


def brain(net, images):
    """Logits, and what the harness calls features and pooled, of the last feature map."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = net.features(images)
        pooled = F.relu(features).float().mean((2, 3))
        logits = net.classifier(pooled.bfloat16())
    return {"logits": logits.float(), "features": features.float(), "pooled": pooled}


def loss_of(case, inputs, logits, targets):
    known = ~targets.isnan()
    targets = torch.nan_to_num(targets)
    weight = inputs.get("pos_weight")
    terms = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none") * known
    kind = case["params"]["loss"]
    if not kind.startswith("xrv"):
        return terms.sum() / known.sum()
    means = terms.sum(0) / known.sum(0).clamp(min=1)
    if "task_weights" in inputs:
        means = means * inputs["task_weights"]
    return means.sum()


def pictures(images, channels):
    """Pixels as the harness's input ranges make them."""
    images = images.float() / 255
    if channels == 1:
        return (2 * images - 1) * 1024
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images.repeat(1, 3, 1, 1) - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)


def training(case, inputs, cast):
    net = network(case).train()
    params = case["params"]
    options = {"lr": params["lr"], "weight_decay": params["weight_decay"], "betas": params["betas"], "eps": params["eps"]}
    adam = params["optimizer"] == "Adam"
    optimizer = torch.optim.Adam(net.parameters(), amsgrad=True, **options) if adam else torch.optim.AdamW(net.parameters(), **options)
    losses, all_logits, norms = [], [], None
    for images, targets in zip(inputs["images_u8"], inputs["targets"]):
        pixels = pictures(images, net.features.conv0.weight.shape[1])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast):
            logits = net(pixels)
        logits = logits.float()
        loss = loss_of(case, inputs, logits, targets)
        optimizer.zero_grad()
        loss.backward()
        if norms is None:
            named = dict(net.named_parameters())
            norms = torch.stack([named[name].grad.norm() for name in params["parameter_names"]])
        optimizer.step()
        losses.append(loss.detach())
        all_logits.append(logits.detach())
    outputs = {"losses": torch.stack(losses), "train_logits": torch.stack(all_logits), "first_step_grad_norms": norms}
    buffers = {f"stats/{name}": value for name, value in net.named_buffers() if value.is_floating_point()}
    return {**outputs, **buffers}


def distance(found, expected):
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


def main():
    torch.manual_seed(0)
    cases = json.loads((TOPIC / "cases.json").read_text())["cases"]
    tensors, expected = load_file(TOPIC / "inputs.safetensors"), load_file(TOPIC / "expected.safetensors")
    table = {}
    for case in cases:
        if not case.get("checkpoint"):
            continue
        inputs = {name: tensors[key] for name, key in case["inputs"].items()}
        if "optimizer" in case.get("params", {}):
            exact = training(case, inputs, False)
            found = training(case, inputs, True)
            for name in ("losses", "train_logits"):
                share = distance(exact[name], expected[f"{case['name']}/{name}"])
                assert share < 1e-3, f"{case['name']} {name}: fp32 here differs from the tree by {share}"
        else:
            with torch.no_grad():
                found = brain(network(case).eval(), inputs["image"])
        names = [name for name in case["outputs"] if name in found]
        table[case["name"]] = {name: float(f"{distance(found[name], expected[case['name'] + '/' + name]):.3g}") for name in names}
    json.dump({"torch": torch.__version__, "cases": table}, sys.stdout, indent=1)
    print()


main()
