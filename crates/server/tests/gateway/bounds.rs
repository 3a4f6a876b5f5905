//! Bounds of what a request may be, and that every refusal looks the same.

use reqwest::{Response, StatusCode};
use rolegate_server::config::GatewayConfig;
use rolegate_server::router::GATEWAY_ROUTES;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use crate::harness::{Gateway, NAME, Options, api, outcome};

const NEXT: &str = "create sequence api.numbers; \
    create function api.next() returns bigint language sql volatile security definer \
    set search_path = pg_catalog as 'select nextval(''api.numbers'')'; \
    grant execute on function api.next() to public;";

#[tokio::test]
async fn an_idempotency_key_has_1_to_255_bytes() {
    for_each_version(async |db| {
        let role = db.create_role("caller").await;
        api(db, &[&role], NEXT).await;
        let gateway = Gateway::start(db).await;
        let token = gateway.token(&role).await;
        // As a header, and in an envelope, where it may be any text.
        let by_header = |key: &str| {
            gateway
                .post("/next", Some(&token), "{}")
                .header("idempotency-key", key)
        };
        let by_member = |key: &str| {
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "next", "idempotencyKey": key});
            gateway.post("", Some(&token), &call.to_string())
        };
        let two_bytes = "é".repeat(127);
        for key in ["k", &"k".repeat(254), &"k".repeat(255), &two_bytes] {
            let send = || {
                if key.is_ascii() {
                    by_header(key)
                } else {
                    by_member(key)
                }
            };
            let (first, repeat) = (outcome(send()).await, outcome(send()).await);
            assert_eq!(
                (first.0, first.1.as_str()),
                (200, "ok"),
                "{} bytes: {}",
                key.len(),
                first.2
            );
            assert_eq!(first, repeat, "{} bytes", key.len());
        }
        let before = outcome(gateway.post("/next", Some(&token), "{}")).await.2;
        for (what, request) in [
            ("no byte", by_header("")),
            ("256 bytes", by_header(&"k".repeat(256))),
            ("257 bytes", by_header(&"k".repeat(257))),
            ("no byte in the envelope", by_member("")),
            ("256 bytes in the envelope", by_member(&"é".repeat(128))),
            ("a NUL", by_member("a\u{0}b")),
            ("two keys", by_header("a").header("idempotency-key", "b")),
            (
                "no ASCII in the header",
                gateway
                    .post("/next", Some(&token), "{}")
                    .header("idempotency-key", two_bytes.as_bytes()),
            ),
        ] {
            let (status, code, body) = outcome(request).await;
            assert_eq!(
                (status, code.as_str()),
                (400, "invalid_request"),
                "{what}: {body}"
            );
            assert!(body.contains("255 bytes"), "{what}: {body}");
        }
        let after = outcome(gateway.post("/next", Some(&token), "{}")).await.2;
        let number = |text: &str| text.parse::<i64>().expect("a number");
        assert_eq!(number(&after), number(&before) + 1, "a refused call ran");
    })
    .await;
}

