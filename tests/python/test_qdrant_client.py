"""The real `qdrant-client` against a real `dvse serve`; NumPy brute force says what the answers must be."""

from __future__ import annotations

import importlib.metadata
import json
import urllib.error
import urllib.request
import uuid

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.common.version_check import get_server_version, is_compatible
from qdrant_client.http.exceptions import UnexpectedResponse

from server import Server

NAME = "things"
DIM = 24
COUNT = 1200
RNG = np.random.default_rng(20261122)
VECTORS = RNG.normal(size=(COUNT, DIM)).astype(np.float32)
COLOURS = ["red", "green", "blue"]


def payload(row: int) -> dict:
    return {
        "colour": COLOURS[row % 3],
        "number": row,
        "price": row / 10,
        "tags": [f"t{row % 5}", f"t{row % 7}"],
        "even": row % 2 == 0,
        "nothing": None,
        "nested": {"deep": [{"a": row % 4, "b": row % 6}]},
        "when": f"2024-01-{row % 28 + 1:02}T00:00:00Z",
    }


def similarity(distance: models.Distance, query: np.ndarray) -> np.ndarray:
    """Scores as users see them, of every row."""
    rows, query = VECTORS.astype(np.float64), query.astype(np.float64)
    if distance == models.Distance.DOT:
        return rows @ query
    if distance == models.Distance.COSINE:
        return rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    return np.linalg.norm(rows - query, axis=1)


def best(distance: models.Distance, query: np.ndarray, allowed: np.ndarray, count: int) -> list[int]:
    scores = similarity(distance, query)
    order = np.argsort(scores if distance == models.Distance.EUCLID else -scores, kind="stable")
    return [int(row) for row in order if allowed[row]][:count]


def fill(client: QdrantClient, distance=models.Distance.COSINE, name: str = NAME) -> None:
    client.create_collection(name, vectors_config=models.VectorParams(size=DIM, distance=distance))
    client.upload_collection(name, VECTORS, payload=[payload(row) for row in range(COUNT)], ids=range(COUNT), wait=True)


def ids(points) -> list:
    return [point.id for point in points]


def everything(client: QdrantClient, query_filter: models.Filter | None, name: str = NAME) -> list:
    points, offset = client.scroll(name, scroll_filter=query_filter, limit=10 * COUNT)
    assert offset is None
    return ids(points)


# Collections.


@pytest.mark.parametrize("distance", [models.Distance.COSINE, models.Distance.EUCLID, models.Distance.DOT])
def test_collection_life(client, distance):
    assert not client.collection_exists(NAME)
    assert client.create_collection(NAME, vectors_config=models.VectorParams(size=4, distance=distance))
    assert client.collection_exists(NAME)
    assert [one.name for one in client.get_collections().collections] == [NAME]
    info = client.get_collection(NAME)
    assert info.status == models.CollectionStatus.GREEN
    assert info.optimizer_status == models.OptimizersStatusOneOf.OK
    assert info.config.params.vectors == models.VectorParams(size=4, distance=distance)
    assert (info.points_count, info.payload_schema) == (0, {})
    assert client.update_collection(NAME, hnsw_config=models.HnswConfigDiff(m=20, ef_construct=150))
    hnsw = client.get_collection(NAME).config.hnsw_config
    assert (hnsw.m, hnsw.ef_construct) == (20, 150)
    assert client.delete_collection(NAME)
    assert not client.delete_collection(NAME)


def test_placement_is_kept_and_changed(client):
    """`on_disk` comes back as it was asked for, and answers are the same wherever the parts are."""
    vectors = models.VectorParams(size=DIM, distance=models.Distance.COSINE, on_disk=True)
    hnsw = models.HnswConfigDiff(on_disk=True)
    scalar = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=False))
    client.create_collection(NAME, vectors_config=vectors, hnsw_config=hnsw, quantization_config=scalar)
    config = client.get_collection(NAME).config
    assert config.params.vectors == vectors and config.hnsw_config.on_disk is True
    assert config.quantization_config == scalar
    client.upload_collection(NAME, VECTORS, ids=range(COUNT), wait=True)

    def nearest() -> list[int]:
        return [point.id for point in client.query_points(NAME, VECTORS[7].tolist(), limit=10).points]

    before = nearest()
    changed = {"": models.VectorParamsDiff(on_disk=False)}
    assert client.update_collection(NAME, vectors_config=changed, hnsw_config=models.HnswConfigDiff(on_disk=False))
    config = client.get_collection(NAME).config
    assert not config.params.vectors.on_disk and not config.hnsw_config.on_disk
    assert config.quantization_config.scalar.always_ram is True
    assert nearest() == before and before[0] == 7
    with pytest.raises(UnexpectedResponse, match="hnsw_config.on_disk"):
        client.update_collection(NAME, quantization_config=scalar)


