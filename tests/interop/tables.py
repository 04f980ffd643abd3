#!/usr/bin/env python3
"""Reads what this program writes with pandas and numpy alone, as docs/formats.md says: labelled table, manifest, predictions.

    cargo build --release
    python tests/interop/tables.py [PROGRAM]

Makes a few images and reports, has the program label, train, predict and generate, and reads every table in the way of a data set of
torchxrayvision: `labels` of 1, 0 and NaN, `pathologies`, images in [-1024, 1024]. PROGRAM is target/release/roentgen if absent.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

RUN = """
seeds = [1]
[data]
format = "table"
labels = "labelled.csv"
findings = ["Effusion", "Edema"]
[preprocess]
size = 32
[network]
architecture = "small"
[training]
steps = 2
batch_size = 4
eval_every = 2
[[arms]]
name = "real"
"""

REPORTS = [
    ("Small left pleural effusion. No edema.", {"Effusion": 1, "Edema": 0}),
    ("No effusion. Moderate pulmonary edema.", {"Effusion": 0, "Edema": 1}),
    ("Possible effusion. No edema.", {"Effusion": -1, "Edema": 0}),
    ("Large right effusion,\nwith edema.", {"Effusion": 1, "Edema": 1}),
    ("No effusion or edema.", {"Effusion": 0, "Edema": 0}),
]


class Radiographs:
    """A table of images in the way of a data set of torchxrayvision, without torch."""

    FIELDS = {"image", "patient_id", "age", "sex", "view", "split", "report", "race", "template", "origin", "source_id", "fold", "replica"}
    PROVENANCE = {
        "seed", "prompt", "prompt_kind", "model", "sampler", "steps", "guidance", "gate", "nearest_real", "nearest_real_id",
        "negative_prompt", "adapters", "weights",
    }

    def __init__(self, table):
        # Identifiers stay text: 007 is no 7. Only blank cells are unknown.
        self.csv = pd.read_csv(table, dtype={"image": str, "patient_id": str, "source_id": str}, keep_default_na=False, na_values=[""])
        self.folder = Path(table).parent
        others = self.FIELDS | self.PROVENANCE
        self.pathologies = [c for c in self.csv.columns if c not in others and not c.endswith((" side", " severity", " location"))]
        labels = self.csv[self.pathologies].to_numpy(float)
        self.labels = np.where(labels == -1, np.nan, labels).astype(np.float32)

    def __len__(self):
        return len(self.csv)

    def __getitem__(self, index):
        pixels = np.asarray(Image.open(self.folder / self.csv.image[index]))
        assert pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16), "gray"
        scaled = (2 * (pixels / np.iinfo(pixels.dtype).max) - 1) * 1024
        return {"idx": index, "lab": self.labels[index], "img": scaled[None].astype(np.float32)}


def write(folder):
    """Images and a table with reports: three splits, every report in each."""
    rows = []
    for number in range(15):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = ["train", "valid", "test"][number // 5]
        rows.append((f"{number}.png", f"{number:03}", 50 + number, "F", "PA", split, REPORTS[number % 5][0]))
    columns = ["image", "patient_id", "age", "sex", "view", "split", "report"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "reports.csv", index=False)


def labelled(folder):
    data = Radiographs(folder / "labelled.csv")
    assert len(data) == 15 and data.pathologies[0] == "No Finding" and len(data.pathologies) == 14, data.pathologies
    assert list(data.csv.patient_id) == [f"{number:03}" for number in range(15)]
    assert list(data.csv.report) == [REPORTS[number % 5][0] for number in range(15)]
    for finding in ["Effusion", "Edema"]:
        expected = [REPORTS[number % 5][1][finding] for number in range(15)]
        assert list(data.csv[finding]) == expected, finding
        column = data.labels[:, data.pathologies.index(finding)]
        assert np.array_equal(np.isnan(column), np.array(expected) == -1)
    assert list(data.csv["Effusion side"].iloc[[0, 3]]) == ["left", "right"] and data.csv["Effusion side"].isna()[1]
    assert list(data.csv["Edema severity"].dropna().unique()) == ["moderate"]
    item = data[0]
    assert item["img"].shape == (1, 40, 40) and -1024 <= item["img"].min() < item["img"].max() <= 1024
    print(f"labelled table: {len(data)} rows, {len(data.pathologies)} findings, {int(np.isnan(data.labels).sum())} unknown labels")


def predictions(path, table):
    """`seed, image, patient_id`, then `target_F` and `score_F`; a blank target is an ignored label."""
    scores = pd.read_csv(path, dtype={"image": str, "patient_id": str}, keep_default_na=False, na_values=[""])
    findings = [c.removeprefix("score_") for c in scores.columns if c.startswith("score_")]
    assert findings == ["Effusion", "Edema"], findings
    joined = scores.merge(table.csv, on="image", validate="many_to_one", suffixes=("", "_of_table"))
    assert len(joined) == len(scores) == 5 and (joined.patient_id == joined.patient_id_of_table).all() and (joined.split == "test").all()
    for finding in findings:
        assert scores[f"score_{finding}"].between(0, 1).all()
        known = joined[finding].replace(-1, np.nan)
        assert np.array_equal(known, joined[f"target_{finding}"], equal_nan=True), finding
    print(f"{path.name}: {len(scores)} rows, targets equal the table's labels")


def manifest(folder):
    data = Radiographs(folder / "set" / "manifest.csv")
    assert len(data) == 4 and set(data.csv.origin) == {"synthetic"}, data.csv
    assert list(data.csv.prompt) == ["Left effusion.", "No edema."] * 2 or sorted(data.csv.prompt) == sorted(["Left effusion.", "No edema."] * 2)
    assert data.pathologies == ["Effusion", "Edema"] and data.csv.seed.is_unique
    of = data.csv.set_index("prompt")
    assert (of.loc["Left effusion.", "Effusion"] == 1).all() and (of.loc["No edema.", "Edema"] == 0).all()
    assert of.loc["No edema.", "Effusion"].isna().all()
    shapes = {data[index]["img"].shape for index in range(len(data))}
    print(f"manifest: {len(data)} synthetic images of {shapes}, seeds {list(data.csv.seed)}")


def main():
    program = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target" / "release" / "roentgen").resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def roentgen(*args):
            subprocess.run([program, *args], cwd=folder, check=True, stdout=subprocess.DEVNULL)

        write(folder)
        roentgen("data", "label", "reports.csv", "--report", "report", "--out", "labelled.csv")
        labelled(folder)
        (folder / "run.toml").write_text(RUN)
        roentgen("train", "run.toml", "--out", "run", "--device", "cpu")
        weights = next((folder / "run").rglob("model.safetensors"))
        roentgen("predict", "run.toml", "--weights", str(weights), "--out", "scores.csv", "--device", "cpu")
        table = Radiographs(folder / "labelled.csv")
        for path in [folder / "scores.csv", *(folder / "run").rglob("predictions.csv")]:
            predictions(path, table)
        (folder / "prompts.csv").write_text("prompt,Effusion,Edema\nLeft effusion.,1,\nNo edema.,,0\n")
        roentgen("dev", "random-pipeline", "--out", "pipeline")
        roentgen("generate", "--pipeline", "pipeline", "--prompts", "prompts.csv", "--count", "2", "--steps", "2", "--out", "set", "--device", "cpu")
        manifest(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
