"""Scalable Vector Search: Vamana over rows of half precision and over LVQ codes, where they run."""

import numpy as np
import svs

from . import efs

PACKAGE = "scalable-vs"
NOTE = "LVQ and LeanVec codes run on Intel processors only"


def builds(case):
    return [
        {"rows": rows, "graph_max_degree": degree, "window_size": 200}
        for degree, rows in ((32, "float16"), (64, "float16"), (64, "lvq4x8"), (64, "leanvec"))
    ]


def sweeps(build, case):
    return [[{"search_window_size": ef, "visited_set": visited} for ef in efs(case["k"])] for visited in (False, True)]


class Index:
    def __init__(self, build, case, base, threads):
        inner = case["metric"] == "ip"
        parameters = svs.VamanaBuildParameters(
            alpha=0.95 if inner else 1.2,
            graph_max_degree=build["graph_max_degree"],
            window_size=build["window_size"],
        )
        rows = base
        if build["rows"] == "float16":
            rows = base.astype(np.float16)
        elif build["rows"] == "lvq4x8":
            rows = svs.LVQLoader(svs.VectorDataLoader(_written(base), svs.float32), primary=4, residual=8)
        elif build["rows"] == "leanvec":
            data = svs.VectorDataLoader(_written(base), svs.float32)
            rows = svs.LeanVecLoader(data, leanvec_dims=case["dim"] // 2)
        # Vectors of length 1 are in the same order by either distance; this one the graph's pruning is made for.
        distance = svs.DistanceType.MIP if inner else svs.DistanceType.L2
        self.index = svs.Vamana.build(parameters, rows, distance, num_threads=threads)
        self.index.num_threads = 1

    def set(self, search, k):
        self.k = k
        parameters = self.index.search_parameters
        parameters.buffer_config = svs.SearchBufferConfig(search["search_window_size"])
        parameters.search_buffer_visited_set = search["visited_set"]
        self.index.search_parameters = parameters

    def one(self, query):
        return self.index.search(query[None, :], self.k)[0][0]

    def batch(self, queries):
        return self.index.search(queries, self.k)[0]


def _written(base):
    import os
    import tempfile

    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "base.fvecs")
    svs.write_vecs(base, path)
    return path