def test_errors_read_as_applications_expect(client):
    config = models.VectorParams(size=4, distance=models.Distance.DOT)
    for action in (
        lambda: client.get_collection(NAME),
        lambda: client.query_points(NAME, query=[1, 2, 3, 4]),
        lambda: client.upsert(NAME, points=[models.PointStruct(id=1, vector=[1, 2, 3, 4])]),
        lambda: client.count(NAME),
    ):
        with pytest.raises(UnexpectedResponse) as caught:
            action()
        assert caught.value.status_code == 404
        assert b"Not found: Collection `things` doesn't exist!" in caught.value.content
    client.create_collection(NAME, vectors_config=config)
    with pytest.raises(UnexpectedResponse) as caught:
        client.create_collection(NAME, vectors_config=config)
    assert caught.value.status_code == 409
    assert b"already exists" in caught.value.content
    with pytest.raises(UnexpectedResponse) as caught:
        client.upsert(NAME, points=[models.PointStruct(id=1, vector=[1, 2, 3])])
    assert caught.value.status_code == 400
    status = json.loads(caught.value.content)["status"]
    assert status["error"] == "Wrong input: Vector dimension error: expected dim: 4, got 3"
    assert status["code"] == "invalid_input" and "4 numbers" in status["help"]
    with pytest.raises(UnexpectedResponse) as caught:
        client.query_points(NAME, query=[1, 2, 3, 4], limit=0)
    assert caught.value.status_code == 422
    with pytest.raises(UnexpectedResponse) as caught:
        client.query_points(NAME, query=models.FusionQuery(fusion=models.Fusion.RRF))
    assert (caught.value.status_code, json.loads(caught.value.content)["status"]["code"]) == (400, "unsupported")


def test_both_envelopes(server, client):
    def exchange(path):
        try:
            with urllib.request.urlopen(server.url + path) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    status, body = exchange("/collections")
    assert (status, body["status"], body["result"]) == (200, "ok", {"collections": []})
    assert isinstance(body["time"], float)
    status, body = exchange("/collections/none")
    assert (status, body["result"]) == (404, None)
    assert set(body["status"]) >= {"error", "code"} and isinstance(body["time"], (int, float))


def test_version_suits_the_client(server):
    """A version too far off would put a warning into every user's log."""
    version = get_server_version(server.url, {}, None, 5)
    assert is_compatible(importlib.metadata.version("qdrant-client"), version)


def test_aliases(client):
    fill(client)
    fill(client, name="others")
    operations = [models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=NAME, alias_name="now"))]
    assert client.update_collection_aliases(operations)
    assert client.count("now").count == COUNT
    assert [(one.alias_name, one.collection_name) for one in client.get_aliases().aliases] == [("now", NAME)]
    swap = [
        models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="now")),
        models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name="others", alias_name="now")),
    ]
    assert client.update_collection_aliases(swap)
    assert client.get_collection_aliases(NAME).aliases == []
    assert [one.alias_name for one in client.get_collection_aliases("others").aliases] == ["now"]


# Writing and reading.


def test_ids_of_both_kinds(client):
    client.create_collection(NAME, vectors_config=models.VectorParams(size=2, distance=models.Distance.EUCLID))
    key = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
    points = [
        models.PointStruct(id=2**64 - 1, vector=[1, 0]),
        models.PointStruct(id=str(key), vector=[2, 0]),
        models.PointStruct(id=7, vector=[3, 0], payload={"null": None, "text": "größer 🦆"}),
    ]
    result = client.upsert(NAME, points=points, wait=True)
    assert result.status == models.UpdateStatus.COMPLETED
    assert client.upsert(NAME, points=points, wait=False).status == models.UpdateStatus.ACKNOWLEDGED
    assert ids(client.scroll(NAME)[0]) == [7, 2**64 - 1, str(key)]
    for spelling in (str(key), key.hex, key.urn):
        assert ids(client.retrieve(NAME, [spelling])) == [str(key)]
    assert ids(client.retrieve(NAME, [2**64 - 1])) == [2**64 - 1]
    record = client.retrieve(NAME, [7], with_vectors=True)[0]
    assert record.payload == {"null": None, "text": "größer 🦆"} and record.vector == [3.0, 0.0]


