#!/usr/bin/env python3
"""Makes static-embedding.bin from the wordllama package, and the test fixtures that pin our encoder to it.

Repeat it with:

    python3 -m venv venv
    venv/bin/pip install wordllama==0.4.0.post1 tokenizers==0.23.3 numpy==2.4.6 safetensors==0.8.0
    venv/bin/python build_table.py --glosses wordnet-glosses.tsv.gz \
        --out static-embedding.bin --fixtures ../tests/it/data

The output is a pure function of the package, so a second run gives the same bytes.

File layout, little-endian (the reader is src/table.rs):

    0    8  magic "DVSESET1"
    8    4  format version, u32 = 1
    12   4  dim, u32
    16   4  vocab (number of tokens), u32
    20   4  merges (number of merge rules), u32
    24   4  piece bytes in all, u32
    28   4  CRC-32 of the body
    32  32  SHA-256 of the body: the identity of the model
    64  48  model name, UTF-8, NUL padded
    112 12  model revision, UTF-8, NUL padded
    124  4  CRC-32 of bytes 0..124
    128     body: scale f32 x vocab; rows i8 x vocab x dim (token vector = scale * row);
            piece lengths in bytes, u8 x vocab; pieces, UTF-8, concatenated in id order;
            merges in priority order, (left, right, merged) u16 x 3
"""

import argparse
import gzip
import hashlib
import json
import pathlib
import struct
import zlib

import numpy as np
import wordllama
from safetensors.numpy import load_file
from tokenizers import Tokenizer

NAME = "wordllama-l2-supercat-256-int8"
REVISION = "0.4.0.post1"
PACKAGE = pathlib.Path(wordllama.__file__).parent
WEIGHTS = PACKAGE / "weights" / "l2_supercat_256.safetensors"
TOKENIZER = PACKAGE / "tokenizers" / "l2_supercat_tokenizer_config.json"

# Text that a tokenizer gets wrong when its author only thought of English prose.
HARD_TEXTS = [
    "", " ", "  ", "   leading and trailing   ", "a", "A", "\t", "\n", "tab\tand\nnewline\r\n", "a  b   c    d",
    "\u2581", "\u2581already\u2581marked", "x\u2581\u2581y", "caf\u00e9 cafe\u0301", "na\u00efve r\u00e9sum\u00e9",
    "\u0130stanbul \u01c5", "stra\u00dfe", "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\u4e2d\u6587\u5206\u8bcd\u6d4b\u8bd5",
    "\ud55c\uad6d\uc5b4", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u05e2\u05d1\u05e8\u05d9\u05ea", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e44\u0e17\u0e22",
    "\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family", "\U0001f3f3\ufe0f\u200d\U0001f308", "\u0000", "nul\u0000inside", "\u0007\u001b[31m",
    "\u200b\u200d\ufeff", "\u00a0nbsp", "\u3000ideographic", "\ufffd", "\U0010ffff", "\ue000",
    "<s>", "</s>", "<unk>", "a<s>b", "<s></s><unk>", "<S>", "< s>", "</s", "<<s>>", "x </s> y", "<0x41>", "<0x0A>",
    "antidisestablishmentarianism", "pneumonoultramicroscopicsilicovolcanoconiosis", "a" * 300, "ab" * 200, "xyz " * 100,
    " " * 100, "\u00e9" * 100, "\U0001f600" * 50, "http://example.org/a/b?c=d&e=f#g", "don't can't won't", "3.14159", "1e-9", "0x7fff_ffff",
    "fn main() { println!(\"hi\"); }", "SELECT * FROM t WHERE a = 'b';", "$x^2 + y^2 = z^2$", "________", "--------", "!!!???...", "CamelCaseAndsnake_case",
    "a small boat moved with a paddle", "Stra\u00dfenbahnhaltestelle", "\u041c\u043e\u0441\u043a\u0432\u0430 \u0440\u0435\u043a\u0430", "\u03b1\u03b2\u03b3 \u03b4\u03b5\u03b6",
    "\u1e9e\u2126\u212b", "\u0301\u0301\u0301", "e\u0301\u0327", "\u202eright to left\u202c", "a\u00adb", "\U00020000\U0002a6d6",
]


