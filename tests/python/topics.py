"""Reads the topics of an embedded log from its files, without the binary: docs/format/wal.md, topics.md and vector-indexed.proto."""

from __future__ import annotations

import dataclasses
import pathlib
import struct
from collections.abc import Iterator


@dataclasses.dataclass
class Record:
    partition: int
    position: int
    key: bytes
    payload: bytes


def records(log: pathlib.Path, topic: str) -> Iterator[Record]:
    """All records of a topic under `persistent://dvse/ingest`, partition by partition."""
    for folder in sorted((log / "dvse" / "ingest" / topic).glob("partition-*")):
        for file in sorted(folder.glob("wal-*.log")):
            for number, body in log_file(file.read_bytes()):
                version, key_bytes, _, _ = struct.unpack_from("<IIQQ", body)
                assert version == 1, version
                key, payload = body[24 : 24 + key_bytes], body[24 + key_bytes :]
                yield Record(int(folder.name.removeprefix("partition-")), number, key, payload)


def log_file(data: bytes) -> Iterator[tuple[int, bytes]]:
    assert data[:8] == b"DVSEWAL1"
    at = 32
    while at + 40 <= len(data):
        length, _, _, kind, number, _, twin, _ = struct.unpack_from("<IIIIQQII", data, at)
        if twin != length ^ 0xFFFFFFFF:
            return
        if kind == 1:
            yield number, data[at + 40 : at + 40 + length]
        at += (40 + length + 7) // 8 * 8


FIELDS = {
    1: "vector_id",
    2: "embedding",
    3: "shard_id",
    4: "commit_ts",
    5: "collection",
    6: "operation",
    7: "payload",
    8: "log_position",
    9: "source_stream",
    10: "source_partition",
    11: "source_position",
    12: "ordinal",
}


def event(data: bytes) -> dict:
    """Reads an event of vector-indexed. Numbers that are 0 and texts that are empty are not written."""
    fields: dict = {name: 0 for name in FIELDS.values()} | {"embedding": (), "payload": b"", "vector_id": b""}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        tag = varint()
        name = FIELDS[tag >> 3]
        if tag & 7 == 0:
            fields[name] = varint()
            continue
        assert tag & 7 == 2, tag
        length = varint()
        content = data[at : at + length]
        at += length
        fields[name] = struct.unpack(f"<{length // 4}f", content) if name == "embedding" else content
    return fields
