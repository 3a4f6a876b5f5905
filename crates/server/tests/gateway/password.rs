//! The password login: a token for whoever PostgreSQL let in with SCRAM, and for nobody else.

use std::num::NonZeroU32;
use std::sync::Arc;

use rolegate_auth::PasswordCheck;
use rolegate_auth::password::{LoginLimits, LoginRate, PasswordTarget};
use rolegate_model::SystemClock;
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::{Gateway, NAME, Options, api, code, outcome};
use crate::identity::WHO;

async fn start(db: &TestDatabase, port: u16, limits: LoginLimits) -> Gateway {
    let target = PasswordTarget {
        host: "127.0.0.1".to_owned(),
        port,
        database: db.name().to_owned(),
        tls: None,
    };
    let check = PasswordCheck::new(target, limits, Arc::new(SystemClock));
    Gateway::start_with(
        db,
        Options {
            password: Some(check),
            ..Options::default()
        },
    )
    .await
}

async fn login(gateway: &Gateway, login: &str, password: &str) -> (u16, String, String) {
    let body = json!({"login": login, "password": password}).to_string();
    outcome(gateway.post("/login", None, &body)).await
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).expect("JSON")
}

/// A role that may log in through the socket and with the password `right`.
async fn role_with_password(db: &TestDatabase) -> String {
    db.create_role_with("ann", "login password 'right'", Admitted::Login)
        .await
}

/// Limits that these tests do not run into.
fn generous() -> LoginLimits {
    let many = NonZeroU32::new(10_000).expect("not zero");
    let rate = LoginRate {
        burst: many,
        per_minute: many,
    };
    LoginLimits {
        per_address: rate,
        per_login: rate,
        global: rate,
        ..LoginLimits::default()
    }
}

