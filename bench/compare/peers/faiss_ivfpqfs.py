"""Faiss inverted lists with 4-bit product quantisation, fast scan, and exact rescoring (RFlat)."""

import faiss

from . import lists_near

PACKAGE = "faiss-cpu"
NOTE = "its batch call scans a list for several queries at once"


def builds(case):
    return [{"factory": f"IVF{lists},PQ{case['dim'] // 2}x4fs,RFlat"} for lists in lists_near(case["rows"])]


def sweeps(build, case):
    probes = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
    return [[{"nprobe": nprobe, "k_factor": factor} for nprobe in probes] for factor in (2, 5, 10, 20, 40)]


class Index:
    def __init__(self, build, case, base, threads):
        faiss.omp_set_num_threads(threads)
        metric = faiss.METRIC_L2 if case["metric"] == "l2" else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(case["dim"], build["factory"], metric)
        self.index.train(base)
        self.index.add(base)
        self.lists = faiss.extract_index_ivf(self.index)
        faiss.omp_set_num_threads(1)

    def set(self, search, k):
        self.k = k
        self.lists.nprobe = search["nprobe"]
        self.index.k_factor = search["k_factor"]

    def one(self, query):
        return self.index.search(query[None, :], self.k)[1][0]

    def batch(self, queries):
        return self.index.search(queries, self.k)[1]