#[tokio::test]
async fn a_key_is_refused_where_no_result_is_stored() {
    for_each_version(async |db| {
        let role = db.create_role("caller").await;
        let set = "create function api.rows() returns setof bigint language sql volatile \
            set search_path = pg_catalog, api as 'select api.next()'; \
            grant execute on function api.rows() to public;";
        api(db, &[&role], &[NEXT, set].concat()).await;
        let gateway = Gateway::start(db).await;
        let token = gateway.token(&role).await;
        let next = || gateway.post("/next", Some(&token), "{}");
        let batch = |key: Option<&str>| {
            let mut call = json!({"jsonrpc": "2.0", "id": 1, "method": "next"});
            if let Some(key) = key {
                call["idempotencyKey"] = key.into();
            }
            gateway.post("", Some(&token), &json!([call]).to_string())
        };
        let lines = || {
            let request = gateway.post("/rows", Some(&token), "{}");
            request.header("accept", "application/x-ndjson")
        };
        let before = outcome(next()).await.2;
        for (what, request) in [
            ("a stream", lines().header("idempotency-key", "k")),
            ("a batch", batch(None).header("idempotency-key", "k")),
            (
                "all or nothing",
                batch(Some("k")).header("rolegate-atomic", "true"),
            ),
        ] {
            let (status, code, body) = outcome(request).await;
            assert_eq!(
                (status, code.as_str()),
                (400, "invalid_request"),
                "{what}: {body}"
            );
            assert!(body.contains("idempotency key"), "{what}: {body}");
        }
        let number = |text: &str| text.trim().parse::<i64>().expect("a number");
        let after = outcome(next()).await.2;
        assert_eq!(number(&after), number(&before) + 1, "a refused call ran");
        // Without a key, and with one of its own in a batch, all of them run.
        let line = crate::harness::text(lines()).await;
        assert_eq!(number(&line.1), number(&after) + 1);
        let first = outcome(batch(Some("k"))).await;
        assert_eq!((first.0, &outcome(batch(Some("k"))).await), (200, &first));
        let atomic = outcome(batch(None).header("rolegate-atomic", "true")).await;
        let answer: Value = serde_json::from_str(&atomic.2).expect("an array");
        assert!(answer[0]["result"].is_number(), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn browsers_may_read_our_headers() {
    for_each_version(async |db| {
        let role = db.create_role("caller").await;
        api(db, &[&role], NEXT).await;
        let gateway = GatewayConfig {
            allowed_origins: vec!["https://app.example".to_owned()],
            ..GatewayConfig::default()
        };
        let options = Options {
            gateway,
            ..Options::default()
        };
        let gateway = Gateway::start_with(db, options).await;
        let token = gateway.token(&role).await;
        let send = || {
            gateway
                .post("/next", Some(&token), "{}")
                .header("origin", "https://app.example")
                .header("idempotency-key", "k")
                .send()
        };
        send().await.expect("an answer");
        let replay = send().await.expect("an answer");
        assert_eq!(replay.headers()["idempotency-replayed"], "true");
        let exposed = replay.headers()["access-control-expose-headers"]
            .to_str()
            .expect("text");
        let exposed: Vec<&str> = exposed.split(',').map(str::trim).collect();
        for name in [
            "allow",
            "etag",
            "idempotency-replayed",
            "retry-after",
            "www-authenticate",
            "x-request-id",
        ] {
            assert!(exposed.contains(&name), "{name} is not in {exposed:?}");
        }
    })
    .await;
}

async fn problem(what: &str, response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let kind = response.headers().get("content-type").cloned();
    let body = response.text().await.expect("a body");
    let kind = kind.unwrap_or_else(|| panic!("{what}: no content type: {body}"));
    assert_eq!(kind, "application/problem+json", "{what}: {body}");
    (status, serde_json::from_str(&body).expect("a problem"))
}

#[tokio::test]
async fn what_can_not_be_read_is_refused_like_everything_else() {
    for_each_version(async |db| {
        let role = db.create_role("caller").await;
        api(db, &[&role], "").await;
        let gateway = Gateway::start(db).await;
        let token = gateway.token(&role).await;
        for (method, route) in GATEWAY_ROUTES {
            for part in ["database", "method"] {
                let braced = format!("{{{part}}}");
                if !route.contains(&braced) {
                    continue;
                }
                for (bytes, is_text) in [("%ff", false), ("%c3%28", false), ("%00", true)] {
                    let path = route.replace(&braced, bytes);
                    let path = path.replace("{database}", NAME).replace("{method}", "x");
                    let url = format!("http://{}{path}", gateway.address);
                    let sent = method.parse().expect("a method");
                    let request = gateway.client.request(sent, url).bearer_auth(&token);
                    let request = request.header("content-type", "application/json");
                    let what = format!("{method} {path}");
                    if is_text {
                        // A name that nothing has.
                        let (status, _, body) = outcome(request).await;
                        assert!((400..500).contains(&status), "{what}: {status} {body}");
                        continue;
                    }
                    let response = request.send().await.expect("an answer");
                    let (status, body) = problem(&what, response).await;
                    assert_eq!(status, StatusCode::BAD_REQUEST, "{what}: {body}");
                    assert_eq!(body["code"], "invalid_params", "{what}");
                    assert_eq!(body["path"], part, "{what}: {body}");
                    assert!(body["hint"].is_string(), "{what}: {body}");
                    assert!(body["request_id"].is_string(), "{what}: {body}");
                }
            }
        }
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        for (query, path) in [
            ("", "channels"),
            ("?", "channels"),
            ("?channels", "channels"),
            ("?channels=%20,", "channels"),
            ("?other=1", "channels"),
            ("?channels=a&channels=b", "channels"),
            (&format!("?channels={}", many.join(",")), "channels"),
        ] {
            let request = gateway.get(&format!("/events{query}"), Some(&token));
            let response = request.send().await.expect("an answer");
            let (status, body) = problem(query, response).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
            assert_eq!(body["code"], "invalid_params", "{query}: {body}");
            assert_eq!(body["path"], path, "{query}: {body}");
            assert!(body["hint"].is_string(), "{query}: {body}");
        }
    })
    .await;
}
