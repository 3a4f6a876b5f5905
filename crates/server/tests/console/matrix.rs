//! What every route of the admin API answers to every kind of credential. The golden is a text
//! beside this file, to be read in a review; a difference fails the test and prints the new text.

use std::fmt::Write as _;

use reqwest::Method;
use rolegate_server::config::Mode;
use rolegate_server::router::ADMIN_ENDPOINTS;
use rolegate_testkit::{Admitted, for_each_version};
use serde_json::json;

use crate::harness::{Options, outcome};
use crate::setup::{Console, People};

#[tokio::test]
async fn every_route_answers_every_credential_as_committed() {
    for_each_version(async |db| {
        let people = People::make(db, Mode::Login).await;
        let outside = db.create_role_with("outside", "login", Admitted::No).await;
        let open = Console::start(db).await;
        let closed = Options {
            anonymous: false,
            ..Options::default()
        };
        let closed = Console::start_with(db, closed).await;
        let bearer = async |role: &str| format!("Bearer {}", open.gateway.token(role).await);
        let operator = bearer(&people.operator).await;
        let token = operator.trim_start_matches("Bearer ");
        // The signature is longer than what is cut off.
        let forged = format!("{}AAAA", &operator[..operator.len() - 4]);
        let own = json!({"role": people.operator});
        let minted = open.minted(token, &own).await;
        let revoked = minted["token"].as_str().expect("a token").to_owned();
        let id = minted["token_id"].as_str().expect("an id");
        outcome(open.revoke(Some(token), id)).await;
        open.gateway_says(&revoked, (401, "token_revoked")).await;

        // A role that is signed for while it is admitted, and is not any more.
        let superuser = db.superuser().await;
        let admitted = format!("grant rolegate_admitted to \"{outside}\"");
        superuser.batch_execute(&admitted).await.expect("granted");
        db.list_in_peer_map(&[&outside]).await;
        let outside_bearer = bearer(&outside).await;
        let removed = format!("revoke rolegate_admitted from \"{outside}\"");
        superuser.batch_execute(&removed).await.expect("revoked");
        let own = outside_bearer.trim_start_matches("Bearer ");
        open.gateway_says(own, (403, "role_not_admitted")).await;

        let credentials = [
            ("no token, anonymous off", &closed, None),
            ("no token, anonymous on", &open, None),
            ("malformed header", &open, Some("Bearer a b".to_owned())),
            ("wrong signature", &open, Some(forged)),
            ("revoked token", &open, Some(format!("Bearer {revoked}"))),
            ("role not admitted", &open, Some(outside_bearer)),
            ("ordinary role", &open, Some(bearer(&people.ordinary).await)),
            ("viewer", &open, Some(bearer(&people.viewer).await)),
            (
                "operator, no member",
                &open,
                Some(bearer(&people.stranger).await),
            ),
            ("operator", &open, Some(operator.clone())),
        ];
        let mut actual = String::new();
        for endpoint in ADMIN_ENDPOINTS {
            let (method, route) = (endpoint.method, endpoint.path);
            writeln!(actual, "{method} {route}").expect("a text takes any line");
            for (what, console, credential) in &credentials {
                let body = match (method, route) {
                    ("POST", "/v1/{database}/tokens") => json!({"role": people.target}),
                    (
                        "GET" | "DELETE",
                        "/v1/{database}/tokens"
                        | "/v1/{database}/tokens/{token_id}"
                        | "/v1/openapi.json",
                    ) => json!(null),
                    _ => panic!("{method} {route} has no row in the security matrix"),
                };
                let path = route.replace("{token_id}", id);
                let sent: Method = method.parse().expect("a method");
                let mut request = console.request(sent, &path, None);
                if !body.is_null() {
                    request = request
                        .header("content-type", "application/json")
                        .body(body.to_string());
                }
                if let Some(credential) = credential {
                    request = request.header("authorization", credential);
                }
                let (status, code, text) = outcome(request).await;
                let code = if text.is_empty() { "ok" } else { &code };
                writeln!(actual, "    {what:<24} {status} {code}").expect("a text takes any line");
            }
        }
        assert!(
            actual == include_str!("matrix/routes.txt"),
            "routes.txt differs from what is committed; the outcomes are now:\n{actual}"
        );
    })
    .await;
}
