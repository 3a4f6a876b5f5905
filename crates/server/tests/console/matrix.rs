//! What every route of the admin API answers to every kind of credential. The golden is a text
//! beside this file, to be read in a review; a difference fails the test and prints the new text.

use std::fmt::Write as _;

use reqwest::{Method, RequestBuilder};
use rolegate_server::config::Mode;
use rolegate_server::router::ADMIN_ENDPOINTS;
use rolegate_testkit::{Admitted, for_each_version};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::harness::{Options, code, outcome};
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
            ("producer", &open, Some(bearer(&people.producer).await)),
            (
                "another producer",
                &open,
                Some(bearer(&people.colleague).await),
            ),
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
                let job = prepared(&superuser, &people.producer, route).await;
                let body = body_for(method, route, &people.target, job);
                let job = batch(&superuser, route).await.unwrap_or(job);
                let path = route
                    .replace("{token_id}", id)
                    .replace("{id}", &job.to_string())
                    .replace("{queue}", "letters")
                    .replace("{name}", "nightly");
                assert!(
                    !path.replace("{database}", "").contains('{'),
                    "{method} {route} has no row in the security matrix"
                );
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
                let (status, code, text) = if route.ends_with("/events") {
                    stream_outcome(request).await
                } else {
                    outcome(request).await
                };
                // Of a list also whether anything is in it: others' jobs are not.
                let code = match &*text {
                    "" => "ok",
                    "[]" => "ok, none",
                    list if list.starts_with('[') => "ok, some",
                    _ => &code,
                };
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

/// A job of the producer in the state that the route is about, and the queue and the cron entry
/// that others are about.
async fn prepared(superuser: &Client, producer: &str, route: &str) -> i64 {
    let make = format!(
        "select rolegate.create_queue('letters'); \
         select rolegate.resume_queue('letters'); \
         select rolegate.set_cron('nightly', '0 3 * * *', 'print'); \
         select rolegate.resume_cron('nightly'); \
         set role \"{producer}\""
    );
    superuser.batch_execute(&make).await.expect("made");
    let enqueue = "select rolegate.enqueue('print', queue => 'letters')";
    let row = superuser.query_one(enqueue, &[]).await.expect("enqueued");
    let id: i64 = row.get(0);
    superuser.batch_execute("reset role").await.expect("reset");
    if route.contains("retry") || route.contains("/dlq") {
        let cancel = "select rolegate.cancel($1)";
        superuser.execute(cancel, &[&id]).await.expect("cancelled");
    }
    if route.contains("/dlq") {
        // Without a worker that fails at it again and again.
        let letter = "update rolegate.job_ended set state = 'failed', reason = 'terminal_error', \
             dead_letter = true where root = $1";
        superuser.execute(letter, &[&id]).await.expect("buried");
    }
    id
}

/// A batch that runs, if the route is about one.
async fn batch(superuser: &Client, route: &str) -> Option<i64> {
    if !route.contains("/batches/{id}") {
        return None;
    }
    let submit = "select rolegate.submit_batch('cancel', only_kind => 'scan')";
    let row = superuser.query_one(submit, &[]).await.expect("submitted");
    Some(row.get(0))
}

fn body_for(method: &str, route: &str, target: &str, job: i64) -> Value {
    match (method, route.trim_start_matches("/v1/{database}/")) {
        ("POST", "tokens") => json!({"role": target}),
        ("POST", "jobs") => json!({"kind": "print"}),
        ("POST", "jobs/bulk-retry" | "jobs/bulk-cancel") => json!({"ids": [job]}),
        ("POST", "dlq/bulk-retry" | "dlq/bulk-purge") => json!({"all": true}),
        ("POST", "jobs/batches" | "jobs/batches/preview") => {
            json!({"action": "cancel", "kind": "print"})
        }
        ("PATCH", "queues/{queue}") => json!({"aging_seconds": 30}),
        _ => Value::Null,
    }
}

/// The same of a stream, which does not end by itself.
async fn stream_outcome(request: RequestBuilder) -> (u16, String, String) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    if status == 200 {
        return (status, String::new(), String::new());
    }
    let body = response.text().await.expect("a body");
    (status, code(&body), body)
}
