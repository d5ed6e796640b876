//! Who may call: the key, and the origins of web pages.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::error::RestError;

/// The header that carries the key.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// Checks the key of a request.
///
/// # Errors
/// A key is asked for, and the request carries none or another.
pub fn check_key(headers: &HeaderMap, key: Option<&str>) -> Result<(), RestError> {
    let Some(key) = key else { return Ok(()) };
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_first_chunk::<7>())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, token)| token);
    let given = headers.get(API_KEY).map(HeaderValue::as_bytes).or(bearer);
    match given {
        Some(given) if same_bytes(given, key.as_bytes()) => Ok(()),
        _ => Err(RestError::Unauthorized),
    }
}

/// Compares without stopping at the first difference, so that the time taken does not tell how much was right.
fn same_bytes(given: &[u8], key: &[u8]) -> bool {
    let mut difference = given.len() ^ key.len();
    for (position, byte) in given.iter().enumerate() {
        difference |= usize::from(byte ^ key.get(position).copied().unwrap_or(0));
    }
    difference == 0
}

/// Refuses requests of web pages from origins that may not call.
///
/// Browsers send some requests to a node on the user's machine without asking it first, whatever page wants them;
/// without this check any page could delete the user's collections.
///
/// # Errors
/// The request comes from such a page.
pub fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), RestError> {
    match headers.get(ORIGIN) {
        Some(origin) if !origin_allowed(origin, allowed) => {
            Err(RestError::ForeignOrigin(String::from_utf8_lossy(origin.as_bytes()).into_owned()))
        }
        _ => Ok(()),
    }
}

/// Answers the questions that browsers ask before they let a page call.
#[must_use]
pub fn cors(allowed: &[String]) -> CorsLayer {
    let allowed = allowed.to_vec();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| origin_allowed(origin, &allowed)))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([CONTENT_TYPE, AUTHORIZATION, API_KEY])
}

fn origin_allowed(origin: &HeaderValue, allowed: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    if allowed.iter().any(|one| one == "*" || one == origin) {
        return true;
    }
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens() {
        let headers = |name: HeaderName, value: &'static str| {
            HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
        };
        let key = Some("secret");
        for (headers, open) in [
            (headers(API_KEY, "secret"), true),
            (headers(AUTHORIZATION, "Bearer secret"), true),
            (headers(AUTHORIZATION, "bearer secret"), true),
            (headers(AUTHORIZATION, "secret"), false),
            (headers(API_KEY, "secre"), false),
            (headers(API_KEY, "secrets"), false),
            (headers(API_KEY, ""), false),
            (HeaderMap::new(), false),
        ] {
            assert_eq!(check_key(&headers, key).is_ok(), open, "{headers:?}");
            assert!(check_key(&headers, None).is_ok());
        }
    }

    #[test]
    fn loopback_and_listed_origins_may_call() {
        let listed = ["https://app.example.org".to_owned()];
        for (origin, may) in [
            ("http://localhost:3000", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:8080", true),
            ("https://app.example.org", true),
            ("https://evil.example.org", false),
            ("http://localhost.evil.example.org", false),
            ("null", false),
        ] {
            assert_eq!(origin_allowed(&HeaderValue::from_static(origin), &listed), may, "{origin}");
        }
        assert!(origin_allowed(&HeaderValue::from_static("null"), &["*".to_owned()]));
    }
}
