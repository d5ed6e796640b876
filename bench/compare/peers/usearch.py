"""usearch: HNSW over rows of several widths."""

import numpy as np
from usearch.index import Index as Usearch

from . import efs

PACKAGE = "usearch"
NOTE = ""


def builds(case):
    # Its bytes are for vectors of length 1.
    bytes = ((16, "i8"),) if case["metric"] == "cosine" else ()
    grid = ((16, "f16"), (32, "f16"), *bytes)
    return [{"connectivity": m, "expansion_add": 200, "dtype": type} for m, type in grid]


def sweeps(build, case):
    return [[{"expansion_search": ef} for ef in efs(case["k"])]]


class Index:
    def __init__(self, build, case, base, threads):
        metric = {"l2": "l2sq", "ip": "ip", "cosine": "cos"}[case["metric"]]
        self.index = Usearch(ndim=case["dim"], metric=metric, **build)
        self.index.add(np.arange(len(base)), base, threads=threads)

    def set(self, search, k):
        self.k = k
        self.index.expansion_search = search["expansion_search"]

    def one(self, query):
        return self.index.search(query, self.k, threads=1).keys

    def batch(self, queries):
        return self.index.search(queries, self.k, threads=1).keys
