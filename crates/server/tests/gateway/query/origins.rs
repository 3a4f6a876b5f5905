//! Answers to queries for pages of other origins, and what a shared cache has to know of them.

use http::Method;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use rolegate_server::config::GatewayConfig;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::json;

use super::Setting;
use crate::harness::Options;

const GOOD: &str = "https://good.example";

fn all<'r>(answer: &'r Response, name: &str) -> Vec<&'r str> {
    let values = answer.headers().get_all(name).iter();
    let names = values.flat_map(|value| value.to_str().expect("text").split(','));
    names.map(str::trim).collect()
}

/// What pages ask.
struct Pages {
    setting: Setting,
    client: Client,
    base: String,
    /// Of an answer that is kept.
    place: String,
}

impl Pages {
    async fn lay(db: &TestDatabase) -> Self {
        let options = Options {
            follow: true,
            gateway: GatewayConfig {
                allowed_origins: vec![GOOD.to_owned()],
                ..GatewayConfig::default()
            },
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let client = Client::builder().no_proxy().redirect(Policy::none());
        let mut pages = Self {
            base: format!("http://{}", setting.gateway.address),
            client: client.build().expect("a client"),
            setting,
            place: String::new(),
        };
        while pages.place.is_empty() {
            let answer = pages.post().send().await.expect("an answer");
            let place = answer.headers().get("location");
            pages
                .place
                .extend(place.map(|place| place.to_str().expect("text")));
        }
        pages
    }

    fn post(&self) -> RequestBuilder {
        let post = self.client.post(format!("{}/query", self.base));
        let body = json!({"sql": "select id from open"}).to_string();
        post.header("content-type", "application/json").body(body)
    }
}

#[tokio::test]
async fn pages_of_listed_origins_may_read_answers() {
    for_each_version(async |db| {
        let pages = Pages::lay(db).await;
        let Pages {
            setting,
            client,
            base,
            place,
        } = &pages;
        let post = || pages.post();
        let gone = format!("{}0000", &place[..place.len() - 4]);
        let get = |path: &str| client.get(format!("{base}{path}"));
        let requests = || {
            [
                ("a query", post()),
                (
                    "its rows at once",
                    post().header("prefer", "return=representation"),
                ),
                (
                    "a private one",
                    post()
                        .body(json!({"sql": "select secret from closed"}).to_string())
                        .bearer_auth(&setting.token),
                ),
                (
                    "a refusal",
                    post().body(json!({"sql": "drop table open"}).to_string()),
                ),
                ("with GET", get("/query?sql=select+id+from+open")),
                ("an address", get(place)),
                ("one that is gone", get(&gone)),
                (
                    "a live query",
                    get("/query?live=true&sql=select+id+from+open"),
                ),
            ]
        };
        for origin in [Some(GOOD), Some("https://evil.example"), None] {
            for (what, request) in requests() {
                let request = match origin {
                    Some(origin) => request.header("origin", origin),
                    None => request,
                };
                let answer = request.send().await.expect("an answer");
                let allowed = all(&answer, "access-control-allow-origin");
                // Whoever keeps it for one keeps it for that one.
                assert!(
                    all(&answer, "vary").contains(&"origin"),
                    "{what}: {origin:?}"
                );
                if origin == Some(GOOD) {
                    assert_eq!(allowed, [GOOD], "{what}");
                    let exposed = all(&answer, "access-control-expose-headers");
                    for name in [
                        "content-location",
                        "etag",
                        "location",
                        "retry-after",
                        "rolegate-lsn",
                        "rolegate-scope",
                    ] {
                        assert!(
                            exposed.contains(&name),
                            "{what}: {name} is not in {exposed:?}"
                        );
                    }
                } else {
                    assert_eq!(allowed, [""; 0], "{what}: {origin:?}");
                }
                assert_eq!(
                    all(&answer, "access-control-allow-credentials"),
                    [""; 0],
                    "{what}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn pages_of_listed_origins_may_ask() {
    for_each_version(async |db| {
        let pages = Pages::lay(db).await;
        let Pages {
            client,
            base,
            place,
            ..
        } = &pages;
        for path in ["/query", "/query?live=true", place] {
            let preflight = client
                .request(Method::OPTIONS, format!("{base}{path}"))
                .header("origin", GOOD)
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization, prefer, last-event-id, rolegate-min-lsn",
                );
            let answer = preflight.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
            assert_eq!(
                all(&answer, "access-control-allow-origin"),
                [GOOD],
                "{path}"
            );
            let headers = all(&answer, "access-control-allow-headers");
            for name in [
                "authorization",
                "content-type",
                "if-none-match",
                "last-event-id",
                "prefer",
                "rolegate-min-lsn",
                "rolegate-txid",
            ] {
                assert!(
                    headers.contains(&name),
                    "{path}: {name} is not in {headers:?}"
                );
            }
        }
    })
    .await;
}
