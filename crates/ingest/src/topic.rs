//! Names and settings of topics.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The tenant and the namespace of a topic that is named without them.
const TENANT: &str = "dvse";
const NAMESPACE: &str = "ingest";
const SCHEME: &str = "persistent://";
/// Longest part of a name, in bytes: the stream of a source, which contains all three, has to fit 200.
const PART_BYTES_MAX: usize = 48;

/// The most partitions a topic may have.
pub const PARTITIONS_MAX: u32 = 256;

/// The name of a topic, `persistent://TENANT/NAMESPACE/TOPIC`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    tenant: String,
    namespace: String,
    topic: String,
}

/// A text that names no topic.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} names no topic: write persistent://TENANT/NAMESPACE/TOPIC or TOPIC, each part of 1 to {PART_BYTES_MAX} letters, digits, \"-\", \"_\" or \".\", not beginning with \".\""
)]
pub struct InvalidTopicName(pub String);

impl TopicName {
    /// Where raw records arrive: `persistent://dvse/ingest/raw-events`.
    #[must_use]
    pub fn raw_events() -> TopicName {
        TopicName::ours("raw-events")
    }

    /// Where each committed change is published: `persistent://dvse/ingest/vector-indexed`.
    #[must_use]
    pub fn vector_indexed() -> TopicName {
        TopicName::ours("vector-indexed")
    }

    /// Where records go that nothing can be made of: `persistent://dvse/ingest/dead-letters`.
    #[must_use]
    pub fn dead_letters() -> TopicName {
        TopicName::ours("dead-letters")
    }

    fn ours(topic: &str) -> TopicName {
        TopicName { tenant: TENANT.to_owned(), namespace: NAMESPACE.to_owned(), topic: topic.to_owned() }
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The last part.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.tenant, self.namespace, self.topic)
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopicName;

    fn from_str(text: &str) -> Result<TopicName, InvalidTopicName> {
        let parts: Vec<&str> = match text.strip_prefix(SCHEME) {
            Some(path) => path.split('/').collect(),
            None => vec![TENANT, NAMESPACE, text],
        };
        let [tenant, namespace, topic] = parts.as_slice() else {
            return Err(InvalidTopicName(text.to_owned()));
        };
        let is_sound = |part: &&str| {
            (1..=PART_BYTES_MAX).contains(&part.len())
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if ![tenant, namespace, topic].into_iter().all(is_sound) {
            return Err(InvalidTopicName(text.to_owned()));
        }
        let own = |part: &str| part.to_owned();
        Ok(TopicName { tenant: own(tenant), namespace: own(namespace), topic: own(topic) })
    }
}

/// How a topic is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicSpec {
    /// Into how many parts it is divided, 1 to [`PARTITIONS_MAX`]; fixed when the topic is made. Records of one key keep
    /// their order, as they go to one partition.
    pub partitions: u32,
    /// How long a record stays that every subscription has passed, in milliseconds; `None` is for ever.
    pub retention_ms: Option<u64>,
    /// How many bytes of such records stay in a partition; `None` is all. What is older or beyond goes, whichever comes
    /// first.
    pub retention_bytes: Option<u64>,
    /// How many bytes of a partition may wait for the slowest subscription before its producer is held; `None` is any
    /// number. A topic without subscriptions waits for its first one.
    pub backlog_bytes_max: Option<u64>,
    /// Size of the files of a partition, which is what retention drops as a whole.
    pub segment_bytes: u64,
}

impl TopicSpec {
    /// For raw records: 24 hours behind the slowest subscription, and producers held 1 GiB a partition before it.
    #[must_use]
    pub fn raw_events(partitions: u32) -> TopicSpec {
        TopicSpec {
            partitions,
            retention_ms: Some(24 * 60 * 60 * 1000),
            retention_bytes: None,
            backlog_bytes_max: Some(1 << 30),
            segment_bytes: 16 << 20,
        }
    }

    /// For committed changes: kept for ever, as a collection can be made again out of them.
    #[must_use]
    pub fn vector_indexed(partitions: u32) -> TopicSpec {
        TopicSpec {
            partitions,
            retention_ms: None,
            retention_bytes: None,
            backlog_bytes_max: None,
            segment_bytes: 16 << 20,
        }
    }

    /// For dead letters: kept for ever, in small files, as there should be few.
    #[must_use]
    pub fn dead_letters(partitions: u32) -> TopicSpec {
        TopicSpec { segment_bytes: 1 << 20, ..TopicSpec::vector_indexed(partitions) }
    }
}

/// Returns the partition that records of a key go to; the same for ever.
///
/// FNV-1a of 64 bits over the key, finished with the mixing step of MurmurHash3 because the low bits of FNV alone are
/// poor, modulo the number of partitions.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let fnv = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let hash = mixed ^ (mixed >> 33);
    // The remainder of a division by a `u32` fits one.
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_one_of_ours_and_a_full_one_is_itself() {
        assert_eq!("raw-events".parse(), Ok(TopicName::raw_events()));
        let full = "persistent://a/b.c/d_e";
        assert_eq!(full.parse::<TopicName>().map(|name| name.to_string()), Ok(full.to_owned()));
        let long = "x".repeat(PART_BYTES_MAX + 1);
        for bad in [
            "",
            "a/b",
            "persistent://a/b",
            "persistent://a//b",
            "..",
            ".x",
            "a b",
            "persistent://a/../b",
            &long,
        ] {
            assert_eq!(bad.parse::<TopicName>(), Err(InvalidTopicName(bad.to_owned())));
        }
    }

    #[test]
    fn keys_go_where_they_always_went() {
        // A change here sends the records of a key to two partitions, and their order is lost.
        for (key, expect) in [("", 38), ("1", 214), ("42", 236), ("b2f3", 69)] {
            assert_eq!(partition_of(key.as_bytes(), 256), expect, "{key:?}");
        }
        let mut counts = [0; 7];
        for key in 0..7000 {
            counts[partition_of(key.to_string().as_bytes(), 7) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
