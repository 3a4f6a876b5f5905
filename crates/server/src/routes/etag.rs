//! Whether a client has an answer already.

use http::{HeaderMap, header};

/// Whether `If-None-Match` has the tag (weak comparison) or is `*`. The tag is given with its quotes.
pub(super) fn is_unchanged(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let mut headers = HeaderMap::new();
        let both = HeaderValue::from_static("\"x\", W/\"abc\"");
        headers.insert(header::IF_NONE_MATCH, both);
        assert!(is_unchanged(&headers, "\"abc\""));
        assert!(!is_unchanged(&headers, "\"ab\""));
    }
}
