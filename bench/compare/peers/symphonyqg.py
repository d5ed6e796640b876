"""SymphonyQG as in rabitqlib: a graph whose nodes carry one-bit codes of their neighbours."""

import rabitqlib

from . import efs

PACKAGE = "rabitqlib"
NOTE = "cannot be updated without building it anew"


def builds(case):
    return [
        {"max_degree": degree, "quantization_bits": bits, "ef_construction": 400, "init": init}
        for degree, bits, init in ((32, 0, "pipnn"), (32, 8, "pipnn"), (64, 0, "pipnn"), (32, 0, "random"))
    ]


def sweeps(build, case):
    return [[{"ef": ef} for ef in efs(case["k"])]]


class Index:
    def __init__(self, build, case, base, threads):
        self.index = rabitqlib.SymqgIndex(
            dim=case["dim"],
            max_degree=build["max_degree"],
            metric="l2" if case["metric"] == "l2" else "ip",
            quantization_bits=build["quantization_bits"],
        )
        self.index.build(base, build["ef_construction"], num_threads=threads, init=build["init"])

    def set(self, search, k):
        self.k, self.ef = k, search["ef"]

    def one(self, query):
        return self.index.search(query[None, :], self.k, self.ef, num_threads=1)[0][0]

    def batch(self, queries):
        return self.index.search_batch(queries, self.k, self.ef, num_threads=1)[0]