def test_columnar_upsert_and_numpy(client):
    client.create_collection(NAME, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.DOT))
    batch = models.Batch(ids=list(range(50)), vectors=VECTORS[:50].tolist(), payloads=[payload(row) for row in range(50)])
    client.upsert(NAME, points=batch)
    records = client.retrieve(NAME, list(range(50)), with_vectors=True)
    assert np.array_equal(np.array([record.vector for record in records], dtype=np.float32), VECTORS[:50])
    assert [record.payload for record in records] == [payload(row) for row in range(50)]


def test_scroll_pages_cover_everything_once(client):
    fill(client)
    seen, offset = [], None
    while True:
        points, offset = client.scroll(NAME, limit=317, offset=offset, with_payload=False)
        seen += ids(points)
        if offset is None:
            break
    assert seen == list(range(COUNT))


def test_deletes(client):
    fill(client)
    client.delete(NAME, points_selector=[0, 1, 2, 10_000])
    assert client.count(NAME).count == COUNT - 3
    blue = models.Filter(must=[models.FieldCondition(key="colour", match=models.MatchValue(value="blue"))])
    client.delete(NAME, points_selector=models.FilterSelector(filter=blue))
    left = [row for row in range(3, COUNT) if row % 3 != 2]
    assert everything(client, None) == left
    assert client.retrieve(NAME, [2]) == []
    found = client.query_points(NAME, query=VECTORS[2], limit=COUNT).points
    assert not {point.id for point in found} & set(range(2, COUNT, 3))


def test_payload_operations(client):
    fill(client)

    def one(point_id):
        return client.retrieve(NAME, [point_id])[0].payload

    client.set_payload(NAME, payload={"extra": 1, "colour": "grey"}, points=[5])
    assert one(5) == payload(5) | {"extra": 1, "colour": "grey"}
    client.set_payload(NAME, payload={"inner": True}, points=[5], key="nested")
    assert one(5)["nested"] == payload(5)["nested"] | {"inner": True}
    client.overwrite_payload(NAME, payload={"only": "this"}, points=[6])
    assert one(6) == {"only": "this"}
    client.delete_payload(NAME, keys=["number", "nested.deep"], points=[7])
    assert one(7) == {key: value for key, value in payload(7).items() if key not in ("number", "nested")} | {"nested": {}}
    client.clear_payload(NAME, points_selector=[8])
    assert one(8) == {}
    green = models.Filter(must=[models.FieldCondition(key="colour", match=models.MatchValue(value="green"))])
    client.set_payload(NAME, payload={"seen": True}, points=green)
    seen = models.Filter(must=[models.FieldCondition(key="seen", match=models.MatchValue(value=True))])
    assert everything(client, seen) == [row for row in range(COUNT) if row % 3 == 1]


def test_named_vectors(client):
    fields = {
        "small": models.VectorParams(size=2, distance=models.Distance.EUCLID),
        "large": models.VectorParams(size=DIM, distance=models.Distance.COSINE),
    }
    client.create_collection(NAME, vectors_config=fields)
    assert client.get_collection(NAME).config.params.vectors == fields
    client.upsert(
        NAME,
        points=[
            models.PointStruct(id=row, vector={"small": [row, 0], "large": VECTORS[row].tolist()}) for row in range(100)
        ],
    )
    client.upsert(NAME, points=[models.PointStruct(id=500, vector={"small": [500, 0]})])
    assert ids(client.query_points(NAME, query=[501, 0], using="small", limit=2).points) == [500, 99]
    large = client.query_points(NAME, query=VECTORS[42], using="large", limit=200).points
    assert large[0].id == 42 and 500 not in ids(large) and len(large) == 100
    client.update_vectors(NAME, points=[models.PointVectors(id=1, vector={"small": [1000, 0]})])
    client.delete_vectors(NAME, vectors=["large"], points=[42])
    assert client.query_points(NAME, query=[1001, 0], using="small", limit=1).points[0].id == 1
    assert set(client.retrieve(NAME, [42], with_vectors=True)[0].vector) == {"small"}
    assert set(client.retrieve(NAME, [43], with_vectors=["large"])[0].vector) == {"large"}
    has_large = models.Filter(must=[models.HasVectorCondition(has_vector="large")])
    assert client.count(NAME, count_filter=has_large).count == 99


