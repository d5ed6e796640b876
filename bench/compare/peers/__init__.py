"""One module for each engine that DVSE is compared with.

A module has

- `PACKAGE`, the name on PyPI; `NOTE`, what a reader of the table should know, or an empty string;
- `builds(case)`, the grid of build parameters, each a dict; `case` has `metric`, `dim`, `rows` and `k`;
- `sweeps(build, case)`, lists of search settings, each list in order of rising effort;
- `Index(build, case, base, threads)`, which builds. `base` is in single precision, for cosine of length 1.
  `set(search, k)` takes a setting; `one(query)` answers one query with ids; `batch(queries)` answers many on one
  thread in one call, or is None where there is no such call.

Grids are those their authors publish (M or degree, construction width, code width) around the sizes of these sets.
"""

NAMES = (
    "hnswlib",
    "faiss_hnsw",
    "faiss_ivfpqfs",
    "usearch",
    "vsag_hgraph",
    "symphonyqg",
    "rabitq_hnsw",
    "svs_vamana",
    "scann",
    "voyager",
)

EFS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)


def efs(k, least=1.0):
    """The widths of the candidate list that every graph is asked with. `least`, in parts of k: DVSE takes fewer than k,
    which means to stop early; the others do not."""
    return [ef for ef in EFS if ef >= least * k and ef <= max(768, 4 * k)]


def lists_near(rows):
    """Numbers of inverted lists from the square root of the number of rows up, powers of two."""
    near = 1 << (round(rows**0.5).bit_length() - 1)
    return [2 * near, 4 * near, 8 * near]
