//! Bytes that survive: directory, write-ahead log, section files, manifest, memory maps.
