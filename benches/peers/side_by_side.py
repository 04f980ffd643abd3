"""Runs each piece of work by turns here and in PyTorch and friends, and prints the table of benches/README.md.

    python benches/peers/side_by_side.py [--rounds 2] [NAME ...]

Every run is a process of its own, so that peak memory belongs to the work. Times of one row are pooled over the rounds.
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
    "decode": "pixels",
    "densenet121": "densenet",
    "small": "densenet",
    "text": "diffusion",
    "unet": "diffusion",
    "vae": "diffusion",
    "image": "diffusion",
    "finetune": "finetune",
}


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


def peer(name):
    command = [sys.executable, torch_peers.__file__, name]
    row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return row["min_s"], row["median_s"], row["peak_mib"]


def pooled(runs):
    fastest, medians, peaks = zip(*runs)
    return min(fastest), sorted(medians)[(len(medians) - 1) // 2], max(peaks)


def time(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("name", nargs="*", default=[], help="pieces of work (default: all but sd14)")
    arguments = parser.parse_args()
    names = arguments.name or [name for name in torch_peers.DEFAULT if "_rounded" not in name]
    executables = {bench: executable(bench) for bench in sorted({bench_of(name) for name in names})}
    print("| work | ours min / median | peer min / median | time ratio min / median | peak MiB ours / peer | memory ratio |")
    print("|---|---|---|---|---|---|")
    for name in names:
        turns = [(ours(name, executables), peer(name)) for _ in range(arguments.rounds)]
        (a_min, a_median, a_peak), (b_min, b_median, b_peak) = (pooled(runs) for runs in zip(*turns))
        print(
            f"| {name} | {time(a_min)} / {time(a_median)} | {time(b_min)} / {time(b_median)} "
            f"| {a_min / b_min:.2f} / {a_median / b_median:.2f} | {a_peak:.0f} / {b_peak:.0f} | {a_peak / b_peak:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
