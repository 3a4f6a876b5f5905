//! A token's life, and the bounds of what can be asked for.

use reqwest::Method;
use rolegate_model::{Clock as _, SystemClock};
use rolegate_server::config::Mode;
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use crate::harness::{Options, outcome};
use crate::setup::{Console, People, json_of};

#[tokio::test]
async fn a_token_works_from_its_minting_to_its_revocation() {
    for_each_version(async |db| {
        for mode in [Mode::Login, Mode::Assume] {
            let people = People::make(db, mode).await;
            let options = Options {
                mode,
                ..Options::default()
            };
            let console = Console::start_with(db, options).await;
            let operator = console.gateway.token(&people.operator).await;

            let wanted = json!({"role": people.target, "description": "nightly \"import\""});
            let response = console.mint(Some(&operator), &wanted).send().await;
            let response = response.expect("an answer");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.status().as_u16(), 201);
            let minted: Value =
                serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
            let (id, token) = (&minted["token_id"], &minted["token"]);
            let (id, token) = (id.as_str().expect("text"), token.as_str().expect("text"));
            assert_eq!(minted["description"], "nightly \"import\"");
            let expires = parse(&minted["expires_at"]);
            let days = expires.duration_since(SystemClock.now()).as_hours() / 24;
            assert!((89..=90).contains(&days), "{minted}");

            console.gateway_says(token, (200, "ok")).await;
            let (status, who) = console.gateway.call(token, "who", "").await;
            assert_eq!(
                (status.as_u16(), who),
                (200, format!("\"{}\"", people.target))
            );
            // The console has the gateway's routes too.
            let there = console.request(Method::GET, "/api/{database}/who", Some(token));
            assert_eq!(json_of(there, 200).await, people.target.as_str());

            let page = console.page(&operator, "").await;
            let listed = &page["tokens"][0];
            for (member, value) in [
                ("token_id", json!(id)),
                ("role", json!(people.target)),
                ("state", json!("valid")),
                ("description", json!("nightly \"import\"")),
                ("scopes", Value::Null),
                ("created_by", json!(people.operator)),
                ("expires_at", minted["expires_at"].clone()),
                ("revoked_at", Value::Null),
            ] {
                assert_eq!(listed[member], value, "{member}");
            }
            assert!(!page.to_string().contains(token), "a secret is listed");

            for attempt in ["first", "second"] {
                let (status, _, body) = outcome(console.revoke(Some(&operator), id)).await;
                assert_eq!((status, body.as_str()), (204, ""), "{attempt}");
            }
            console.gateway_says(token, (401, "token_revoked")).await;
            let listed = console.page(&operator, "").await["tokens"][0].clone();
            assert_eq!(listed["state"], "revoked");
            assert_eq!(listed["revoked_by"], people.operator.as_str());
        }
    })
    .await;
}

/// A standby is the same: what is wrong is not the method.
#[tokio::test]
async fn a_database_that_takes_no_writes_is_unavailable_for_them() {
    for_each_version(async |db| {
        let people = People::make(db, Mode::Login).await;
        let console = Console::start_with(db, Options::default()).await;
        let operator = console.gateway.token(&people.operator).await;
        let read_only = format!(
            "alter role \"{}\" set default_transaction_read_only = on",
            people.operator
        );
        let admin = db.superuser().await;
        admin.batch_execute(&read_only).await.expect("altered");
        let wanted = json!({"role": people.target, "description": ""});
        // A connection that was there before still writes until it is replaced.
        let (status, code, body) = loop {
            let answer = outcome(console.mint(Some(&operator), &wanted)).await;
            if answer.0 != 201 {
                break answer;
            }
        };
        assert_eq!(
            (status, code.as_str()),
            (503, "database_unavailable"),
            "{body}"
        );
        assert!(
            body.contains("25006") && body.contains("no writes"),
            "{body}"
        );
        console.page(&operator, "").await;
    })
    .await;
}

