"""Exact distances, the right answers, and how many of them a result has.

A row is right if the truth lists it among the first k, or if it is as close as the k-th of them. Distances are in
double precision, from the values as the files hold them, so that ties are ties.
"""

import numpy as np


def read(path):
    """The vectors of an .npy file, mapped, as they are."""
    return np.load(path, mmap_mode="r")


def unit(vectors):
    """The vectors in single precision, scaled to length 1."""
    vectors = np.array(vectors, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def distances(metric, query, rows):
    """How far rows are from one query; smaller is closer. The same row gives the same number, bit for bit."""
    query, rows = query.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return ((rows - query) ** 2).sum(axis=1)
    dots = (rows * query).sum(axis=1)
    if metric == "ip":
        return -dots
    return 1.0 - dots / np.sqrt((rows**2).sum(axis=1) * (query**2).sum())


class Truth:
    """What is right for some queries."""

    def __init__(self, metric, base, queries, lists):
        self.metric, self.base, self.queries, self.lists = metric, base, queries, lists
        self.farthest = {}
        self.known = {}

    def recalls(self, found, k):
        """The recall@k of each query; `found` has a row of ids for each."""
        if k not in self.farthest:
            pairs = zip(self.queries, self.lists[:, :k])
            self.farthest[k] = [distances(self.metric, query, self.base[ids]).max() for query, ids in pairs]
            self.known[k] = [set(ids.tolist()) for ids in self.lists[:, :k]]
        recalls = np.empty(len(self.queries))
        for number, ids in enumerate(found):
            # An engine that returns a row twice, or fewer than k of them, gains nothing from it.
            ids = set(int(id) for id in ids[:k] if 0 <= id < len(self.base))
            right = len(ids & self.known[k][number])
            rest = sorted(ids - self.known[k][number])
            if rest:
                far = distances(self.metric, self.queries[number], self.base[rest])
                right += int((far <= self.farthest[k][number]).sum())
            recalls[number] = min(right, k) / k
        return recalls


def half(count, which):
    """The numbers of the queries of one half: those at even places tune, those at odd places report."""
    return {"tune": np.arange(0, count, 2), "report": np.arange(1, count, 2), "all": np.arange(count)}[which]


def search(metric, base, queries, k, block=256, rows=65536):
    """The ids of the k nearest rows of each query by (distance, id): candidates by blocked products in single
    precision, with room for their rounding, then ordered by exact distances."""
    spare = k + max(32, k // 2)
    norms = None if metric == "ip" else np.empty(len(base), dtype=np.float32)
    answers = np.empty((len(queries), k), dtype=np.int32)
    for first in range(0, len(queries), block):
        asked = np.asarray(queries[first : first + block], dtype=np.float32)
        if metric == "cosine":
            asked = unit(asked)
        kept_far = np.full((len(asked), 0), 0, dtype=np.float32)
        kept_ids = np.full((len(asked), 0), 0, dtype=np.int32)
        for start in range(0, len(base), rows):
            part = np.asarray(base[start : start + rows], dtype=np.float32)
            if norms is not None and first == 0:
                norms[start : start + rows] = np.einsum("ij,ij->i", part, part)
            far = -(asked @ part.T)
            if metric == "l2":
                far = 2.0 * far + norms[start : start + rows]
            elif metric == "cosine":
                far /= np.sqrt(norms[start : start + rows])
            far = np.concatenate((kept_far, far), axis=1)
            here = np.broadcast_to(np.arange(start, start + len(part), dtype=np.int32), (len(asked), len(part)))
            ids = np.concatenate((kept_ids, here), axis=1)
            if far.shape[1] > spare:
                near = np.argpartition(far, spare, axis=1)[:, :spare]
                far, ids = np.take_along_axis(far, near, axis=1), np.take_along_axis(ids, near, axis=1)
            kept_far, kept_ids = far, ids
        for number, ids in enumerate(kept_ids):
            ids = np.sort(ids)
            far = distances(metric, queries[first + number], base[ids])
            answers[first + number] = ids[np.lexsort((ids, far))][:k]
    return answers
