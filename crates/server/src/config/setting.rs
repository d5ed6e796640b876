//! The table of settings: the one place where a setting is named, described and bounded.

/// One setting of a node.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// `section.name`, as in the file.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value it has when nobody sets it, as it would be written.
    pub default: &'static str,
    /// What it is for, with the reason for the default; full sentences.
    pub purpose: &'static str,
}

/// The values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is not shown back.
    Secret,
    /// A path of the file system.
    Path,
    /// One of a few texts.
    Choice(&'static [&'static str]),
    /// `HOST:PORT`; a port of 0 takes any free one.
    Address,
    /// Three numbers, `x.y.z`.
    Version,
    /// Texts; separated by commas where the source is one text.
    List,
    /// A whole number in a range, ends included.
    Count {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// What is counted.
        unit: &'static str,
    },
    /// A number of bytes in a range, ends included; `KiB`, `MiB` and `GiB` may follow.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
}

impl Setting {
    /// The environment variable that sets it, such as `DVSE__SERVER__HTTP`.
    #[must_use]
    pub fn environment_name(&self) -> String {
        format!("DVSE__{}", self.key.replace('.', "__").to_uppercase())
    }

    /// The setting of a key, if there is one.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }
}

impl Kind {
    /// The values it takes, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Kind::Text => "text".to_owned(),
            Kind::Secret => "text, never shown".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Choice(choices) => choices.join(" or "),
            Kind::Address => "`HOST:PORT`".to_owned(),
            Kind::Version => "`x.y.z`".to_owned(),
            Kind::List => "list of texts".to_owned(),
            Kind::Count { min, max, unit } => format!("{min} to {max} {unit}"),
            Kind::Bytes { min, max } => format!("{} to {}", show_bytes(*min), show_bytes(*max)),
        }
    }
}

