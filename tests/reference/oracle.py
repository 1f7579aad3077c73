#!/usr/bin/env python3
"""The training specification in numpy: an oracle that shares no code with the implementation.

    oracle.py digits.bin                         both published full runs on the published split
    oracle.py FILE.csv[.gz] [options]            our preparation and our defaults, as `tequio job train` does

Prints the SHA-256 of all master weights as little-endian int32 (the implementation's `Weights::sha256`) and the
accuracy on the held-out rows. Needs numpy. Section numbers are those of the specification in docs/training.md.
"""

import argparse
import csv
import gzip
import hashlib
import io
import math

import numpy as np

PHI = 0x9E3779B9
MASK = 0xFFFFFFFF
WEIGHT_FRACTION, GRADIENT_FRACTION, LIM = 24, 20, (1 << 30) - 1


# --- section 2: primitives ---------------------------------------------------------------------------------------

def mix32(x):
    x = np.asarray(x, np.uint64) & np.uint64(MASK)
    x = ((x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D)) & np.uint64(MASK)
    x = ((x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B)) & np.uint64(MASK)
    return x ^ (x >> np.uint64(16))


def key(*words):
    k = 0x243F6A88
    for word in words:
        k = (int(mix32(k ^ (word & MASK))) + PHI) & MASK
    return k


def words(k, count):
    """at(k, 0), at(k, 1), ... as int64."""
    positions = np.arange(1, count + 1, dtype=np.uint64)
    return mix32(np.uint64(k) + positions * np.uint64(PHI)).astype(np.int64)


def permutation(k, count):
    return np.lexsort((np.arange(count), words(k, count)))


def rshr(x, shift):
    return (x + ((1 << shift) >> 1)) >> shift


def clip(x):
    return np.clip(x, -LIM, LIM)


def product(a, b):
    """int8 x int8 -> int32; binary64 holds every such sum exactly."""
    c = a.astype(np.float64) @ b.astype(np.float64)
    assert np.abs(c).max(initial=0) < 2**30
    return c.astype(np.int64)


# --- sections 3 and 4 --------------------------------------------------------------------------------------------