def load_glosses(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        next(lines)
        return [line.rstrip("\n").split("\t")[4] for line in lines]


def quantize(rows):
    scale = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    return scale, np.rint(rows / scale[:, None]).astype(np.int8)


def pool(rows, ids):
    """Mean over token rows, then unit length: what wordllama's embed(norm=True) returns."""
    out = np.empty((len(ids), rows.shape[1]), dtype=np.float32)
    for i, row in enumerate(ids):
        out[i] = rows[row].mean(axis=0)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def write_table(path, rows, vocab, merges):
    scale, quantized = quantize(rows)
    pieces = [None] * len(vocab)
    for piece, token in vocab.items():
        pieces[token] = piece.encode()
    rules = b"".join(struct.pack("<3H", vocab[a], vocab[b], vocab[a + b]) for a, b in merges)
    body = b"".join([
        scale.astype("<f4").tobytes(), quantized.tobytes(), bytes(len(p) for p in pieces), b"".join(pieces), rules,
    ])
    head = struct.pack(
        "<8s5I I32s48s12s", b"DVSESET1", 1, rows.shape[1], len(vocab), len(merges), sum(map(len, pieces)),
        zlib.crc32(body), hashlib.sha256(body).digest(), NAME.encode(), REVISION.encode(),
    )
    assert len(head) == 124
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + body)


def write_fixtures(folder, rows, tokenizer, glosses):
    """Gold tokens and vectors. The CRC covers every gloss; the sample says where a difference is."""
    folder.mkdir(parents=True, exist_ok=True)
    encode = lambda texts: [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    sample = HARD_TEXTS + glosses[::701]
    with open(folder / "tokens.jsonl", "w", encoding="utf-8") as out:
        for text, ids in zip(sample, encode(sample)):
            out.write(json.dumps({"text": text, "ids": ids}, ensure_ascii=True) + "\n")

    crc, count = 0, 0
    for ids in encode(glosses):
        crc = zlib.crc32(struct.pack(f"<I{len(ids)}H", len(ids), *ids), crc)
        count += len(ids)
    (folder / "all_gloss_tokens.json").write_text(
        json.dumps({"glosses": len(glosses), "tokens": count, "crc32": crc}) + "\n")

    # The reference is the package's own embed(), not pool(); one int8 row per gloss is enough for a cosine.
    from wordllama.inference import WordLlamaInference
    chosen = glosses[::115][:1024]
    reference = WordLlamaInference(rows, tokenizer).embed(chosen, norm=True)
    (folder / "reference_vectors.i8").write_bytes(quantize(reference)[1].tobytes())


def report(rows, tokenizer, glosses):
    """What the choice of int8 x 256 costs, against f32 and against fewer dimensions."""
    ids = [e.ids for e in tokenizer.encode_batch(glosses, add_special_tokens=False)]
    full = pool(rows, ids)
    asked = np.random.default_rng(0).choice(len(glosses), 1000, replace=False)

    def top10(vectors):
        scores = vectors[asked] @ vectors.T
        scores[np.arange(len(asked)), asked] = -9
        return np.argpartition(-scores, 10, axis=1)[:, :10]

    truth = top10(full)
    for bits in (8, 6, 4):
        for dim in (256, 192, 128, 64):
            cut = rows[:, :dim]
            limit = 2 ** (bits - 1) - 1
            scale = np.abs(cut).max(axis=1, keepdims=True) / limit
            vectors = pool(np.rint(cut / scale) * scale, ids)
            same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, top10(vectors))])
            cosine = f", lowest cosine {(vectors * full).sum(axis=1).min():.5f}" if dim == 256 else ""
            size = (bits * dim / 8 + 4) * len(rows) / 1e6
            print(f"int{bits} x {dim}: {size:.1f} MB, top-10 overlap with f32 x 256 {same:.4f}{cosine}")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--glosses", type=pathlib.Path, required=True, help="output of build_glosses.py")
    args.add_argument("--out", type=pathlib.Path, required=True)
    args.add_argument("--fixtures", type=pathlib.Path, help="folder for the gold files of the tests")
    args.add_argument("--report", action="store_true", help="measure the loss of several table sizes (minutes)")
    args = args.parse_args()

    rows = load_file(WEIGHTS)["embedding.weight"].astype(np.float32)
    model = json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    write_table(args.out, rows, model["vocab"], merges)
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    glosses = load_glosses(args.glosses)
    if args.fixtures:
        write_fixtures(args.fixtures, rows, tokenizer, glosses)
    if args.report:
        tokenizer.no_padding()
        report(rows, tokenizer, glosses)


if __name__ == "__main__":
    main()