#[tokio::test]
async fn a_token_lives_as_long_as_it_was_asked_for() {
    for_each_version(async |db| {
        let people = People::make(db, Mode::Login).await;
        // The role's own time zone is not the one of answers.
        let own = format!(
            "alter role \"{}\" set timezone = 'Asia/Tokyo'",
            people.operator
        );
        db.superuser().await.batch_execute(&own).await.expect("set");
        let console = Console::start(db).await;
        let operator = console.gateway.token(&people.operator).await;
        for seconds in [60, 3660 * 86_400] {
            let wanted = json!({"role": people.target, "expires_in": seconds});
            let minted = console.minted(&operator, &wanted).await;
            let text = minted["expires_at"].as_str().expect("a time");
            assert!(text.ends_with("+00:00"), "{text}");
            let left = parse(&minted["expires_at"]).duration_since(SystemClock.now());
            assert!(
                (seconds - 30..=seconds).contains(&left.as_secs()),
                "{left:?}"
            );
        }
        let never = json!({"role": people.target, "expires_in": "never"});
        let minted = console.minted(&operator, &never).await;
        assert_eq!(minted["expires_at"], Value::Null);
        let token = minted["token"].as_str().expect("a token");
        console.gateway_says(token, (200, "ok")).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_out_of_bounds_is_named() {
    for_each_version(async |db| {
        let people = People::make(db, Mode::Login).await;
        let console = Console::start(db).await;
        let operator = console.gateway.token(&people.operator).await;
        let token = Some(operator.as_str());
        let target = &people.target;
        let long = "x".repeat(501);
        for (body, path) in [
            (json!({}), "role"),
            (json!({"role": "none"}), "role"),
            (json!({"role": "x".repeat(64)}), "role"),
            (json!({"role": "a\u{0}b"}), "role"),
            (json!({"role": target, "description": long}), "description"),
            (
                json!({"role": target, "description": "\u{0}"}),
                "description",
            ),
            (json!({"role": target, "expires_in": 59}), "expires_in"),
            (json!({"role": target, "expires_in": 1e300}), "expires_in"),
            (
                json!({"role": target, "expires_in": "for ever"}),
                "expires_in",
            ),
            (
                json!({"role": target, "never_expires": true}),
                "never_expires",
            ),
            (json!({"role": target, "scopes": {"role": "x"}}), "scopes"),
            (
                json!({"role": target, "scopes": {"functions": ["a\u{0}"]}}),
                "scopes.functions[0]",
            ),
        ] {
            refused(
                console.mint(token, &body),
                (400, "invalid_params"),
                Some(path),
            )
            .await;
        }
        for (query, path) in [
            ("?role=", "role"),
            ("?role=a%00b", "role"),
            ("?revoked=yes", "revoked"),
            ("?limit=0", "limit"),
            ("?limit=201", "limit"),
            ("?limit=-1", "limit"),
            ("?limit=1&limit=2", "limit"),
            ("?after=1", "after"),
            ("?after=00000000-0000-0000-0000-000000000000", "after"),
            ("?state=valid", "state"),
        ] {
            refused(
                console.list(token, query),
                (400, "invalid_params"),
                Some(path),
            )
            .await;
        }
        let expected = (400, "invalid_params");
        refused(console.revoke(token, "x%00"), expected, Some("token_id")).await;
        let nobody = "00000000-0000-0000-0000-000000000000";
        refused(console.revoke(token, nobody), (404, "not_found"), None).await;

        let tokens = "/v1/{database}/tokens";
        let post = || console.request(Method::POST, tokens, token);
        let json = "application/json";
        let huge = json!({"role": target, "description": "x".repeat(70_000)}).to_string();
        for (request, expected) in [
            (
                post().header("content-type", json).body("{"),
                (400, "parse_error"),
            ),
            (
                post().header("content-type", json).body(huge),
                (413, "body_too_large"),
            ),
            (
                post().header("content-type", "text/plain").body("{}"),
                (415, "unsupported_media_type"),
            ),
            (
                console.request(Method::PUT, tokens, token),
                (405, "method_not_allowed"),
            ),
            (
                console.request(Method::GET, "/v1/other/tokens", token),
                (404, "database_unknown"),
            ),
        ] {
            refused(request, expected, None).await;
        }
        let page = console.page(&operator, "").await;
        assert_eq!(page["tokens"], json!([]), "a refusal left something");
    })
    .await;
}

async fn refused(request: reqwest::RequestBuilder, expected: (u16, &str), path: Option<&str>) {
    let response = request.send().await.expect("an answer");
    let kind = response.headers()["content-type"].clone();
    let status = response.status().as_u16();
    let body = response.text().await.expect("a body");
    assert_eq!(kind, "application/problem+json", "{body}");
    let problem: Value = serde_json::from_str(&body).expect("a problem");
    assert_eq!(
        (status, problem["code"].as_str()),
        (expected.0, Some(expected.1)),
        "{body}"
    );
    assert_eq!(problem["path"].as_str(), path, "{body}");
    assert!(path.is_none() || problem["hint"].is_string(), "{body}");
}

#[tokio::test]
async fn pages_have_every_token_once() {
    for_each_version(async |db| {
        let people = People::make(db, Mode::Login).await;
        let console = Console::start(db).await;
        let operator = console.gateway.token(&people.operator).await;
        let mut minted = Vec::new();
        for number in 0..5 {
            let role = if number == 2 {
                &people.operator
            } else {
                &people.target
            };
            let token = console.minted(&operator, &json!({"role": role})).await;
            minted.push(token["token_id"].as_str().expect("an id").to_owned());
        }
        minted.reverse();
        let walk = async |filter: &str| {
            let (mut seen, mut sizes, mut after) = (Vec::new(), Vec::new(), String::new());
            loop {
                let page = console
                    .page(&operator, &format!("?limit=2{filter}{after}"))
                    .await;
                let tokens = page["tokens"].as_array().expect("a list");
                sizes.push(tokens.len());
                let ids = tokens.iter().filter_map(|token| token["token_id"].as_str());
                seen.extend(ids.map(str::to_owned));
                match page["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => return (seen, sizes),
                }
            }
        };
        assert_eq!(walk("").await, (minted.clone(), vec![2, 2, 1]));

        outcome(console.revoke(Some(&operator), &minted[1])).await;
        let without = |leave: &[usize]| -> Vec<String> {
            let keep = minted
                .iter()
                .enumerate()
                .filter(|(i, _)| !leave.contains(i));
            keep.map(|(_, id)| id.clone()).collect()
        };
        // A last page that is full has no next one.
        assert_eq!(walk("&revoked=false").await, (without(&[1]), vec![2, 2]));
        assert_eq!(walk("&revoked=true").await.0, [minted[1].clone()]);
        let role = format!("&role={}", people.target);
        assert_eq!(walk(&role).await, (without(&[2]), vec![2, 2]));
        assert_eq!(walk("&role=nobody").await, (Vec::new(), vec![0]));
    })
    .await;
}

#[tokio::test]
async fn the_rate_of_a_role_counts_here_too() {
    for_each_version(async |db| {
        let people = People::make(db, Mode::Login).await;
        let mut options = Options::default();
        options.budget.requests_per_second = Some(1);
        let console = Console::start_with(db, options).await;
        let viewer = console.gateway.token(&people.viewer).await;
        console.page(&viewer, "").await;
        let response = console.list(Some(&viewer), "").send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status().as_u16(), 429);
        assert!(response.headers().contains_key("retry-after"));
    })
    .await;
}

fn parse(time: &Value) -> jiff::Timestamp {
    time.as_str()
        .expect("a time")
        .parse()
        .expect("as in RFC 3339")
}
