"""The Python side of DVSE, a vector search engine."""
