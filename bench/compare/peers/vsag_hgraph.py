"""VSAG HGraph: a graph over quantised rows, rescored by rows of higher precision."""

import json

import numpy as np
import pyvsag

from . import efs

PACKAGE = "pyvsag"
NOTE = "has no batch call: its figures hold one Python call for each query"


def builds(case):
    grid = ((32, "sq8_uniform"), (32, "sq4_uniform"), (32, "rabitq"), (64, "sq8_uniform"))
    return [
        {"base_quantization_type": code, "max_degree": degree, "ef_construction": 400} for degree, code in grid
    ]


def sweeps(build, case):
    return [[{"ef_search": ef} for ef in efs(case["k"])]]


class Index:
    batch = None

    def __init__(self, build, case, base, threads):
        pyvsag.set_logger_off()
        param = dict(build, use_reorder=True, precise_quantization_type="fp32", build_thread_count=threads)
        shape = {"dtype": "float32", "metric_type": "l2" if case["metric"] == "l2" else "ip", "dim": case["dim"]}
        self.index = pyvsag.Index("hgraph", json.dumps(dict(shape, index_param=param)))
        ids = np.arange(len(base), dtype=np.int64)
        self.index.build(vectors=base.reshape(-1), ids=ids, num_elements=len(base), dim=case["dim"])

    def set(self, search, k):
        self.k = k
        self.search = json.dumps({"hgraph": search})

    def one(self, query):
        return self.index.knn_search(vector=query, k=self.k, parameters=self.search)[0]