/// A number of bytes in the largest unit that keeps it whole.
pub(super) fn show_bytes(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

const fn count(min: u64, max: u64, unit: &'static str) -> Kind {
    Kind::Count { min, max, unit }
}

/// All settings, by section.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "server.http",
        kind: Kind::Address,
        default: "127.0.0.1:6333",
        purpose: "Where REST is served. Loopback by default, because there is no key by default; set `server.api_key` \
                  before you open it to a network.",
    },
    Setting {
        key: "server.api_key",
        kind: Kind::Secret,
        default: "",
        purpose: "The key that requests must carry in the header `api-key` or as `Authorization: Bearer`. Empty: none is \
                  asked for. `/`, `/healthz`, `/livez` and `/readyz` never ask for it.",
    },
    Setting {
        key: "server.title",
        kind: Kind::Text,
        default: "dvse - vector search engine",
        purpose: "The title that `GET /` reports. Some programs look for the title of the engine whose dialect this is \
                  before they use a server they find by themselves.",
    },
    Setting {
        key: "server.version",
        kind: Kind::Version,
        default: "1.19.0",
        purpose: "The version of the REST dialect that `GET /` reports; clients compare it with their own and warn when it \
                  is far off. The version of DVSE itself is in `commit`.",
    },
    Setting {
        key: "server.cors_origins",
        kind: Kind::List,
        default: "",
        purpose: "The web origins, such as `https://app.example.org`, whose pages may call this node; `*` allows all. Pages \
                  from this machine's loopback addresses always may. A request of a page from elsewhere is refused.",
    },
    Setting {
        key: "server.search_threads",
        kind: count(0, 1024, "threads"),
        default: "0",
        purpose: "How many reads are worked on at once; others wait in order. 0 takes the number of cores: searches are \
                  bound by the processor, and more at once would only make each slower.",
    },
    Setting {
        key: "server.write_threads",
        kind: count(1, 1024, "threads"),
        default: "32",
        purpose: "How many writes are worked on at once; others wait in order. More than the number of cores, because \
                  writes wait for the disk, and those that wait together share one sync.",
    },
    Setting {
        key: "server.write_nice",
        kind: count(0, 19, "steps"),
        default: "10",
        purpose: "How far the threads that read and apply writes stand back behind those that search, as in `nice(1)`: at 10 \
                  they get a tenth of a core that searches want all of, and all of it otherwise. 0 treats both alike. \
                  Linux only.",
    },
    Setting {
        key: "server.body_deadline_s",
        kind: count(1, 3600, "seconds"),
        default: "60",
        purpose: "How long a client may take to send a request's body.",
    },
    Setting {
        key: "server.stop_deadline_s",
        kind: count(0, 3600, "seconds"),
        default: "10",
        purpose: "How long a stopping node waits for the requests it has begun.",
    },
    Setting {
        key: "storage.data",
        kind: Kind::Path,
        default: "dvse-data",
        purpose: "The folder that holds all collections. It is made if it is not there, and locked while the node runs.",
    },
    Setting {
        key: "storage.background_threads",
        kind: count(1, 64, "threads"),
        default: "1",
        purpose: "How many threads link, seal and merge segments. One leaves the rest of a small machine to queries.",
    },
    Setting {
        key: "storage.background_nice",
        kind: count(0, 19, "steps"),
        default: "19",
        purpose: "How far the threads that link, seal and merge stand back behind all others, as in `nice(1)`. Where searches \
                  and writes want all cores for long, rows stay unlinked for longer, up to `storage.tail_bytes_max`; a \
                  lower value shares the cores more evenly. Linux only.",
    },
    Setting {
        key: "storage.growing_rows_max",
        kind: count(1_000, 10_000_000, "rows"),
        default: "131072",
        purpose: "How many rows a growing segment holds before it is sealed. Larger segments search a little faster and \
                  take longer to build and to replay.",
    },
    Setting {
        key: "storage.tail_bytes_max",
        kind: Kind::Bytes { min: 1 << 20, max: 4 << 30 },
        default: "256 MiB",
        purpose: "How many bytes of vectors may wait for a place in the graph. Searches compare them one by one, by \
                  compact codes, so more lets bursts of writes through and slows searches a little meanwhile; beyond it \
                  writers wait.",
    },
    Setting {
        key: "storage.merge_bytes_per_s",
        kind: Kind::Bytes { min: 0, max: 64 << 30 },
        default: "64 MiB",
        purpose: "How many bytes merges write in a second, so that they leave the disk to the log; 0 is without bounds. A \
                  merge hurries all the same while writers wait for it, while a collection is dropped, and when the node \
                  stops. Sealing is not held back: it is what makes room for writes.",
    },
    Setting {
        key: "limits.body_bytes_max",
        kind: Kind::Bytes { min: 1 << 10, max: 1 << 30 },
        default: "32 MiB",
        purpose: "The largest request body. The default is what clients of this dialect expect.",
    },
    Setting {
        key: "limits.bodies_bytes_max",
        kind: Kind::Bytes { min: 1 << 20, max: 64 << 30 },
        default: "512 MiB",
        purpose: "How much memory the bodies of all requests take together; further requests wait their turn.",
    },
    Setting {
        key: "limits.reply_bytes_max",
        kind: Kind::Bytes { min: 64 << 10, max: 4 << 30 },
        default: "256 MiB",
        purpose: "The largest reply. A larger one is refused, with the advice to read in pages.",
    },
    Setting {
        key: "limits.requests_max",
        kind: count(1, 65_536, "requests"),
        default: "256",
        purpose: "How many requests are taken at once; the next is answered 429 with `Retry-After`.",
    },
    Setting {
        key: "limits.batch_points_max",
        kind: count(1, 10_000_000, "points"),
        default: "100000",
        purpose: "How many points one request may write.",
    },
    Setting {
        key: "limits.batch_requests_max",
        kind: count(1, 100_000, "operations"),
        default: "1000",
        purpose: "How many queries or operations one batch request may hold.",
    },
    Setting {
        key: "limits.filter_depth_max",
        kind: count(1, 48, "levels"),
        default: "16",
        purpose: "How deep filters may nest.",
    },
    Setting {
        key: "limits.filter_conditions_max",
        kind: count(1, 1_000_000, "conditions"),
        default: "10000",
        purpose: "How many conditions a filter may have, those of filters inside it included. Values and ids listed in one \
                  condition are bounded by the body alone.",
    },
    Setting {
        key: "limits.ef_max",
        kind: count(1, 1_000_000, "candidates"),
        default: "16384",
        purpose: "The largest `hnsw_ef` a query may ask for.",
    },
    Setting {
        key: "limits.collections_max",
        kind: count(1, 100_000, "collections"),
        default: "1000",
        purpose: "How many collections there may be. Each costs files, memory and background work.",
    },
    Setting {
        key: "log.filter",
        kind: Kind::Text,
        default: "info",
        purpose: "Which messages are logged, as in `info` or `warn,dvse_server=debug`.",
    },
    Setting {
        key: "log.format",
        kind: Kind::Choice(&["text", "json"]),
        default: "text",
        purpose: "How messages are written to standard error: for people, or one JSON object a line for programs that \
                  gather logs.",
    },
];
