//! When a host wants to be asked again.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;

/// What `Retry-After` says: seconds, or a date. `None` if it is not there, or says nothing that can
/// be read. Never less than a second, nor more than `longest`.
pub fn retry_after(headers: &HeaderMap, now: Timestamp, longest: Duration) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than there is a number for are too many in any case.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(text).ok()?;
        // Of a date that has passed nothing is left.
        until
            .duration_since(SystemTime::from(now))
            .unwrap_or_default()
    };
    Some(wait.max(Duration::from_secs(1)).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_understood_within_bounds() {
        // Sat, 21 Nov 2026 14:00:00 GMT
        let now: Timestamp = "2026-11-21T14:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("120", Some(120)),
            ("0", Some(1)),
            (" 7 ", Some(7)),
            ("86400", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Sat, 21 Nov 2026 14:01:30 GMT", Some(90)),
            ("Saturday, 21-Nov-26 14:01:30 GMT", Some(90)),
            ("Sat Nov 21 14:01:30 2026", Some(90)),
            ("Sat, 21 Nov 2026 13:00:00 GMT", Some(1)),
            ("Mon, 21 Nov 2044 13:00:00 GMT", Some(3600)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sat, 21 Nov 2026", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
            let wait = retry_after(&headers, now, Duration::from_hours(1));
            assert_eq!(wait, expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now, Duration::MAX), None);
    }
}
