# One line a recipe; the logic lives in xtask, .ci and the binary itself.

# format, lints and repository rules; writes nothing
check:
    cargo fmt --all --check && cargo clippy --locked --workspace --exclude dvse-embed-python --all-targets -- -D warnings && cargo xtask tidy

# what README calls the tests
test:
    cargo test --locked

# everything CI runs
test-all:
    .ci/run

# kernels, write-ahead log
bench:
    cargo bench -p dvse-simd && cargo bench -p dvse-storage

# run each fuzz target for a number of seconds
fuzz SECONDS="60":
    .ci/fuzz {{SECONDS}}

# the real qdrant-client and the kill -9 test against the real binary
py:
    .ci/python

# models in Python: the embedder, the adapters, and ingest with them
py-models:
    .ci/python-models

# format the code
fix:
    cargo fmt --all
