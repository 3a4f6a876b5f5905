//! Values as others write them, made into values as we write them. What is refused is not shown:
//! it may be a secret in the wrong place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

/// What was expected instead.
pub(super) type Refused = &'static str;

/// From a value of theirs to one of ours.
pub(super) type Convert = fn(&str) -> Result<Value, Refused>;

pub(super) fn text(text: &str) -> Result<Value, Refused> {
    match text.trim() {
        "" => Err("expected a text"),
        text => Ok(json!(text)),
    }
}

pub(super) fn number(text: &str) -> Result<Value, Refused> {
    let number: u64 = text.trim().parse().map_err(|_| "expected a number")?;
    Ok(json!(number))
}

pub(super) fn hours(text: &str) -> Result<Value, Refused> {
    match text.trim().parse::<u64>() {
        Ok(hours @ 1..=87_600) => Ok(json!(hours * 3600)),
        _ => Err("expected a number of hours, at least 1"),
    }
}

/// `a, b`.
pub(super) fn list(text: &str) -> Result<Value, Refused> {
    let items = text.split(',').map(str::trim);
    let items: Vec<&str> = items.filter(|item| !item.is_empty()).collect();
    if items.is_empty() {
        return Err("expected names, separated by commas");
    }
    Ok(json!(items))
}

/// A level of any of them; ours are those of `tracing`.
pub(super) fn level(text: &str) -> Result<Value, Refused> {
    let level = match text.trim().to_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "crit" | "critical" | "fatal" => "error",
        _ => return Err("expected debug, info, warn or error"),
    };
    Ok(json!(level))
}

/// Whether a transaction end may be asked for (`commit-allow-override`).
pub(super) fn dry_run(text: &str) -> Result<Value, Refused> {
    match text.trim() {
        "commit" => Ok(json!(false)),
        "commit-allow-override" => Ok(json!(true)),
        _ => Err("only commit and commit-allow-override are possible"),
    }
}

/// Seconds: a plain number, or a duration like `1h30m` or `30s`.
pub(super) fn seconds(text: &str) -> Result<Value, Refused> {
    Ok(json!(duration_ms(text)? / 1000))
}

pub(super) fn milliseconds(text: &str) -> Result<Value, Refused> {
    Ok(json!(duration_ms(text)?))
}

fn duration_ms(text: &str) -> Result<u64, Refused> {
    const EXPECTED: Refused = "expected seconds, or a duration like 30s, 5m or 1h30m";
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000).ok_or(EXPECTED);
    }
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(EXPECTED)?;
        let number: u64 = rest[..digits].parse().map_err(|_| EXPECTED)?;
        let unit_length = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len() - digits);
        let unit = match &rest[digits..digits + unit_length] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return Err(EXPECTED),
        };
        total = number
            .checked_mul(unit)
            .and_then(|part| total.checked_add(part))
            .ok_or(EXPECTED)?;
        rest = &rest[digits + unit_length..];
    }
    if text.is_empty() {
        return Err(EXPECTED);
    }
    Ok(total)
}

/// Whether a `sslmode` asks for TLS.
pub(super) fn tls(text: &str) -> Result<Value, Refused> {
    match text.trim() {
        "disable" => Ok(json!(false)),
        "require" | "verify-ca" | "verify-full" => Ok(json!(true)),
        _ => Err("expected disable, require or verify-full; nothing in between is possible"),
    }
}

/// `HOST:PORT` or `:PORT`, which is loopback here.
pub(super) fn address(text: &str) -> Result<Value, Refused> {
    let text = text.trim();
    let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT")?;
    bind(Some(host).filter(|host| !host.is_empty()), port)
}

pub(super) fn port(text: &str) -> Result<Value, Refused> {
    bind(None, text)
}

/// An address to listen on; loopback without a host.
pub(super) fn bind(host: Option<&str>, port: &str) -> Result<Value, Refused> {
    let port: u16 = port.trim().parse().map_err(|_| "expected a port")?;
    let host = match host.map(str::trim) {
        None | Some("localhost") => IpAddr::from(Ipv4Addr::LOCALHOST),
        Some("*" | "*4" | "!4") => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Some("*6" | "!6") => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        Some(host) => host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| "expected an address, not a name")?,
    };
    Ok(json!(SocketAddr::new(host, port)))
}

/// `.role` or `.realm_access.roles`: what can be written without quotes and conditions.
pub(super) fn role_path(text: &str) -> Result<Value, Refused> {
    let path = text.trim().strip_prefix('.').unwrap_or(text.trim());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if path.is_empty() || !path.chars().all(plain) {
        return Err("only a path of plain names can be translated");
    }
    Ok(json!([path]))
}

/// A secret as it is.
pub(super) fn secret(text: &str) -> Result<Value, Refused> {
    if text.starts_with('@') {
        return Err("expected the secret itself, not a file");
    }
    if text.trim_start().starts_with('{') {
        return Err("a JSON Web Key cannot be translated; use public_key or jwks_url");
    }
    Ok(json!(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_written_with_units() {
        assert_eq!(seconds("90"), Ok(json!(90)));
        assert_eq!(seconds("1h30m"), Ok(json!(5400)));
        assert_eq!(milliseconds("1s500ms"), Ok(json!(1500)));
        for text in ["", "m", "1x", "1.5s", "-1", "99999999999999999999", "5m3"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_loopback_unless_they_say_otherwise() {
        assert_eq!(port("9000"), Ok(json!("127.0.0.1:9000")));
        assert_eq!(address(":9000"), Ok(json!("127.0.0.1:9000")));
        assert_eq!(bind(Some("!4"), "80"), Ok(json!("0.0.0.0:80")));
        assert_eq!(address("[::1]:80"), Ok(json!("[::1]:80")));
        assert!(bind(Some("db.example"), "80").is_err());
        assert!(port("80000").is_err());
    }

    #[test]
    fn what_has_no_counterpart_is_refused() {
        assert!(tls("prefer").is_err());
        assert!(dry_run("rollback").is_err());
        assert!(role_path(".roles[?(@ == \"a\")]").is_err());
        assert_eq!(role_path(".realm.role"), Ok(json!(["realm.role"])));
        assert!(secret("@/run/secret").is_err());
        assert!(secret("{\"kty\": \"oct\"}").is_err());
    }
}
