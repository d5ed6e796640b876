//! Dates and times in payloads and filters.

/// Reads a date and time as microseconds since 1970-01-01T00:00:00Z.
///
/// Takes RFC 3339 (`2024-02-29T12:00:00Z`, with any offset and up to nine digits of a second's fraction), the same
/// with a space for the `T` or without an offset (then UTC), and a plain date (midnight UTC). `None` for anything
/// else; digits beyond microseconds are cut.
#[must_use]
pub fn parse_datetime_micros(text: &str) -> Option<i64> {
    // A plain number would be read as a Unix time stamp by the library; in a payload it is a number.
    if text.get(4..5) != Some("-") {
        return None;
    }
    let date_time = match speedate::DateTime::parse_str_rfc3339(text) {
        Ok(date_time) => date_time,
        Err(_) => {
            let date = speedate::Date::parse_str_rfc3339(text).ok()?;
            return date.timestamp().checked_mul(1_000_000);
        }
    };
    date_time.timestamp_tz().checked_mul(1_000_000)?.checked_add(i64::from(date_time.time.microsecond))
}

#[cfg(test)]
mod tests {
    use super::parse_datetime_micros;

    #[test]
    fn dates_and_times_are_microseconds_since_the_epoch() {
        for (text, expect) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01T00:00:01.5Z", Some(1_500_000)),
            ("1970-01-01T02:00:00+02:00", Some(0)),
            ("1970-01-02", Some(86_400_000_000)),
            ("2024-02-29 12:00:00", Some(1_709_208_000_000_000)),
            ("2024-02-29T12:00:00.123456Z", Some(1_709_208_000_123_456)),
            ("2023-02-29T12:00:00Z", None),
            ("1700000000", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_datetime_micros(text), expect, "{text}");
        }
    }
}
