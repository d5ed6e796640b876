"""Voyager: Spotify's successor of Annoy, HNSW after hnswlib."""

import voyager

from . import efs

PACKAGE = "voyager"
NOTE = ""


def builds(case):
    return [{"M": m, "ef_construction": 200} for m in (16, 24)]


def sweeps(build, case):
    return [[{"query_ef": ef} for ef in efs(case["k"])]]


class Index:
    def __init__(self, build, case, base, threads):
        spaces = {"l2": voyager.Space.Euclidean, "ip": voyager.Space.InnerProduct, "cosine": voyager.Space.Cosine}
        self.index = voyager.Index(spaces[case["metric"]], case["dim"], max_elements=len(base), **build)
        self.index.add_items(base, num_threads=threads)

    def set(self, search, k):
        self.k, self.ef = k, search["query_ef"]

    def one(self, query):
        return self.index.query(query, self.k, num_threads=1, query_ef=self.ef)[0]

    def batch(self, queries):
        return self.index.query(queries, self.k, num_threads=1, query_ef=self.ef)[0]
