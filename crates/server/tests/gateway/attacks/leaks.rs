//! What must not get out: texts of the database, tokens, answers to other origins, connections.

use std::fmt::Write as _;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use rolegate_pg::quote;
use rolegate_server::budget::DefaultBudget;
use rolegate_server::config::GatewayConfig;
use rolegate_testkit::for_each_version;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{MODES, tenants};
use crate::harness::{Gateway, Options, api, code, text};

#[tokio::test]
async fn errors_say_what_the_author_said_and_nothing_the_database_knows() {
    for_each_version(async |db| {
        for mode in MODES {
            let tenants = tenants(db, mode, |_, _| {
                "create table api.people (email text constraint people_email_secret unique, \
                 age int constraint people_age_secret check (age > 0)); \
                 insert into api.people values ('ann@example.org', 1); \
                 create function api.twice() returns void language sql volatile security definer \
                 set search_path = api, pg_temp as $$insert into people values ('ann@example.org', 1)$$; \
                 create function api.young() returns void language sql volatile security definer \
                 set search_path = api, pg_temp as $$insert into people values ('eve@example.org', -7)$$; \
                 create function api.secret_table() returns bigint language sql stable as \
                 $$select count(*) from api.people$$; \
                 create function api.missing() returns int language plpgsql stable as \
                 $$begin return (select hidden_column from hidden_table); end$$; \
                 create function api.broken() returns int language sql stable security definer \
                 set search_path = api, pg_temp as \
                 $$select 1 / (length(max(email)) - 15) from api.people$$; \
                 create function api.converts() returns int language sql stable security definer \
                 set search_path = api, pg_temp as $$select max(email)::int from people$$; \
                 create function api.says() returns void language plpgsql volatile as \
                 $$begin raise exception 'Too late for this order' using detail = 'It was sent.', \
                 hint = 'Ask for a refund.'; end$$; \
                 create function api.conflicts() returns void language plpgsql volatile as \
                 $$begin raise sqlstate 'PT409' using message = 'Taken.'; end$$; \
                 create function api.nothing() returns int language sql stable as 'select null::int'"
                    .to_owned()
            })
            .await;
            let (gateway, token) = (&tenants.gateway, tenants.demo_token.as_str());
            let cases = [
                ("twice", 409, "database_error", "23505"),
                ("young", 400, "database_error", "23514"),
                ("secret_table", 403, "permission_denied", "42501"),
                ("missing", 500, "database_error", "42P01"),
                ("broken", 400, "database_error", "22012"),
                ("converts", 400, "database_error", "22P02"),
            ];
            for (name, status, expected, sqlstate) in cases {
                let (got, body) = gateway.call(token, name, "").await;
                let got = (got.as_u16(), code(&body));
                assert_eq!(got, (status, expected.to_owned()), "{mode:?} {name}: {body}");
                assert!(body.contains(sqlstate), "{mode:?} {name}: {body}");
                for leak in
                    ["secret", "example.org", "people", "-7", "hidden", "select", "insert", "plpgsql", "line "]
                {
                    assert!(!body.contains(leak), "{mode:?} {name}: the answer has {leak}: {body}");
                }
            }
            let (status, body) = gateway.call(token, "says", "").await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            for part in ["Too late for this order", "It was sent.", "Ask for a refund.", "P0001"] {
                assert!(body.contains(part), "{body}");
            }
            let (status, body) = gateway.call(token, "conflicts", "").await;
            assert_eq!(status, StatusCode::CONFLICT, "{body}");
            assert!(body.contains("Taken."), "{body}");
            let (status, body) = gateway.call(token, "nothing", "").await;
            assert_eq!((status, body.as_str()), (StatusCode::OK, "null"));
        }
    })
    .await;
}

