"""ScaNN: inverted lists, anisotropic 4-bit codes, exact rescoring; the second assignment (SOAR) but for Euclidean."""

from scann.scann_ops.py import scann_ops_pybind

from . import lists_near

PACKAGE = "scann"
NOTE = ""


def builds(case):
    # The second assignment is made for inner products.
    soar = 1.5 if case["metric"] != "l2" else None
    return [{"num_leaves": leaves, "soar_lambda": soar} for leaves in lists_near(case["rows"])]


def sweeps(build, case):
    leaves = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
    return [
        [{"leaves_to_search": count, "pre_reorder_num_neighbors": factor * case["k"]} for count in leaves]
        for factor in (3, 6, 12, 24, 48)
    ]


class Index:
    def __init__(self, build, case, base, threads):
        distance = "squared_l2" if case["metric"] == "l2" else "dot_product"
        builder = scann_ops_pybind.builder(base, 10, distance).set_n_training_threads(threads)
        soar = {} if build["soar_lambda"] is None else {"soar_lambda": build["soar_lambda"]}
        builder = builder.tree(build["num_leaves"], 10, training_sample_size=min(len(base), 250_000), **soar)
        threshold = float("nan") if distance == "squared_l2" else 0.2
        self.index = builder.score_ah(2, anisotropic_quantization_threshold=threshold).reorder(100).build()

    def set(self, search, k):
        self.search = dict(search, final_num_neighbors=k)

    def one(self, query):
        return self.index.search(query, **self.search)[0]

    def batch(self, queries):
        return self.index.search_batched(queries, **self.search)[0]
