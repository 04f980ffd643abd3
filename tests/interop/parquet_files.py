#!/usr/bin/env python3
"""Writes Parquet files as pandas, pyarrow and Hugging Face's `datasets` do, and has this program read them, as docs/formats.md says.

    cargo build --release
    python tests/interop/parquet_files.py [PROGRAM]

Needs pyarrow, pandas and Pillow, no network. Of each file the summary must have the rows and labels that were written, and the check must decode
every image. PROGRAM is target/release/roentgen if absent.
"""
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
ROWS = 12
MASS = [1, 0, None, -1] * 3
CHEXPERT = [
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion", "Lung Opacity",
    "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
]


def png(number):
    pixels = np.random.default_rng(number).integers(0, 256, (40, 40), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def images():
    """As `datasets` writes an image: a struct of bytes and path."""
    return pa.array(
        [{"bytes": png(row), "path": f"{row}.png"} for row in range(ROWS)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )


def table(**more):
    columns = {
        "image": images(),
        "patient_id": pa.array([f"{row // 2:03}" for row in range(ROWS)]),
        "Mass": pa.array(MASS, pa.int64()),
        "report": pa.array([None if row % 3 == 0 else f"Report {row}.\nTwo lines." for row in range(ROWS)]),
    }
    return pa.table(columns | more)


def roentgen_v2():
    """The columns of the card of `stanfordmimi/RoentGen-v2-synthetic-dataset`."""
    columns = {
        "image_id": [f"id{row}" for row in range(ROWS)],
        "image": images(),
        "text": [f"{50 + row} year old ASIAN male. Mass." for row in range(ROWS)],
        "gender": ["Male", "Female"] * 6,
        "age": [50 + row for row in range(ROWS)],
        "race": ["ASIAN"] * ROWS,
        "view": ["PA", "AP"] * 6,
        "impression": ["Mass."] * ROWS,
    }
    return pa.table(columns | {name: [int(row % 4 == 0) for row in range(ROWS)] for name in CHEXPERT})


def classes():
    """A column of classes with the names that `datasets` writes beside the schema, and a list of them."""
    found = pa.table({"image": images(), "label": pa.array([row % 2 for row in range(ROWS)], pa.int64())})
    features = {"image": {"_type": "Image"}, "label": {"names": ["NORMAL", "Pneumonia"], "_type": "ClassLabel"}}
    return found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def by_pandas(path, **options):
    """What a data frame becomes that was filtered, so that its index is written."""
    frame = table().to_pandas().astype({"Mass": "Int64", "patient_id": "category", "report": "string"})
    twice = pd.concat([frame, frame.assign(image=[{"bytes": png(row), "path": f"x{row}.png"} for row in range(ROWS)])])
    twice.reset_index(drop=True).iloc[::2].to_parquet(path, **options)


def main():
    program = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target" / "release" / "roentgen").resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def read(what, place, rows, positive, finding="Mass", synthetic=0):
            def roentgen(*args):
                done = subprocess.run([program, *args, place, "--json"], cwd=folder, capture_output=True, text=True)
                # The check has faults to name, as there is no validation set; nothing else may fail.
                assert done.returncode == 0 or "check" in args and done.stdout, f"{what}: {args}\n{done.stdout}\n{done.stderr}"
                return json.loads(done.stdout)

            summary = roentgen("data", "summary")
            summary = summary.get("summary", summary)
            counts = next(found["all"] for found in summary["findings"] if found["finding"] == finding)
            found = (summary["images"], counts["positive"], summary["synthetic"])
            assert found == (rows, positive, synthetic), f"{what}: {found}, not {(rows, positive, synthetic)}"
            check = roentgen("data", "check")
            assert check["unreadable"] == [] and check["sizes"] == {"40x40, 8 bit": rows}, f"{what}: {check}"
            print(f"{what}: {rows} rows, {positive} of {finding}" + (f", {synthetic} synthetic" if synthetic else ""))

        def file(what, make, positive=3, **options):
            (folder / what).mkdir()
            pq.write_table(make, folder / what / "train-00000-of-00001.parquet", **options)
            read(what, what, ROWS, positive)

        for compression in ["none", "snappy", "gzip", "zstd", "lz4"]:
            file(f"row-groups-{compression}", table(), compression=compression, row_group_size=5)
        file("dictionary-off", table(), use_dictionary=False)
        file("pages-v2", table(), data_page_version="2.0", data_page_size=2000, row_group_size=7)
        file("old", table(), version="1.0", use_compliant_nested_type=False)
        file("large", table(report=pa.array(["x"] * ROWS, pa.large_string())))
        file("floats", table(Mass=pa.array([None if v is None else float(v) for v in MASS])))
        file("small", table(Mass=pa.array(MASS, pa.int8())))
        file("truth", table(Mass=pa.array([row % 4 == 0 for row in range(ROWS)])))
        file("dictionary", table(report=pa.array(["a", "b"] * 6).dictionary_encode()))
        file("many", table(), row_group_size=1, write_statistics=False)
        # What few writers are told to do is refused by its name.
        delta = {"use_dictionary": False, "column_encoding": {"Mass": "DELTA_BINARY_PACKED", "report": "DELTA_BYTE_ARRAY"}}
        for what, options in [("brotli", {"compression": "brotli"}), ("delta", delta)]:
            (folder / what).mkdir()
            pq.write_table(table(), folder / what / "a.parquet", **options)
            refused = subprocess.run([program, "data", "summary", what], cwd=folder, capture_output=True, text=True)
            said = refused.stderr.lower().split("as `parquet`", 1)[-1]
            assert refused.returncode != 0 and what in said.replace(f"{what}/", ""), refused.stderr
            print(f"{what}: refused by name")
        (folder / "pandas").mkdir()
        by_pandas(folder / "pandas" / "a.parquet")
        read("pandas", "pandas", ROWS, 6)
        (folder / "classes").mkdir()
        pq.write_table(classes(), folder / "classes" / "train-00000-of-00001.parquet")
        read("classes", "classes", ROWS, ROWS // 2, "Pneumonia")
        (folder / "hub" / "data").mkdir(parents=True)
        for part in range(2):
            pq.write_table(roentgen_v2(), folder / "hub" / "data" / f"train-{part:05}-of-00002.parquet", row_group_size=4)
        read("RoentGen-v2", "hub", 2 * ROWS, 6, "Atelectasis", 2 * ROWS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
