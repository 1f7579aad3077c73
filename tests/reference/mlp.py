#!/usr/bin/env python3
"""What floating point reaches on the same rows: scikit-learn's MLPClassifier, trained on our split of a CSV.

    mlp.py FILE.csv[.gz] [--label NAME] [--no-header] [--layers 64,32] [--seeds 0,1,2]

Same shape, same held-out fifth, columns scaled from the training rows. Needs numpy and scikit-learn.
"""

import argparse
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from oracle import class_numbers, looks_like_pixels, split, table


def accuracy(values, y, hidden, scaling, solver, seed):
    test = split(y, seed)
    axis = None if scaling == "global" else 0
    mean, deviation = values[~test].mean(axis=axis), values[~test].std(axis=axis)
    x = (values - mean) / np.where(deviation == 0, 1, deviation)
    rate = 0.1 if solver == "sgd" and scaling == "global" else 0.05 if solver == "sgd" else 0.001
    network = MLPClassifier(hidden, solver=solver, batch_size=min(64, int((~test).sum())), learning_rate_init=rate,
                            momentum=0.9, max_iter=200, random_state=seed)
    network.fit(x[~test], y[~test])
    return network.score(x[test], y[test])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--label", default="-1")
    parser.add_argument("--no-header", action="store_true")
    parser.add_argument("--layers", default="64")
    parser.add_argument("--scale", choices=["per-column", "global"])
    parser.add_argument("--seeds", default="0,1,2")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    values, labels, _ = table(args.file, args.label, not args.no_header)
    y, _ = class_numbers(labels)
    scaling = args.scale or ("global" if looks_like_pixels(values) else "per-column")
    hidden = tuple(int(width) for width in args.layers.split(",") if width)
    for solver in ("sgd", "adam"):
        scores = [100 * accuracy(values, y, hidden, scaling, solver, int(seed)) for seed in args.seeds.split(",")]
        each = ", ".join(f"{score:.2f}" for score in scores)
        print(f"{args.file} {args.layers} {scaling} {solver}: mean {np.mean(scores):.2f} % ({each})")


if __name__ == "__main__":
    main()
