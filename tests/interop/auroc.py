#!/usr/bin/env python3
"""Recomputes every AUROC of a comparison with scikit-learn, from predictions.csv alone.

    python tests/interop/auroc.py runs/demo

Reads RUN/report.json and RUN/arms/*/predictions.csv; prints the largest difference and fails above 1e-6.
"""
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

TOLERANCE = 1e-6


def aurocs(table, findings):
    """AUROC by finding of one run; NaN where a class is missing."""
    found = []
    for finding in findings:
        known = table[f"target_{finding}"].notna()
        labels, scores = table.loc[known, f"target_{finding}"], table.loc[known, f"score_{finding}"]
        found.append(roc_auc_score(labels, scores) if labels.nunique() == 2 else np.nan)
    return np.array(found)


def main():
    run = Path(sys.argv[1])
    report = json.loads((run / "report.json").read_text())
    worst, compared = 0.0, 0
    for arm in report["arms"]:
        table = pd.read_csv(run / "arms" / arm["name"] / "predictions.csv")
        findings = [finding["finding"] for finding in arm["findings"]]
        runs = np.array([aurocs(table[table.seed == seed], findings) for seed in report["protocol"]["seeds"]])
        pairs = [(np.nanmean(runs[i]), seed["test_macro_auroc"]) for i, seed in enumerate(arm["runs"])]
        pairs.append((np.nanmean(runs), arm["macro_auroc"]["value"]))
        for ours, finding in zip(runs.mean(axis=0), arm["findings"]):
            assert np.isnan(ours) == (finding["auroc"] is None), finding["finding"]
            if finding["auroc"] is not None:
                pairs.append((ours, finding["auroc"]["value"]))
        compared += len(pairs)
        worst = max([worst] + [abs(a - b) for a, b in pairs])
    print(f"{compared} AUROCs of {len(report['arms'])} arms: largest difference to scikit-learn {worst:.2e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
