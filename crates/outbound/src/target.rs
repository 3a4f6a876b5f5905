//! A URL that may be asked.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::guard::{Guard, Verdict};

/// A URL that was looked at. Names are looked at again whenever they are resolved.
#[derive(Clone)]
pub struct Target {
    url: Url,
    origin: Origin,
}

/// Scheme, host and port: what limits and breakers are about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

/// Why a URL is not asked. The URL itself is not in it: it may have a key in its query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("it is no URL")]
    Malformed,
    /// Neither of the two.
    #[error("a URL begins with https:// or http://")]
    Scheme,
    /// User name and password end up in logs.
    #[error("user and password don't belong into a URL; send them in a header")]
    Credentials,
    /// It leads to ourselves, or to something beside us.
    #[error(
        "the address {0} is not one of the public internet ({1}); if it is meant, allow its network"
    )]
    Address(IpAddr, &'static str),
    /// Everybody on the way could read it.
    #[error("to a public address only https goes; allow its network to send in plain text")]
    Plain,
}

impl Target {
    /// Looks at a URL. An address in it is refused here, in whatever notation it is written.
    pub fn new(text: &str, guard: &Guard) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError::Malformed)?;
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(TargetError::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(TargetError::Malformed),
        };
        if let Some(address) = address {
            match guard.judge(address) {
                Verdict::Refused(what) => return Err(TargetError::Address(address, what)),
                Verdict::Public if plain => return Err(TargetError::Plain),
                Verdict::Public | Verdict::Allowed => {}
            }
        }
        let origin = Origin(url.origin().ascii_serialization());
        Ok(Self { url, origin })
    }

    /// Whose limits and breaker count.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.origin.0).finish()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, TargetError> {
        Target::new(text, &Guard::default())
    }

    #[test]
    fn an_address_is_one_in_every_notation() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "0",
            "0x0",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "10.1",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::a00:1]",
            "[2002:7f00:1::]",
            "[fd00::1]",
            "[fe80::1]",
        ] {
            let text = format!("https://{host}/x");
            let refused = target(&text).expect_err(host);
            assert!(
                matches!(refused, TargetError::Address(..)),
                "{host}: {refused:?}"
            );
        }
        // What only looks like one is none.
        for host in [
            "[fe80::1%25eth0]",
            "127.0.0.256",
            "0x7f.0.0.0.1",
            "1.2.3.4.5",
        ] {
            let refused = target(&format!("https://{host}/x")).expect_err(host);
            assert_eq!(refused, TargetError::Malformed, "{host}");
        }
    }

    #[test]
    fn a_name_is_looked_at_when_it_is_resolved() {
        for host in ["functions.example", "localhost", "127.0.0.1.example", "a-1"] {
            assert!(target(&format!("https://{host}/")).is_ok(), "{host}");
        }
    }

    #[test]
    fn only_http_and_no_credentials() {
        for text in [
            "ftp://a.example/",
            "file:///etc/passwd",
            "gopher://a.example/",
            "unix:/x",
        ] {
            assert_eq!(target(text).expect_err(text), TargetError::Scheme, "{text}");
        }
        for text in ["https://me@a.example/", "https://:hunter2@a.example/"] {
            let refused = target(text).expect_err(text);
            assert_eq!(refused, TargetError::Credentials);
            assert!(!refused.to_string().contains("hunter2"));
        }
        for text in [
            "",
            "/x",
            "a.example/x",
            "https://",
            "https://a b/",
            "https://a.example:99999/",
        ] {
            assert_eq!(
                target(text).expect_err(text),
                TargetError::Malformed,
                "{text}"
            );
        }
    }

    #[test]
    fn plain_text_goes_to_networks_that_were_allowed() {
        assert_eq!(
            target("http://8.8.8.8/").expect_err("plain"),
            TargetError::Plain
        );
        let guard = Guard::new(["127.0.0.0/8", "8.8.8.8"]).expect("networks");
        for text in [
            "http://127.0.0.1:8080/",
            "http://8.8.8.8/",
            "http://0x7f.1/",
        ] {
            assert!(Target::new(text, &guard).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_origin_has_its_port_if_it_is_not_the_usual_one() {
        let origin = |text| target(text).expect(text).origin().to_string();
        assert_eq!(origin("https://A.example:443/x?key=1"), "https://a.example");
        assert_eq!(origin("https://a.example:8443/x"), "https://a.example:8443");
        let shown = format!(
            "{:?}",
            target("https://a.example/?key=hunter2").expect("a URL")
        );
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
