//! Origins, compression, and what caches may keep.

use http::Method;
use reqwest::Response;
use rolegate_server::config::GatewayConfig;
use rolegate_testkit::for_each_version;

use super::{FUNCTIONS, ready};
use crate::harness::{Gateway, Options, api};

const GOOD: &str = "https://good.example";

fn options(origins: &[&str]) -> Options {
    Options {
        gateway: GatewayConfig {
            allowed_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            ..GatewayConfig::default()
        },
        ..Options::default()
    }
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    let value = response.headers().get(name)?;
    Some(value.to_str().expect("text"))
}

/// Everything in `Vary`, lower case, sorted.
fn vary(response: &Response) -> Vec<String> {
    let mut names: Vec<String> = response
        .headers()
        .get_all("vary")
        .iter()
        .flat_map(|value| value.to_str().expect("text").split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn only_a_listed_origin_may_read_and_caches_know_it() {
    for_each_version(async |db| {
        let (gateway, token, _) = ready(db, options(&[GOOD, "https://also.example"])).await;
        for (origin, allowed) in [
            (Some(GOOD), true),
            (Some("https://also.example"), true),
            (Some("https://evil.example"), false),
            (Some("https://good.example:8443"), false),
            (Some("https://sub.good.example"), false),
            (Some("null"), false),
            (None, false),
        ] {
            // A call, a problem, and a preflight.
            let call = gateway.get("/echo?t=x", Some(&token));
            let refused = gateway.get("/echo?t=x", Some("no token"));
            let preflight = gateway
                .client
                .request(Method::OPTIONS, gateway.url("/echo"))
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization, content-type, idempotency-key",
                );
            for (what, request) in [
                ("call", call),
                ("refused", refused),
                ("preflight", preflight),
            ] {
                let request = match origin {
                    Some(origin) => request.header("origin", origin),
                    None => request,
                };
                let response = request.send().await.expect("an answer");
                assert_eq!(
                    header(&response, "access-control-allow-origin"),
                    origin.filter(|_| allowed),
                    "{what} {origin:?}"
                );
                assert_eq!(header(&response, "access-control-allow-credentials"), None);
                let vary = vary(&response);
                assert!(
                    vary.contains(&"origin".to_owned()),
                    "{what} {origin:?}: {vary:?}"
                );
                if what == "preflight" {
                    assert!(response.status().is_success());
                    let methods = header(&response, "access-control-allow-methods");
                    assert_eq!(methods, Some("GET,POST"));
                    let headers = header(&response, "access-control-allow-headers");
                    let headers = headers.expect("headers are allowed");
                    for name in ["authorization", "content-type", "idempotency-key"] {
                        assert!(headers.contains(name), "{headers}");
                    }
                    assert!(
                        !headers.contains('*') && !headers.contains("cookie"),
                        "{headers}"
                    );
                } else {
                    let exposed = header(&response, "access-control-expose-headers");
                    assert!(
                        exposed.is_none_or(|names| !names.contains('*')),
                        "{exposed:?}"
                    );
                    assert_eq!(exposed.is_some(), origin.is_some(), "{what} {origin:?}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn any_origin_is_never_allowed_with_credentials() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        api(db, &[&ann], FUNCTIONS).await;
        for origins in [&["*"][..], &["*", GOOD], &[GOOD, "*"]] {
            let gateway = Gateway::start_with(db, options(origins)).await;
            let token = gateway.token(&ann).await;
            for origin in ["https://evil.example", GOOD, "null"] {
                let call = gateway.get("/echo?t=x", Some(&token));
                let response = call.header("origin", origin).send().await;
                let response = response.expect("an answer");
                // The star itself, not what the client said: with it browsers send no credentials.
                assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
                assert_eq!(header(&response, "access-control-allow-credentials"), None);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn compressed_answers_vary_and_keep_their_tag() {
    for_each_version(async |db| {
        let (gateway, token, other) = ready(db, options(&[GOOD])).await;
        let get = |encoding: &'static str, tag: Option<&str>| {
            let request = gateway
                .get("/long?n=1000", Some(&token))
                .header("accept-encoding", encoding);
            let request = match tag {
                Some(tag) => request.header("if-none-match", tag),
                None => request,
            };
            async move { request.send().await.expect("an answer") }
        };
        let plain = get("identity", None).await;
        let tag = header(&plain, "etag").expect("a tag").to_owned();
        // Weak: one tag for bodies of different bytes.
        assert!(tag.starts_with("W/\""), "{tag}");
        let expected = ["accept", "accept-encoding", "authorization", "origin"];
        let holds = |response: &Response| {
            let vary = vary(response);
            for name in expected {
                let times = vary.iter().filter(|seen| *seen == name).count();
                assert_eq!(times, 1, "{name} in {vary:?}");
            }
            assert_eq!(header(response, "etag"), Some(tag.as_str()));
            assert_eq!(header(response, "cache-control"), Some("private, no-cache"));
        };
        holds(&plain);
        assert_eq!(header(&plain, "content-encoding"), None);
        let text = plain.bytes().await.expect("a body");
        for encoding in ["gzip", "br", "zstd"] {
            let compressed = get(encoding, None).await;
            assert_eq!(header(&compressed, "content-encoding"), Some(encoding));
            holds(&compressed);
            let bytes = compressed.bytes().await.expect("a body");
            assert!(bytes.len() * 4 < text.len(), "{encoding}: {}", bytes.len());
            assert_ne!(bytes, text);
            if encoding == "zstd" {
                assert_eq!(
                    bytes[..4],
                    [0x28, 0xb5, 0x2f, 0xfd],
                    "the magic number of RFC 8878"
                );
            }
        }
        let strong = tag.trim_start_matches("W/").to_owned();
        let listed = format!("\"other\", {tag}");
        for encoding in ["identity", "gzip", "br", "zstd"] {
            for tag in [&tag, &strong, &listed, "*"] {
                let unchanged = get(encoding, Some(tag)).await;
                assert_eq!(unchanged.status().as_u16(), 304, "{encoding} {tag}");
                holds(&unchanged);
                assert_eq!(header(&unchanged, "content-encoding"), None);
                assert!(unchanged.bytes().await.expect("no body").is_empty());
            }
            let changed = get(encoding, Some("W/\"other\"")).await;
            assert_eq!(changed.status().as_u16(), 200);
        }
        // A tag is no way around the token.
        for (token, expected) in [(Some("no token"), 401), (Some(other.as_str()), 304)] {
            let request = gateway.get("/long?n=1000", token);
            let response = request.header("if-none-match", &tag).send().await;
            let response = response.expect("an answer");
            assert_eq!(response.status().as_u16(), expected);
        }
    })
    .await;
}
