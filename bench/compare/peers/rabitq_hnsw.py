"""HNSW over RaBitQ codes as in rabitqlib: ranked by the codes alone, no rescoring by the rows."""

import rabitqlib

from . import efs

PACKAGE = "rabitqlib"
NOTE = ""


def builds(case):
    return [{"M": m, "ef_construction": 200, "nbits": bits} for m, bits in ((16, 5), (16, 8), (32, 8))]


def sweeps(build, case):
    return [[{"ef": ef} for ef in efs(case["k"])]]


class Index:
    def __init__(self, build, case, base, threads):
        exact = rabitqlib.FinalAssignmentMode.Exact
        clusters = rabitqlib.RaBitQKMeans(case["dim"], 16, num_threads=threads, final_assignment=exact)
        clusters.train(base)
        metric = "l2" if case["metric"] == "l2" else "ip"
        self.index = rabitqlib.HnswIndex(dim=case["dim"], max_elements=len(base), metric=metric, **build)
        self.index.build(base, clusters.centroids, clusters.assignments, num_threads=threads)

    def set(self, search, k):
        self.k, self.ef = k, search["ef"]

    def one(self, query):
        return self.index.search(query[None, :], self.k, self.ef, num_threads=1)[0][0]

    def batch(self, queries):
        return self.index.search(queries, self.k, self.ef, num_threads=1)[0]
