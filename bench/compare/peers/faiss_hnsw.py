"""Faiss HNSW over single-precision rows and over 8-bit codes."""

import faiss

from . import efs

PACKAGE = "faiss-cpu"
NOTE = ""


def builds(case):
    return [{"factory": factory, "efConstruction": 200} for factory in ("HNSW32,Flat", "HNSW16,SQ8", "HNSW32,SQ8")]


def sweeps(build, case):
    return [[{"efSearch": ef} for ef in efs(case["k"])]]


class Index:
    def __init__(self, build, case, base, threads):
        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_L2 if case["metric"] == "l2" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(case["dim"], build["factory"], metric)
        self.index.hnsw.efConstruction = build["efConstruction"]
        self.index.train(base)
        self.index.add(base)
        faiss.omp_set_num_threads(1)

    def set(self, search, k):
        self.k = k
        self.index.hnsw.efSearch = search["efSearch"]

    def one(self, query):
        return self.index.search(query[None, :], self.k)[1][0]

    def batch(self, queries):
        return self.index.search(queries, self.k)[1]
