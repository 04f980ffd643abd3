"""Where a whole program spends its time, by room of this repository.

    cargo build --release --config 'profile.release.package.roentgen-classifier.debug="line-tables-only"'
    python benches/profile.py target/release/roentgen demo --quick --out /tmp/demo

Runs the command under Linux `perf` with call graphs, and gives every sample to the first frame, from the innermost, that the table
below knows, else to its innermost function. Prints a Markdown table of shares of the processor time, and the time itself.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

# What a frame's function belongs to; the first that matches counts. Frames that match nothing are passed over.
ROOMS = [
    ("convolution", r"kernels::conv\b|ops::conv\b|conv_common|kernels::conv_"),
    ("attention", r"kernels::attention|ops::attention"),
    ("normalisation", r"kernels::(batch_norm|group_norm|layer_norm|norm|moments)|ops::norm"),
    ("activation", r"kernels::(activation|function|gated|geglu)"),
    ("concatenation of DenseNet", r"kernels::dense|ops::cat"),
    ("pooling", r"kernels::pool|ops::pool"),
    ("matrix product", r"ops::matmul|kernels::(linear|pointwise|matmul)"),
    ("optimiser", r"burn_optim|op_norm|kernels::(adamw|euclidean)"),
    ("other operations of burn", r"burn_flex::ops|burn_flex::(layout|tensor|strided|simd|backend)|burn_backend"),
    ("autodiff graph", r"burn_autodiff"),
    ("phantom", r"roentgen_augment::phantom"),
    ("preprocessing and augmentation", r"roentgen_augment::(preprocess|resize|geometry|decode|skimage)|augmentation"),
    ("cache and PNG", r"roentgen_augment::(cache|encode|sample_png|atomic)|png::|flate2|miniz|zlib"),
    ("statistics", r"roentgen_classifier::metrics"),
    ("report", r"roentgen::report"),
    ("weights and files", r"safetensors|burn_store|burn_pack|blake3|zip::"),
]

# For what matched none of them, as on a worker thread, whose stack ends at the pool: the innermost function.
LEAVES = [
    ("matrix product on a worker thread", r"^gemm"),
    ("threads that wait, and the kernel's scheduler", r"sched|task_switch|spin_unlock|irqentry|do_syscall|rseq"),
    ("memory: pages, clearing, copies, malloc", r"page|^__mem(set|move|cpy)|malloc|_int_free"),
]


def stacks(data):
    """Function names from the innermost outwards, of every sample."""
    command = ["perf", "script", "-i", data, "--no-inline", "-F", "ip,sym"]
    script = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for sample in script.split("\n\n"):
        frames = [line.strip().partition(" ")[2] for line in sample.splitlines() if line.strip()]
        if frames:
            yield frames


def room_of(frames):
    for frame in frames:
        for room, pattern in ROOMS:
            if re.search(pattern, frame):
                return room
    for room, pattern in LEAVES:
        if re.search(pattern, frames[0]):
            return room
    return f"not attributed: {frames[0][:60]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frequency", type=int, default=199, help="samples a second and thread")
    parser.add_argument("--rows", type=int, default=14)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        record = ["perf", "record", "-q", "-F", str(arguments.frequency), "--call-graph", "dwarf,16384", "-o", data]
        subprocess.run([*record, "--", *arguments.command], check=True, stdout=sys.stderr)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        rooms = Counter(room_of(frames) for frames in stacks(data))
    total = sum(rooms.values())
    print(f"{usage.ru_utime + usage.ru_stime:.1f} s of processor time, {usage.ru_maxrss / 1024:.0f} MiB at most\n")
    print("| share | room |\n|---|---|")
    for room, samples in rooms.most_common(arguments.rows):
        print(f"| {samples / total:.1%} | {room} |")


if __name__ == "__main__":
    main()