#[tokio::test]
async fn no_token_reaches_the_servers_log_or_its_activity() {
    for_each_version(async |db| {
        let superuser = db.superuser().await;
        let name = quote::ident(db.name());
        for setting in [
            "log_statement = 'all'",
            "log_min_duration_statement = 0",
            "log_parameter_max_length = -1",
            "log_parameter_max_length_on_error = -1",
            "track_activities = on",
        ] {
            let sql = format!("alter database {name} set {setting}");
            superuser.batch_execute(&sql).await.expect("a superuser may");
        }
        for mode in MODES {
            let tenants = tenants(db, mode, |_, _| {
                "create function api.fails(value text) returns int language plpgsql volatile as \
                 $$begin raise exception 'no'; end$$; \
                 create function api.waits() returns text language sql volatile as \
                 $$select 'awake' from pg_catalog.pg_sleep(0.3)$$; \
                 select rolegate.declare_safe('api.waits()')"
                    .to_owned()
            })
            .await;
            let minted: String = superuser
                .query_one("select token from rolegate.mint_api_token($1)", &[&tenants.demo])
                .await
                .expect("a token")
                .get(0);
            // Minting runs on a connection of the superuser: what is looked for is what the
            // gateway makes of it.
            let wrong = well_formed();
            let gateway = &tenants.gateway;
            for token in [minted.as_str(), wrong.as_str(), tenants.demo_token.as_str()] {
                let marker = json!({"value": "marker_of_this_call"}).to_string();
                gateway.call(token, "fails", &marker).await;
                let running = text(gateway.post("/waits", Some(token), ""));
                let look = async {
                    let mut seen = String::new();
                    for _ in 0..20 {
                        let rows = superuser
                            .query("select a::text from pg_catalog.pg_stat_activity a where datname = current_database()", &[])
                            .await
                            .expect("rows");
                        for row in rows {
                            seen.push_str(row.get(0));
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    seen
                };
                let (_, seen) = tokio::join!(running, look);
                assert!(seen.contains("rolegate_gateway"), "{seen}");
                let secret = &token[token.len() - 40..];
                assert!(!seen.contains(secret) && !seen.contains(&token[3..40]), "in pg_stat_activity");
            }
            let (status, body) = gateway.call(&wrong, "fails", "").await;
            assert_eq!((status.as_u16(), code(&body).as_str()), (401, "token_invalid"));

            let log = db.cluster().directory.join("server.log");
            let log = std::fs::read(log).expect("the server's log");
            let log = String::from_utf8_lossy(&log);
            assert!(log.contains("marker_of_this_call"), "the log has no parameters: it proves nothing");
            for token in [minted.as_str(), wrong.as_str(), tenants.demo_token.as_str()] {
                let secret = &token[token.len() - 40..];
                for line in log.lines().filter(|line| line.contains(db.name())) {
                    assert!(!line.contains(secret), "{mode:?}: a token is in the log: {line}");
                }
                assert!(!log.contains(token), "{mode:?}: a token is in the log");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn other_origins_get_nothing_unless_they_are_listed() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        api(
            db,
            &[&ann],
            "create function api.one() returns int language sql stable as 'select 1'",
        )
        .await;
        let listed = GatewayConfig {
            allowed_origins: vec!["https://good.example".to_owned()],
            ..GatewayConfig::default()
        };
        let any = GatewayConfig {
            allowed_origins: vec!["*".to_owned()],
            ..GatewayConfig::default()
        };
        for (config, origin, expected) in [
            (GatewayConfig::default(), "https://evil.example", None),
            (GatewayConfig::default(), "null", None),
            (listed.clone(), "https://evil.example", None),
            (listed.clone(), "https://good.example.evil.example", None),
            (listed.clone(), "http://good.example", None),
            (listed, "https://good.example", Some("https://good.example")),
            (any, "https://evil.example", Some("*")),
        ] {
            let options = Options {
                gateway: config,
                ..Options::default()
            };
            let gateway = Gateway::start_with(db, options).await;
            let token = gateway.token(&ann).await;
            let preflight = gateway
                .client
                .request(Method::OPTIONS, gateway.url("/one"))
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization");
            for request in [preflight, gateway.get("/one", Some(&token))] {
                let response = request
                    .header("origin", origin)
                    .send()
                    .await
                    .expect("an answer");
                let headers = response.headers();
                let allowed = headers.get("access-control-allow-origin");
                assert_eq!(
                    allowed.and_then(|value| value.to_str().ok()),
                    expected,
                    "{origin}"
                );
                assert!(
                    !headers.contains_key("access-control-allow-credentials"),
                    "{origin}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn slow_calls_are_bounded_and_leave_others_alone() {
    for_each_version(async |db| {
        for mode in MODES {
            let slow = "create function api.slow() returns text language sql volatile as \
                $$select 'done' from pg_catalog.pg_sleep(0.05)$$; \
                create function api.endless() returns text language sql volatile as \
                $$select 'done' from pg_catalog.pg_sleep(60)$$; \
                select rolegate.declare_safe('api.slow()'), rolegate.declare_safe('api.endless()')";
            let tenants = tenants(db, mode, |_, _| slow.to_owned()).await;
            let options = Options {
                mode,
                connections_per_login: 4,
                budget: DefaultBudget {
                    concurrency: 16,
                    statement_timeout: Duration::from_millis(400),
                    ..DefaultBudget::default()
                },
                ..Options::default()
            };
            let gateway = Arc::new(Gateway::start_with(db, options).await);
            let token: Arc<str> = gateway.token(&tenants.demo).await.into();
            let calls: Vec<_> = (0..320)
                .map(|_| {
                    let (gateway, token) = (Arc::clone(&gateway), Arc::clone(&token));
                    tokio::spawn(async move { gateway.call(&token, "slow", "").await })
                })
                .collect();
            let superuser = db.superuser().await;
            let mut most = 0;
            while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
                let count = "select count(*) from pg_catalog.pg_stat_activity \
                    where datname = current_database() and wait_event = 'PgSleep'";
                most = most.max(
                    superuser
                        .query_one(count, &[])
                        .await
                        .expect("a row")
                        .get::<_, i64>(0),
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let (mut done, mut refused) = (0, 0);
            for call in calls {
                let (status, body) = call.await.expect("no panic");
                match (status.as_u16(), code(&body).as_str()) {
                    (200, "ok") => done += 1,
                    (429, "budget_exceeded") => refused += 1,
                    other => panic!("{mode:?}: {other:?} {body}"),
                }
            }
            assert!((1..=4).contains(&most), "{mode:?}: {most} at the same time");
            assert!(
                done >= 4 && refused >= 1 && done + refused == 320,
                "{done} + {refused}"
            );

            // A call that would take a minute takes as long as it may, and no longer.
            let started = Instant::now();
            let (status, body) = gateway.call(&token, "endless", "").await;
            assert_eq!(
                (status.as_u16(), code(&body).as_str()),
                (504, "deadline_exceeded"),
                "{body}"
            );
            assert!(
                started.elapsed() < Duration::from_secs(5),
                "{:?}",
                started.elapsed()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_bearer_that_cannot_be_ours_costs_no_query() {
    for_each_version(async |db| {
        let sql = format!(
            "alter database {} set log_statement = 'all'",
            quote::ident(db.name())
        );
        db.superuser()
            .await
            .batch_execute(&sql)
            .await
            .expect("a superuser may");
        let gateway = Gateway::start(db).await;
        let asked = || {
            let log = std::fs::read(db.cluster().directory.join("server.log")).expect("the log");
            String::from_utf8_lossy(&log)
                .lines()
                .filter(|line| line.contains(db.name()) && line.contains("find_api_token"))
                .count()
        };
        let zeros = format!("rg_{}", "0".repeat(72));
        for token in ["x", "rg_", "rg_1234", &zeros, "a.b.c", &"z".repeat(4000)] {
            let (status, body) = gateway.call(token, "one", "").await;
            assert_eq!(
                (status.as_u16(), code(&body).as_str()),
                (401, "token_invalid"),
                "{body}"
            );
        }
        assert_eq!(asked(), 0);
        // With a right checksum it could be ours, and one query finds that it is not; it is not
        // asked again.
        let token = well_formed();
        for _ in 0..3 {
            let (status, body) = gateway.call(&token, "one", "").await;
            assert_eq!(
                (status.as_u16(), code(&body).as_str()),
                (401, "token_invalid"),
                "{body}"
            );
        }
        assert_eq!(asked(), 1);
    })
    .await;
}

/// An API token by its shape and checksum, that nobody minted.
fn well_formed() -> String {
    let mut token = format!("rg_{}", uuid::Uuid::new_v4().simple().to_string().repeat(2));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    for byte in &digest.as_ref()[..4] {
        write!(token, "{byte:02x}").expect("a text takes any text");
    }
    token
}