#[tokio::test]
async fn the_right_password_gives_a_token_that_works() {
    for_each_version(async |db| {
        let ann = role_with_password(db).await;
        api(db, &[], WHO).await;
        let gateway = start(db, db.cluster().port, generous()).await;
        let (status, _, body) = login(&gateway, &ann, "right").await;
        assert_eq!(status, 200, "{body}");
        let answer = parsed(&body);
        assert_eq!(answer["token_type"], "Bearer");
        let token = answer["token"].as_str().expect("a token");
        let (_, body) = gateway.call(token, "who", "").await;
        assert_eq!(body, json!(ann).to_string());
        // The same as a method of JSON-RPC, without any credential.
        let request = json!({
            "jsonrpc": "2.0", "id": 1, "method": "login",
            "params": {"login": ann, "password": "right"},
        });
        let (status, _, body) = outcome(gateway.post("", None, &request.to_string())).await;
        assert_eq!(status, 200, "{body}");
        let token = parsed(&body)["result"]["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let (_, body) = gateway.call(&token, "who", "").await;
        assert_eq!(body, json!(ann).to_string());
    })
    .await;
}

#[tokio::test]
async fn every_failure_is_the_same_answer() {
    for_each_version(async |db| {
        let ann = role_with_password(db).await;
        let without = db.create_role("without").await;
        let nologin = db
            .create_role_with("nologin", "nologin password 'right'", Admitted::No)
            .await;
        let unadmitted = db
            .create_role_with("unadmitted", "login password 'right'", Admitted::No)
            .await;
        let gateway = start(db, db.cluster().port, generous()).await;
        let injected = format!("app user=postgres dbname={}", db.name());
        let cases = [
            (ann.as_str(), "wrong"),
            ("nobody_has_this_name", "right"),
            (&without, "right"),
            (&without, ""),
            (&nologin, "right"),
            (&ann, ""),
            (&ann, "right\0"),
            (&ann, "right\0 host=127.0.0.1"),
            (&ann, "x host=127.0.0.1 port=5499"),
            (&ann, "x' host='127.0.0.1"),
            (&ann, "md5aa0b0c0d0e0f00112233445566778899"),
            ("none", "right"),
            ("public", "right"),
            ("pg_monitor", "right"),
            ("", "right"),
            (&injected, "right"),
            ("ann\0", "right"),
            ("rolegate_gateway", ""),
            ("rolegate_gateway", "right"),
            // Its CONNECT is missing: the server says no after the exchange.
            (&unadmitted, "right"),
        ];
        let mut answers = Vec::new();
        for (name, password) in cases {
            let (status, code, body) = login(&gateway, name, password).await;
            assert_eq!(
                (status, code.as_str()),
                (401, "login_failed"),
                "{name:?}: {body}"
            );
            let id = parsed(&body)["request_id"]
                .as_str()
                .expect("an id")
                .to_owned();
            answers.push(body.replace(&id, "ID"));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:#?}");
    })
    .await;
}

#[tokio::test]
async fn the_superusers_right_password_gives_no_token() {
    for_each_version(async |db| {
        let powerful = db
            .create_role_with("powerful", "login superuser password 'right'", Admitted::No)
            .await;
        let attributes = "login password 'right' in role postgres, rolegate_admitted";
        let member = db
            .create_role_with("member", attributes, Admitted::No)
            .await;
        let gateway = start(db, db.cluster().port, generous()).await;
        for name in [&powerful, &member] {
            let (status, code, body) = login(&gateway, name, "right").await;
            assert_eq!((status, code.as_str()), (403, "role_forbidden"), "{body}");
            assert!(
                !body.contains("token\"") && !body.contains("postgres"),
                "{body}"
            );
            let (status, code, _) = login(&gateway, name, "wrong").await;
            assert_eq!((status, code.as_str()), (401, "login_failed"));
        }
    })
    .await;
}

/// A server that lets everybody in, or asks for a password it can read. Counts its clients.
async fn credulous(answer: &'static [u8]) -> (u16, Arc<std::sync::atomic::AtomicU32>) {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let clients = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = Arc::clone(&clients);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                // What it gets does not matter to such a server.
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.read(&mut buffer).await;
                // AuthenticationOk and ReadyForQuery, whatever the password was.
                let _ = stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await;
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    (port, clients)
}

#[tokio::test]
async fn a_server_that_does_not_check_the_password_proves_nothing() {
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";
    // SASL with SCRAM, and then a plain AuthenticationOk instead of the proof.
    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    for_each_version(async |db| {
        let ann = role_with_password(db).await;
        for answer in [OK, CLEARTEXT, MD5, SASL] {
            let (port, clients) = credulous(answer).await;
            let gateway = start(db, port, generous()).await;
            let (status, code, body) = login(&gateway, &ann, "right").await;
            assert_eq!((status, code.as_str()), (401, "login_failed"), "{body}");
            assert_eq!(clients.load(std::sync::atomic::Ordering::SeqCst), 1);
        }
        // Words of a connection string in a password do not lead there.
        let (port, clients) = credulous(OK).await;
        let gateway = start(db, db.cluster().port, generous()).await;
        for password in [
            format!("x host=127.0.0.1 port={port}"),
            format!("x' host='127.0.0.1' port='{port}"),
            format!("x hostaddr=127.0.0.1 port={port} sslmode=disable"),
        ] {
            let (status, _, _) = login(&gateway, &ann, &password).await;
            assert_eq!(status, 401);
            let name = format!("{ann} {password}");
            let (status, _, _) = login(&gateway, &name, "right").await;
            assert_eq!(status, 401);
        }
        assert_eq!(clients.load(std::sync::atomic::Ordering::SeqCst), 0);
    })
    .await;
}

#[tokio::test]
async fn too_many_attempts_are_refused_with_the_time_to_wait() {
    for_each_version(async |db| {
        let ann = role_with_password(db).await;
        let three = NonZeroU32::new(3).expect("not zero");
        let one = NonZeroU32::MIN;
        let limits = LoginLimits {
            per_login: LoginRate {
                burst: three,
                per_minute: one,
            },
            ..generous()
        };
        let gateway = start(db, db.cluster().port, limits).await;
        for _ in 0..3 {
            assert_eq!(login(&gateway, &ann, "wrong").await.0, 401);
        }
        let body = json!({"login": ann, "password": "right"}).to_string();
        let response = gateway
            .post("/login", None, &body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status().as_u16(), 429);
        let wait: u64 = response.headers()["retry-after"]
            .to_str()
            .expect("a number")
            .parse()
            .expect("a number");
        assert!((1..=60).contains(&wait), "{wait}");
        let body = response.text().await.expect("a body");
        assert_eq!(code(&body), "login_throttled");
        // Somebody else is not locked out, and names that nobody has are counted the same.
        assert_eq!(login(&gateway, "nobody_has_this_name", "x").await.0, 401);
        for _ in 0..2 {
            login(&gateway, "nobody_has_this_name", "x").await;
        }
        assert_eq!(login(&gateway, "nobody_has_this_name", "x").await.0, 429);
    })
    .await;
}

#[tokio::test]
async fn the_database_of_a_login_is_configured_and_never_named_by_the_caller() {
    for_each_version(async |db| {
        let ann = role_with_password(db).await;
        let gateway = start(db, db.cluster().port, generous()).await;
        let body = json!({"login": ann, "password": "right"}).to_string();
        for name in [
            "postgres",
            db.name(),
            "app%20user=postgres",
            "app%20user%3Dpostgres",
            "app%00",
            "app'--",
            "APP",
        ] {
            let url = format!("http://{}/api/{name}/login", gateway.address);
            let request = gateway
                .client
                .post(url)
                .header("content-type", "application/json");
            let (status, code, answer) = outcome(request.body(body.clone())).await;
            assert_eq!(
                (status, code.as_str()),
                (404, "database_unknown"),
                "{name}: {answer}"
            );
        }
        // Members that are not known are refused, not ignored.
        let more = json!({
            "login": ann, "password": "right", "database": "postgres", "host": "127.0.0.1",
        });
        let (status, code, _) = outcome(gateway.post("/login", None, &more.to_string())).await;
        assert_eq!((status, code.as_str()), (400, "invalid_params"), "{NAME}");
    })
    .await;
}
