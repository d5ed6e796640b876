"""hnswlib: the reference implementation of HNSW, single precision, compiled for the processor at hand."""

import hnswlib

from . import efs

PACKAGE = "hnswlib"
NOTE = "compiled with -march=native; its own loop over the queries, on the calling thread"


def builds(case):
    return [{"M": m, "ef_construction": 200} for m in (8, 16, 32)]


def sweeps(build, case):
    return [[{"ef": ef} for ef in efs(case["k"])]]


class Index:
    def __init__(self, build, case, base, threads):
        self.index = hnswlib.Index(space="l2" if case["metric"] == "l2" else "ip", dim=case["dim"])
        self.index.init_index(max_elements=len(base), **build)
        self.index.add_items(base, num_threads=threads)

    def set(self, search, k):
        self.k = k
        self.index.set_ef(search["ef"])

    def one(self, query):
        return self.index.knn_query(query, k=self.k, num_threads=1)[0][0]

    def batch(self, queries):
        return self.index.knn_query(queries, k=self.k, num_threads=1)[0]
