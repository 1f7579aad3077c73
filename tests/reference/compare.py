#!/usr/bin/env python3
"""Integer training with our defaults against scikit-learn's MLPClassifier, on the same splits of small tables.

    compare.py [--layers 16] [--seeds 20] [FILE.csv ...]        the class is the last column

Ours is the oracle beside this file, whose weights are bit for bit those that a network comes to. A seed decides the split,
the first weights and the order of rows of both. Exits with 1 if ours is more than two points below the better of the
peer's two solvers on average over all tables. Needs numpy and scikit-learn.
"""

import argparse
import os
import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import mlp
from oracle import class_numbers, default_job, looks_like_pixels, scaled, split, table, train_local

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data")
TABLES = [os.path.join(DATA, name) for name in ("iris.csv", "wine.csv", "breast_cancer.csv")]
POINTS_BELOW_MAX = 2.0


def ours(values, y, classes, hidden, scaling, seed):
    test = split(y, seed)
    x, exponent = scaled(values, test, scaling)
    job = default_job(x[~test], classes, hidden, exponent, scaling, seed)
    predicted = job.classes(train_local(job, x[~test], y[~test]), x[test])
    return 100 * np.mean(predicted == y[test])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=TABLES)
    parser.add_argument("--layers", default="16")
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    hidden = [int(width) for width in args.layers.split(",") if width]
    means = []
    for path in args.files:
        values, labels, _ = table(path, "-1", True)
        y, names = class_numbers(labels)
        scaling = "global" if looks_like_pixels(values) else "per-column"
        seeds = range(args.seeds)
        scores = {"ours": [ours(values, y, len(names), hidden, scaling, seed) for seed in seeds]}
        for solver in ("sgd", "adam"):
            scores[solver] = [100 * mlp.accuracy(values, y, hidden, scaling, solver, seed) for seed in seeds]
        row = {name: np.mean(each) for name, each in scores.items()}
        means.append((row["ours"], max(row["sgd"], row["adam"])))
        shown = ", ".join(f"{name} {row[name]:.2f} ± {np.std(each):.2f}" for name, each in scores.items())
        print(f"{os.path.basename(path)} {args.layers}: {shown}", flush=True)
    own, peer = np.mean(means, axis=0)
    print(f"mean of {len(means)} tables and {args.seeds} seeds: ours {own:.2f} %, the better solver {peer:.2f} %")
    sys.exit(1 if own < peer - POINTS_BELOW_MAX else 0)


if __name__ == "__main__":
    main()
