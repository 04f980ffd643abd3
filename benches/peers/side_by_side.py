"""Runs each piece of work by turns here and in PyTorch and friends, and prints the table of benches/README.md.

    python benches/peers/side_by_side.py [--rounds 3] [--targets] [NAME ...]

Every run is a process of its own, so that peak memory belongs to the work. Each side's least and median time is over all rounds;
the ratio is that of the least times, with the lowest and highest ratio of a single round behind it. `--targets` runs what has a
target, and says whether it is reached. Beside work in brain floats (`_bf16`) stands PyTorch's best: the faster of eager and, with
`--compile`, of compiled.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import torch_peers

ROOT = Path(__file__).resolve().parents[2]
SECONDS = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
BENCHES = {
    "attention": "kernels",
    "conv": "kernels",
    "linear": "kernels",
    "norm": "norms",
    "activation": "norms",
    "geglu": "norms",
    "decode": "pixels",
    "densenet121": "densenet",
    "small": "densenet",
    "text": "diffusion",
    "unet": "diffusion",
    "vae": "diffusion",
    "image": "diffusion",
    "finetune": "finetune",
    "fid": "evaluation",
    "kid": "evaluation",
    "prdc": "evaluation",
    "dino": "evaluation",
    "msssim": "evaluation",
}


# Most that our time may be of the peer's, and our peak memory in all of them.
TARGETS = {
    "densenet121_train/b8_64px": 1.0,
    "densenet121_train/b16_64px": 1.0,
    "densenet121_train/b4_224px": 1.2,
    "unet_level_forward/320ch_64x64": 1.0,
    "unet_level_train/320ch_64x64": 1.2,
    "unet_guided_step/sd14_512px": 1.1,
    "unet_train/sd14_512px": 1.1,
    "vae_decode/sd14_512px": 1.1,
    "text_encoder_2_prompts/sd14_512px": 1.0,
    "attention_forward/b1_q4096_k4096_h8_d40": 1.2,
    "attention_train/b1_q4096_k4096_h8_d40": 1.2,
    "fid_2048_features/50000": 1.0,
    "kid_768_features/10000": 1.0,
    "prdc_768_features/10000": 1.0,
    "dino_features_518px/2": 1.0,
    "msssim_pair_px/512": 1.0,
    "densenet121_train_bf16/b16_64px": 1.0,
    "densenet121_train_bf16/b4_224px": 1.0,
    "unet_level_forward_bf16/320ch_64x64": 1.0,
    "unet_level_train_bf16/320ch_64x64": 1.0,
    "unet_guided_step_bf16/sd14_512px": 1.0,
    "vae_decode_bf16/sd14_512px": 1.0,
    "image_25_steps_bf16/sd14_512px": 1.0,
    "finetune_step_bf16/sd14_32latents_b1": 1.0,
    "finetune_step_bf16/sd14_64latents_b1": 1.0,
}
TARGET_MEMORY = 0.6


def bench_of(name):
    return BENCHES.get(name.split("_")[0], "metrics")


def executable(bench):
    command = ["cargo", "bench", "--bench", bench, "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    artifacts = (json.loads(line) for line in lines)
    return next(a["executable"] for a in artifacts if a.get("executable") and a["target"]["name"] == bench)


def ours(name, executables):
    """divan's fastest and median time, and the peak memory of the process."""
    work, _, argument = name.partition("/")
    only = f"^{bench_of(name)}::{work}::{argument}$"
    command = [executables[bench_of(name)], "--bench", only]
    environment = {**os.environ, "ROENTGEN_BENCH_SD14": "1"}  # sizes that are not run unless asked for
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    rows = [re.findall(r"([\d.]+) (ns|µs|ms|s|m)\b", line) for line in output.splitlines()]
    rows = [row for row in rows if len(row) == 4]
    if status or len(rows) != 1:
        sys.exit(f"`{only}` gave {len(rows)} rows and status {status}:\n{output}")
    fastest, _, median, _ = (float(number) * SECONDS[unit] for number, unit in rows[0])
    return fastest, median, usage.ru_maxrss / 1024


def peer(name, compiled=False):
    if compiled and "_bf16/" in name:
        return min(peer(name), peer(name.replace("_bf16/", "_compiled/")))
    command = [sys.executable, torch_peers.__file__, name]
    row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return row["min_s"], row["median_s"], row["peak_mib"]


def pooled(runs):
    fastest, medians, peaks = zip(*runs)
    return min(fastest), sorted(medians)[(len(medians) - 1) // 2], max(peaks)


def verdict(name, ratio, memory):
    if name not in TARGETS:
        return ""
    reached = ["yes" if seen <= most else "no" for seen, most in ((ratio, TARGETS[name]), (memory, TARGET_MEMORY))]
    return f" time {TARGETS[name]}: {reached[0]}; memory {TARGET_MEMORY}: {reached[1]} |"


def time(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", action="store_true", help="what has a target")
    parser.add_argument("--compile", action="store_true", help="try torch.compile, too; it needs a C++ compiler")
    parser.add_argument("name", nargs="*", default=[], help="pieces of work (default: all but sd14)")
    arguments = parser.parse_args()
    default = TARGETS if arguments.targets else [name for name in torch_peers.DEFAULT if "_rounded" not in name]
    names = arguments.name or list(default)
    executables = {bench: executable(bench) for bench in sorted({bench_of(name) for name in names})}
    last = " target reached |" if arguments.targets else ""
    print(f"| work | ours min / median | peer min / median | time ratio (rounds) | peak MiB ours / peer | memory ratio |{last}")
    print("|---" * (7 if last else 6) + "|")
    for name in names:
        turns = [(ours(name, executables), peer(name, arguments.compile)) for _ in range(arguments.rounds)]
        (a_min, a_median, a_peak), (b_min, b_median, b_peak) = (pooled(runs) for runs in zip(*turns))
        ratios = [a[0] / b[0] for a, b in turns]
        ratio, memory = a_min / b_min, a_peak / b_peak
        print(
            f"| `{name}` | {time(a_min)} / {time(a_median)} | {time(b_min)} / {time(b_median)} "
            f"| {ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | {a_peak:.0f} / {b_peak:.0f} | {memory:.2f} |"
            + (verdict(name, ratio, memory) if last else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