def test_batch_of_operations(client):
    fill(client)
    results = client.batch_update_points(
        NAME,
        update_operations=[
            models.UpsertOperation(upsert=models.PointsList(points=[models.PointStruct(id=9999, vector=[1.0] * DIM)])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"a": 1}, points=[9999])),
            models.UpdateVectorsOperation(
                update_vectors=models.UpdateVectors(points=[models.PointVectors(id=1, vector=[2.0] * DIM)])
            ),
            models.DeleteOperation(delete=models.PointIdsList(points=[3])),
        ],
    )
    assert [result.status for result in results] == [models.UpdateStatus.COMPLETED] * 4
    assert client.retrieve(NAME, [9999])[0].payload == {"a": 1}
    assert client.retrieve(NAME, [3]) == []


# Filters.

FILTERS = {
    "match": (models.FieldCondition(key="colour", match=models.MatchValue(value="red")), lambda p: p["colour"] == "red"),
    "match integer": (models.FieldCondition(key="number", match=models.MatchValue(value=77)), lambda p: p["number"] == 77),
    "match bool": (models.FieldCondition(key="even", match=models.MatchValue(value=True)), lambda p: p["even"]),
    "match in list": (models.FieldCondition(key="tags", match=models.MatchValue(value="t3")), lambda p: "t3" in p["tags"]),
    "any": (models.FieldCondition(key="colour", match=models.MatchAny(any=["red", "blue"])), lambda p: p["colour"] != "green"),
    "any of none": (models.FieldCondition(key="colour", match=models.MatchAny(any=[])), lambda p: False),
    "except": (
        models.FieldCondition(key="colour", match=models.MatchExcept(**{"except": ["red"]})),
        lambda p: p["colour"] != "red",
    ),
    "range": (models.FieldCondition(key="price", range=models.Range(gt=10.0, lte=20.0)), lambda p: 10.0 < p["price"] <= 20.0),
    "dates": (
        models.FieldCondition(key="when", range=models.DatetimeRange(gte="2024-01-10T00:00:00Z", lt="2024-01-12T00:00:00Z")),
        lambda p: p["when"][8:10] in ("10", "11"),
    ),
    "count": (models.FieldCondition(key="tags", values_count=models.ValuesCount(gte=2)), lambda p: True),
    "null": (models.IsNullCondition(is_null=models.PayloadField(key="nothing")), lambda p: True),
    "empty": (models.IsEmptyCondition(is_empty=models.PayloadField(key="missing")), lambda p: True),
    "not empty": (models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")), lambda p: False),
    "ids": (models.HasIdCondition(has_id=[3, 5, 70_000]), lambda p: p["number"] in (3, 5)),
    "path": (models.FieldCondition(key="nested.deep[].a", match=models.MatchValue(value=2)), lambda p: p["number"] % 4 == 2),
    "nested": (
        models.NestedCondition(
            nested=models.Nested(
                key="nested.deep",
                filter=models.Filter(
                    must=[
                        models.FieldCondition(key="a", match=models.MatchValue(value=1)),
                        models.FieldCondition(key="b", match=models.MatchValue(value=3)),
                    ]
                ),
            )
        ),
        lambda p: p["number"] % 4 == 1 and p["number"] % 6 == 3,
    ),
}


@pytest.mark.parametrize("indexed", [False, True], ids=["plain", "indexed"])
def test_filters_agree_with_python(client, indexed):
    fill(client)
    if indexed:
        for field, kind in [
            ("colour", "keyword"), ("number", "integer"), ("price", "float"), ("tags", "keyword"), ("even", "bool"),
            ("when", "datetime"), ("nested.deep[].a", "integer"),
        ]:
            assert client.create_payload_index(NAME, field, field_schema=kind).status == models.UpdateStatus.COMPLETED
        assert client.get_collection(NAME).payload_schema["colour"].points == COUNT
    for name, (condition, holds) in FILTERS.items():
        for part, expect in [("must", holds), ("should", holds), ("must_not", lambda p, holds=holds: not holds(p))]:
            query_filter = models.Filter(**{part: [condition]})
            rows = [row for row in range(COUNT) if expect(payload(row))]
            assert everything(client, query_filter) == rows, (name, part)
            assert client.count(NAME, count_filter=query_filter).count == len(rows), (name, part)
            allowed = np.isin(np.arange(COUNT), rows)
            found = client.query_points(NAME, query=VECTORS[0], query_filter=query_filter, limit=15).points
            assert ids(found) == best(models.Distance.COSINE, VECTORS[0], allowed, 15), (name, part)
    chosen = models.MinShould(conditions=[FILTERS[name][0] for name in ("match", "match bool", "range")], min_count=2)
    rows = [
        row for row in range(COUNT)
        if sum(FILTERS[name][1](payload(row)) for name in ("match", "match bool", "range")) >= 2
    ]
    assert everything(client, models.Filter(min_should=chosen)) == rows
    if indexed:
        assert client.delete_payload_index(NAME, "colour").status == models.UpdateStatus.COMPLETED
        assert "colour" not in client.get_collection(NAME).payload_schema
        assert len(everything(client, models.Filter(must=[FILTERS["match"][0]]))) == COUNT // 3


def test_lenient_filters_of_applications(client):
    """What programs in the field send: an empty `should`, a limit of nearly 10⁹, a single object for a list."""
    fill(client)
    red = FILTERS["match"][0]
    assert len(everything(client, models.Filter(must=[red], should=[]))) == COUNT // 3
    assert len(everything(client, models.Filter(must=red))) == COUNT // 3
    assert len(client.scroll(NAME, limit=999_999_999)[0]) == COUNT
    assert len(client.query_points(NAME, query=VECTORS[0], limit=999_999_999).points) == COUNT


def test_facets(client):
    fill(client)
    with pytest.raises(UnexpectedResponse) as caught:
        client.facet(NAME, key="tags")
    assert caught.value.status_code == 400
    client.create_payload_index(NAME, "tags", field_schema=models.PayloadSchemaType.KEYWORD)
    counts = {}
    for row in range(COUNT):
        for tag in set(payload(row)["tags"]):
            counts[tag] = counts.get(tag, 0) + 1
    expect = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    hits = client.facet(NAME, key="tags", limit=100).hits
    assert [(hit.value, hit.count) for hit in hits] == expect
    assert [(hit.value, hit.count) for hit in client.facet(NAME, key="tags", limit=2, exact=True).hits] == expect[:2]


# Searching.


@pytest.mark.parametrize("distance", [models.Distance.COSINE, models.Distance.EUCLID, models.Distance.DOT])
def test_queries_agree_with_numpy(client, distance):
    fill(client, distance)
    everywhere = np.ones(COUNT, dtype=bool)
    for query in RNG.normal(size=(5, DIM)).astype(np.float32):
        points = client.query_points(NAME, query=query, limit=20, with_payload=True, with_vectors=True).points
        expect = best(distance, query, everywhere, 20)
        assert ids(points) == expect
        assert np.allclose([point.score for point in points], similarity(distance, query)[expect], atol=1e-4)
        assert [point.payload for point in points] == [payload(row) for row in expect]
        stored = VECTORS[expect] / (
            np.linalg.norm(VECTORS[expect], axis=1, keepdims=True) if distance == models.Distance.COSINE else 1
        )
        assert np.allclose([point.vector for point in points], stored, atol=1e-6)
        paged = client.query_points(NAME, query=query, limit=5, offset=10, with_payload=False).points
        assert ids(paged) == expect[10:15] and paged[0].payload is None and paged[0].vector is None
        threshold = points[7].score
        near = client.query_points(NAME, query=query, limit=20, score_threshold=threshold).points
        assert ids(near) == expect[:8]
        exact = client.query_points(NAME, query=query, limit=20, search_params=models.SearchParams(exact=True)).points
        assert ids(exact) == expect


def test_query_forms(client):
    fill(client)
    by_id = client.query_points(NAME, query=10, limit=10).points
    allowed = np.arange(COUNT) != 10
    assert ids(by_id) == best(models.Distance.COSINE, VECTORS[10], allowed, 10)
    assert ids(client.query_points(NAME, query=models.NearestQuery(nearest=VECTORS[10].tolist()), limit=1).points) == [10]
    assert ids(client.query_points(NAME, limit=3).points) == [0, 1, 2]
    with pytest.raises(UnexpectedResponse) as caught:
        client.query_points(NAME, query=123_456)
    assert caught.value.status_code == 404
    some = client.query_points(NAME, query=10, limit=1, with_payload=["colour"]).points[0]
    assert set(some.payload) == {"colour"}
    rest = client.query_points(NAME, query=10, limit=1, with_payload=models.PayloadSelectorExclude(exclude=["tags"]))
    assert set(rest.points[0].payload) == set(payload(0)) - {"tags"}
    requests = [
        models.QueryRequest(query=VECTORS[row].tolist(), limit=1, params=models.SearchParams(hnsw_ef=64)) for row in range(8)
    ]
    assert [ids(reply.points) for reply in client.query_batch_points(NAME, requests=requests)] == [[row] for row in range(8)]


def test_lookup_in_another_collection(client):
    fill(client)
    client.create_collection("others", vectors_config=models.VectorParams(size=DIM, distance=models.Distance.DOT))
    client.upsert("others", points=[models.PointStruct(id=1, vector=VECTORS[55].tolist())])
    found = client.query_points(NAME, query=1, lookup_from=models.LookupLocation(collection="others"), limit=1)
    assert ids(found.points) == [55]


def test_recall_of_the_index(client):
    """Above the size that is scanned, the graph answers: recall@10 against brute force."""
    rows = np.random.default_rng(3).normal(size=(12_000, 32)).astype(np.float32)
    client.create_collection(NAME, vectors_config=models.VectorParams(size=32, distance=models.Distance.EUCLID))
    client.upload_collection(NAME, rows, ids=range(len(rows)), batch_size=500, wait=True)
    hits = 0
    queries = np.random.default_rng(4).normal(size=(50, 32)).astype(np.float32)
    for query in queries:
        true = np.argsort(((rows - query) ** 2).sum(axis=1))[:10]
        found = client.query_points(NAME, query=query, limit=10, search_params=models.SearchParams(hnsw_ef=256)).points
        hits += len(set(true.tolist()) & set(ids(found)))
    assert hits / 500 >= 0.95


# Text embedded by the server.


def test_text_in_points_and_queries(server):
    client = QdrantClient(url=server.url, cloud_inference=True)
    client.delete_collection(NAME)
    client.create_collection(NAME, vectors_config=models.VectorParams(size=256, distance=models.Distance.COSINE))
    with pytest.raises(UnexpectedResponse) as caught:
        client.query_points(NAME, query=models.Document(text="x", model="no such model"))
    message = json.loads(caught.value.content)["status"]["error"]
    model = message.split('"')[3]
    texts = ["a small boat moved with a paddle", "an animal that purrs and hunts mice", "where money is kept safe"]
    client.upsert(
        NAME,
        points=[models.PointStruct(id=row, vector=models.Document(text=text, model=model)) for row, text in enumerate(texts)],
    )
    for text, row in [("canoe", 0), ("cat", 1), ("bank account", 2)]:
        found = client.query_points(NAME, query=models.Document(text=text, model=model), limit=1).points
        assert ids(found) == [row]


# The node.


def test_async_client(server, client):
    import asyncio

    async def play():
        remote = AsyncQdrantClient(url=server.url)
        await remote.create_collection(NAME, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
        await remote.upsert(NAME, points=[models.PointStruct(id=1, vector=[1, 0])])
        replies = await asyncio.gather(*(remote.query_points(NAME, query=[1, 0]) for _ in range(32)))
        await remote.close()
        return replies

    assert all(ids(reply.points) == [1] for reply in asyncio.run(play()))


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
def test_key_and_restart(tmp_path):
    server = Server(tmp_path, {"server.api_key": "secret"})
    server.start()
    with pytest.raises(UnexpectedResponse) as caught:
        QdrantClient(url=server.url, check_compatibility=False).get_collections()
    assert caught.value.status_code == 401
    client = QdrantClient(url=server.url, api_key="secret", check_compatibility=False)
    fill(client)
    assert server.stop() == 0, server.log_text()
    server.start()
    client = QdrantClient(url=server.url, api_key="secret", check_compatibility=False)
    assert client.count(NAME).count == COUNT
    assert client.retrieve(NAME, [17])[0].payload == payload(17)
    assert client.get_collection(NAME).status == models.CollectionStatus.GREEN
    assert server.stop() == 0, server.log_text()


def metrics(server: Server) -> str:
    with urllib.request.urlopen(server.url + "/metrics") as reply:
        return reply.read().decode()


def test_overload_is_the_exception_clients_know(tmp_path):
    import socket

    server = Server(tmp_path, {"limits.requests_max": "1"})
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as held:
        held.sendall(b"POST /collections/c/points/count HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n")
        client = QdrantClient(url=server.url, check_compatibility=False)
        while "dvse_server_requests_in_flight_count 1" not in metrics(server):
            pass
        with pytest.raises(ResourceExhaustedResponse):
            client.get_collection("c")
    assert server.stop() == 0, server.log_text()