class Job:
    def __init__(self, dims, input_exponent, unit_rows, lanes, steps, learning_rate, rounds, seed=0, momentum=230,
                 hidden_exponent=5, nearest=False):
        self.dims, self.seed, self.rounds, self.momentum = dims, seed, rounds, momentum
        self.exponents = [input_exponent] + [hidden_exponent] * (len(dims) - 2)
        self.unit_rows, self.lanes, self.steps = unit_rows, lanes, steps
        self.learning_rate, self.nearest = learning_rate, nearest

    def initial(self):
        weights = []
        for l, (inputs, outputs) in enumerate(zip(self.dims, self.dims[1:])):
            lim = math.isqrt((6 << 48) // inputs)
            drawn = words(key(self.seed, 1, l), inputs * outputs)
            matrix = (((drawn * (2 * lim + 1)) >> 32) - lim).reshape(inputs, outputs)
            weights.append(np.vstack([matrix, np.zeros((1, outputs), np.int64)]))
        return weights

    def rows(self, count, step, lane):
        batch = self.unit_rows * self.lanes
        epoch, index = divmod(step, count // batch)
        start = index * batch + lane * self.unit_rows
        return permutation(key(self.seed, 2, epoch), count)[start:start + self.unit_rows]

    def unit(self, published, x, y, round_word, unit_word):
        """Gradients and their exponents, layer by layer."""
        last = len(published) - 1
        activations, logits, exponent = self.forward(published, x)
        error, scale = output_error(logits, exponent, y), 15
        gradients = [None] * len(published)
        for l in range(last, -1, -1):
            delta, scale = self.quantise(error, scale, round_word, unit_word, l)
            gradients[l] = product(activations[l].T, delta), scale
            if l > 0:
                weights, weight_exponent = published[l]
                error = product(delta, weights[:-1].T) * (activations[l][:, :-1] > 0)
                scale += weight_exponent
        return gradients

    def forward(self, published, x):
        activations, a = [], x.astype(np.int64)
        for l, (weights, weight_exponent) in enumerate(published):
            bias = np.full((len(a), 1), 1 << self.exponents[l], np.int64)
            activations.append(np.hstack([a, bias]))
            z = product(activations[-1], weights)
            exponent = self.exponents[l] + weight_exponent
            if l + 1 < len(published):
                a = np.clip(rshr(z, exponent - self.exponents[l + 1]), 0, 127)
        return activations, z, exponent

    def quantise(self, x, scale, round_word, unit_word, layer):
        bits = int(np.abs(x).max()).bit_length()
        shift = min(max(bits - 7, 0, scale - GRADIENT_FRACTION), scale)
        if self.nearest:
            extra = (1 << shift) >> 1
        else:
            drawn = words(key(self.seed, 3, round_word, unit_word, layer), x.size)
            extra = drawn.reshape(x.shape) & ((1 << shift) - 1)
        return np.clip((x + extra) >> shift, -127, 127), scale - shift

    def update(self, weights, momenta, sums, rows_log2, learning_rate):
        for l, total in enumerate(sums):
            shift = self.exponents[l] + GRADIENT_FRACTION + rows_log2 - WEIGHT_FRACTION
            momenta[l] = clip(((momenta[l] * self.momentum + 128) >> 8) + clip(rshr(total, shift)))
            weights[l] = clip(weights[l] - ((momenta[l] * learning_rate + 32768) >> 16))

    def classes(self, weights, x):
        return np.argmax(self.forward(publish(weights), x)[1], axis=1)


def publish(weights):
    out = []
    for matrix in weights:
        shift = max(16, int(np.abs(matrix).max()).bit_length() - 7)
        out.append((np.clip(rshr(matrix, shift), -127, 127), WEIGHT_FRACTION - shift))
    return out


def output_error(z, exponent, y):
    gap = z.max(axis=1, keepdims=True) - z
    t = np.minimum(gap << (10 - exponent) if exponent <= 10 else gap >> (exponent - 10), 1 << 15)
    u = (t * 369) >> 10
    f = u & 255
    e = (32768 - ((f * (22662 - ((f * (7575 - ((f * 1296) >> 8))) >> 8))) >> 8)) >> np.minimum(u >> 8, 31)
    total = e.sum(axis=1, keepdims=True)
    p = ((e << 15) + (total >> 1)) // total
    p[np.arange(len(y)), y] -= 32768
    return p


def aligned(gradients):
    return [g << (GRADIENT_FRACTION - scale) for g, scale in gradients]


def train_exact(job, x, y):
    """Every round is one step of all units."""
    weights, batch = job.initial(), job.unit_rows * job.lanes
    momenta = [np.zeros_like(w) for w in weights]
    for r in range(job.rounds):
        published = publish(weights)
        units = []
        for unit in range(job.lanes):
            rows = job.rows(len(x), r, unit)
            units.append(aligned(job.unit(published, x[rows], y[rows], r, unit)))
        rate = job.learning_rate >> ((r >= job.rounds // 2) + (r >= 3 * job.rounds // 4))
        job.update(weights, momenta, [sum(layer) for layer in zip(*units)], batch.bit_length() - 1, rate)
    return weights


# --- section 5 ---------------------------------------------------------------------------------------------------

def train_local(job, x, y):
    """Every lane makes its own steps from the round's weights; their moves are averaged."""
    weights = job.initial()
    for r in range(job.rounds):
        rate = job.learning_rate >> min(2, max(0, 4 * r // job.rounds - 1))
        moves = [np.zeros_like(w) for w in weights]
        for lane in range(job.lanes):
            own, momenta = [w.copy() for w in weights], [np.zeros_like(w) for w in weights]
            for step in range(r * job.steps, (r + 1) * job.steps):
                rows = job.rows(len(x), step, lane)
                sums = aligned(job.unit(publish(own), x[rows], y[rows], step, lane))
                job.update(own, momenta, sums, job.unit_rows.bit_length() - 1, rate)
            moves = [m + (o - w) for m, o, w in zip(moves, own, weights)]
        lanes_log2 = job.lanes.bit_length() - 1
        weights = [clip(w + clip(rshr(m, lanes_log2))) for w, m in zip(weights, moves)]
    return weights


# --- section 0: from a CSV to bytes ------------------------------------------------------------------------------

def table(path, label, header):
    """Feature values, class names of the rows, column names."""
    raw = open(path, "rb").read()
    text = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode()
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    names = [name.strip() for name in rows.pop(0)] if header else [str(i) for i in range(len(rows[0]))]
    column = names.index(label) if label in names else int(label) % len(names)
    values = np.array([[float(v) for i, v in enumerate(row) if i != column] for row in rows])
    return values, [row[column].strip() for row in rows], names


def class_numbers(labels):
    try:
        names = sorted(set(labels), key=lambda name: (float(name), name.encode()))
    except ValueError:
        names = sorted(set(labels), key=lambda name: name.encode())
    return np.array([names.index(label) for label in labels]), names


def split(y, seed):
    """True where a row belongs to the test set: of each class, the first fifth in pseudo-random order."""
    test = np.zeros(len(y), bool)
    for c in range(y.max() + 1):
        members = np.flatnonzero(y == c)
        order = permutation(key(seed, 4, c), len(members))
        test[members[order[:len(members) // 5]]] = True
    return test


def in_order_moments(values):
    """Mean and deviation by sums in order: numpy's own sums add in pairs."""
    total = 0.0
    for v in values:
        total += v
    mean = total / len(values)
    squares = 0.0
    for v in values:
        squares += (v - mean) * (v - mean)
    return mean, math.sqrt(squares / len(values))


def looks_like_pixels(values):
    """The scaling taken where none is asked for: one for all where columns are many and hold small whole numbers."""
    return values.shape[1] >= 16 and bool(((values == np.floor(values)) & (values >= 0) & (values <= 255)).all())


def scaled(values, test, scaling):
    exponent = 6 if scaling == "global" else 5
    train = values[~test]
    if scaling == "global":
        moments = [in_order_moments(train.ravel().tolist())] * values.shape[1]
    else:
        moments = [in_order_moments(column.tolist()) for column in train.T]
    out = np.zeros(values.shape, np.int64)
    for j, (mean, deviation) in enumerate(moments):
        if deviation > 0:
            out[:, j] = np.clip(np.floor((values[:, j] - mean) / deviation * 2.0**exponent + 0.5), -127, 127)
    return out, exponent


def default_job(x, classes, hidden, exponent, scaling, seed):
    rows, unit_rows, lanes = len(x), 8, 8
    while unit_rows * lanes > rows and lanes > 1:
        lanes //= 2
    while unit_rows * lanes > rows and unit_rows > 1:
        unit_rows //= 2
    small = rows < 1000
    steps, per_pass = 16, max(1, rows // (unit_rows * lanes))
    total = max(800, per_pass * (80 if small else 40))
    dims = [x.shape[1], *hidden, classes]
    rate = 6554 if scaling == "global" and not small else 3277
    return Job(dims, exponent, unit_rows, lanes, steps, rate, -(-total // steps), seed)


# --- command line ------------------------------------------------------------------------------------------------

def digest(weights):
    return hashlib.sha256(b"".join(w.astype("<i4").tobytes() for w in weights)).hexdigest()


def report(name, job, weights, test_x, test_y):
    correct = int((job.classes(weights, test_x) == test_y).sum())
    print(f"{name}: {digest(weights)} {correct}/{len(test_y)} = {100 * correct / max(1, len(test_y)):.2f} %")


def published_runs(path):
    raw = open(path, "rb").read()
    train, test, width, exponent = (int(v) for v in np.frombuffer(raw[:16], "<u4"))
    sizes = np.cumsum([16, train * width, train, test * width, test])
    part = lambda i, kind: np.frombuffer(raw[sizes[i]:sizes[i + 1]], kind).astype(np.int64)
    x, y = part(0, "i1").reshape(train, width), part(1, "u1")
    test_x, test_y = part(2, "i1").reshape(test, width), part(3, "u1")
    every = Job([64, 64, 10], exponent, 8, 8, 1, 6554, 880)
    report("every step", every, train_exact(every, x, y), test_x, test_y)
    local = Job([64, 64, 10], exponent, 8, 8, 16, 6554, 55)
    report("local steps", local, train_local(local, x, y), test_x, test_y)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--label", default="-1", help="name or position of the class column; -1 is the last")
    parser.add_argument("--no-header", action="store_true")
    parser.add_argument("--layers", default="64", help="hidden widths, as in 64,32")
    parser.add_argument("--scale", choices=["per-column", "global"], help="guessed from the values where not given")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.file.endswith(".bin"):
        return published_runs(args.file)
    values, labels, _ = table(args.file, args.label, not args.no_header)
    y, names = class_numbers(labels)
    test = split(y, args.seed)
    scaling = args.scale or ("global" if looks_like_pixels(values) else "per-column")
    x, exponent = scaled(values, test, scaling)
    hidden = [int(width) for width in args.layers.split(",") if width]
    job = default_job(x[~test], len(names), hidden, exponent, scaling, args.seed)
    prepared = hashlib.sha256(x.astype("i1").tobytes() + y.astype("u1").tobytes() + test.tobytes()).hexdigest()
    print(f"{scaling}, {job.lanes} lanes of {job.steps} steps, {job.rounds} rounds, prepared rows {prepared[:16]}")
    report("local steps", job, train_local(job, x[~test], y[~test]), x[test], y[test])


if __name__ == "__main__":
    main()
