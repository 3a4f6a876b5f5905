//! Headers that the operator adds to requests to a function.

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::functions::HttpFunction;

/// Headers that are ours, or the connection's.
const OURS: [&str; 17] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-awa-signature",
];

/// Bytes of all of them together.
const MOST: usize = 16 * 1024;

/// Those of the section and of its files.
pub(super) fn headers(section: &HttpFunction) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &[u8]| {
        let name = HeaderName::try_from(name).context("it is no name of a header")?;
        let ours = OURS.contains(&name.as_str()) || name.as_str().starts_with("rolegate-");
        anyhow::ensure!(!ours, "this header is not for you to set");
        // Without the value: it may be a secret.
        let mut value = HeaderValue::from_bytes(value)
            .ok()
            .context("its value has characters that a header can't have")?;
        value.set_sensitive(true);
        anyhow::ensure!(
            headers.insert(name, value).is_none(),
            "the header is there twice"
        );
        Ok(())
    };
    for (name, value) in &section.headers {
        add(name, value.expose()).with_context(|| format!("headers.{name}"))?;
    }
    for (name, path) in &section.header_files {
        // Without the path: it may be the value in the wrong place.
        let text = std::fs::read_to_string(path).with_context(|| format!("header_files.{name}"))?;
        add(name, text.trim_end_matches(['\r', '\n']).as_bytes())
            .with_context(|| format!("header_files.{name}"))?;
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    anyhow::ensure!(bytes <= MOST, "headers are {bytes} bytes; {MOST} may be");
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> anyhow::Result<HeaderMap> {
        let text = format!("url = \"https://a.example\"\n{text}");
        headers(&toml::from_str(&text).expect("a section"))
    }

    #[test]
    fn headers_come_from_the_section_and_from_files() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("token");
        std::fs::write(&file, "Bearer hunter2\n").expect("our directory");
        let text = format!(
            "headers = {{ X-Tenant = \"a\" }}\nheader_files = {{ Authorization = \"{}\" }}",
            file.display()
        );
        let headers = of(&text).expect("valid");
        assert_eq!(headers["x-tenant"], "a");
        assert_eq!(headers["authorization"], "Bearer hunter2");
        assert!(!format!("{headers:?}").contains("hunter2"), "{headers:?}");
    }

    #[test]
    fn what_is_ours_can_not_be_set_and_nothing_twice() {
        for name in [
            "Host",
            "content-length",
            "Idempotency-Key",
            "Rolegate-Signature",
            "X-Awa-Signature",
        ] {
            let error = of(&format!("headers = {{ {name} = \"x\" }}")).expect_err(name);
            assert!(format!("{error:#}").contains("not for you"), "{error:#}");
        }
        assert!(of("headers = { X-A = \"1\", x-a = \"2\" }").is_err());
        assert!(of("headers = { \"a b\" = \"1\" }").is_err());
        let error = of("headers = { X-A = \"hunter2\\r\\nX-B: 1\" }").expect_err("a line");
        assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        let error = of("header_files = { X-A = \"/nowhere/hunter2\" }").expect_err("no file");
        assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        let long = format!("headers = {{ X-A = \"{}\" }}", "x".repeat(20_000));
        assert!(of(&long).is_err());
    }
}
