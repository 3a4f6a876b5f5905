//! Roles that no token gets, whoever signed it.

use rolegate_pg::quote;
use rolegate_testkit::identity_provider::{Algorithm, IdentityProvider};
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{WHO, assert_discreet, assert_refused, claims, claims_with, fetched};
use crate::harness::{Gateway, Options, api, outcome};

const ES: Algorithm = Algorithm::ES256;

async fn sql(db: &TestDatabase, sql: &str) {
    db.superuser()
        .await
        .batch_execute(sql)
        .await
        .expect("the statement is valid");
}

async fn start(db: &TestDatabase) -> (IdentityProvider, Gateway) {
    let provider = IdentityProvider::start(&[ES]).await.expect("it starts");
    let options = Options {
        issuers: vec![fetched(&provider)],
        ..Options::default()
    };
    let gateway = Gateway::start_with(db, options).await;
    (provider, gateway)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of cases")]
async fn roles_that_are_special_or_too_powerful_are_refused_without_a_reason() {
    for_each_version(async |db| {
        api(db, &[], WHO).await;
        let plain = async |base: &str, attributes: &str| {
            let role = db.create_role_with(base, attributes, Admitted::No).await;
            db.list_in_peer_map(&[&role]).await;
            role
        };
        let member = plain("member", "login in role postgres").await;
        let middle = plain(
            "middle",
            &format!("nologin in role {}", quote::ident(&member)),
        )
        .await;
        let far = plain(
            "far",
            &format!("login noinherit in role {}", quote::ident(&middle)),
        )
        .await;
        let bypass = plain("bypass", "login bypassrls").await;
        let creator = plain("creator", "login createrole").await;
        let replicating = plain("replicating", "login replication").await;
        let reader = plain("reader", "login in role pg_read_all_data").await;
        let monitor = plain("monitor", "login in role pg_monitor").await;
        let engine = plain("engine", "login in role rolegate_gateway").await;
        let owner = plain("owner", "login").await;
        let stranger = plain("stranger", "login").await;
        let admitted_super = plain("super", "login superuser in role rolegate_admitted").await;
        sql(
            db,
            &format!(
                "alter database {} owner to {}",
                quote::ident(db.name()),
                quote::ident(&owner)
            ),
        )
        .await;
        let (provider, gateway) = start(db).await;
        let of = |role: &str| provider.issue(ES, claims(role));
        let claim = |changes| provider.issue(ES, claims_with("x", &changes));
        let (reserved, forbidden) = ((403, "role_reserved"), (403, "role_forbidden"));
        let cases = [
            ("none", of("none"), reserved),
            ("NONE", of("NONE"), reserved),
            ("quoted none", of("\"none\""), reserved),
            ("none, padded", of(" none "), reserved),
            ("public", of("public"), reserved),
            ("Public", of("Public"), reserved),
            ("current_user", of("current_user"), reserved),
            ("session_user", of("session_user"), reserved),
            ("pg_monitor", of("pg_monitor"), reserved),
            ("PG_READ_ALL_DATA", of("PG_READ_ALL_DATA"), reserved),
            ("empty", of(""), reserved),
            ("NUL", of("a\0b"), (401, "token_invalid")),
            ("64 bytes", of(&"a".repeat(64)), reserved),
            (
                "null",
                provider.issue(ES, {
                    let mut c = claims("x");
                    c["db_role"] = json!(null);
                    c
                }),
                (401, "token_role_missing"),
            ),
            (
                "a number",
                claim(json!({"db_role": 10})),
                (401, "token_role_missing"),
            ),
            (
                "a list",
                claim(json!({"db_role": ["postgres"]})),
                (401, "token_role_missing"),
            ),
            (
                "no claim",
                claim(json!({"db_role": null})),
                (401, "token_role_missing"),
            ),
            (
                "none in another claim",
                claim(json!({"role": "none"})),
                reserved,
            ),
            ("unknown", of("nobody_has_this_name"), (403, "role_unknown")),
            (
                "SQL",
                of("x; drop schema api cascade"),
                (403, "role_unknown"),
            ),
            ("postgres", of("postgres"), forbidden),
            ("member of a superuser", of(&member), forbidden),
            ("far from a superuser", of(&far), forbidden),
            ("admitted superuser", of(&admitted_super), forbidden),
            ("BYPASSRLS", of(&bypass), forbidden),
            ("CREATEROLE", of(&creator), forbidden),
            ("REPLICATION", of(&replicating), forbidden),
            ("member of pg_read_all_data", of(&reader), forbidden),
            ("member of pg_monitor", of(&monitor), forbidden),
            ("member of the gateway", of(&engine), forbidden),
            ("rolegate_gateway", of("rolegate_gateway"), forbidden),
            ("rolegate_owner", of("rolegate_owner"), forbidden),
            (
                "rolegate_authenticator",
                of("rolegate_authenticator"),
                forbidden,
            ),
            ("rolegate_migrator", of("rolegate_migrator"), forbidden),
            ("rolegate_runtime", of("rolegate_runtime"), forbidden),
            ("database owner", of(&owner), forbidden),
            (
                "rolegate_anonymous",
                of("rolegate_anonymous"),
                (403, "role_not_admitted"),
            ),
            (
                "rolegate_operator",
                of("rolegate_operator"),
                (403, "role_not_admitted"),
            ),
        ];
        assert_refused(
            &gateway,
            &cases,
            &[&member, &middle, "rolegate_gateway", "drop"],
        )
        .await;

        // Not admitted is the one refusal that says what to do, with the name the token has.
        let (status, code, body) = outcome(gateway.post("/who", Some(&of(&stranger)), "")).await;
        assert_eq!(
            (status, code.as_str()),
            (403, "role_not_admitted"),
            "{body}"
        );
        assert!(body.contains("rolegate roles admit"), "{body}");
        assert_discreet("not admitted", &body, &[]);
    })
    .await;
}

/// Repeats the call until it has this outcome; fails after one second.
async fn becomes(gateway: &Gateway, token: &str, expected: (u16, &str)) {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let (status, code, body) = outcome(gateway.post("/who", Some(token), "")).await;
        if (status, code.as_str()) == expected {
            return assert_discreet("replaced", &body, &[]);
        }
        assert!(
            Instant::now() < deadline,
            "not {expected:?} within a second: {status} {body}"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_role_that_was_dropped_and_made_again_is_another_role() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        let name = quote::ident(&ann);
        api(db, &[], WHO).await;
        let (provider, gateway) = start(db).await;
        let own = gateway.token(&ann).await;
        // As if the role had been here for an hour, and the token for a minute.
        sql(
            db,
            &format!(
                "update rolegate.role_sighting set first_seen = first_seen - interval '1 hour' \
                 where role_name = {}",
                quote::literal(&ann)
            ),
        )
        .await;
        sql(db, &format!("alter role {name} set work_mem = '5MB'")).await;
        let issued = claims(&ann)["iat"].as_i64().expect("a number") - 65;
        let external = provider.issue(ES, claims_with(&ann, &json!({"iat": issued})));
        becomes(&gateway, &external, (200, "ok")).await;
        becomes(&gateway, &own, (200, "ok")).await;

        let again = format!("drop role {name}; create role {name} login in role rolegate_admitted");
        sql(db, &again).await;
        becomes(&gateway, &own, (403, "role_replaced")).await;
        becomes(&gateway, &external, (403, "role_replaced")).await;
        // New tokens are for the new role.
        let token = gateway.token(&ann).await;
        becomes(&gateway, &token, (200, "ok")).await;
        becomes(&gateway, &provider.issue(ES, claims(&ann)), (200, "ok")).await;
    })
    .await;
}

#[tokio::test]
async fn a_renamed_role_leaves_its_tokens_behind() {
    for_each_version(async |db| {
        let ann = db.create_role("ann").await;
        let bob = format!("renamed_{}", db.name().trim_start_matches("test_"));
        api(db, &[], WHO).await;
        let (provider, gateway) = start(db).await;
        let own = gateway.token(&ann).await;
        let external = provider.issue(ES, claims(&ann));
        becomes(&gateway, &own, (200, "ok")).await;
        becomes(&gateway, &external, (200, "ok")).await;
        let rename = |from: &str, to: &str| {
            format!(
                "alter role {} rename to {}",
                quote::ident(from),
                quote::ident(to)
            )
        };
        sql(db, &rename(&ann, &bob)).await;
        for token in [&own, &external] {
            becomes(&gateway, token, (403, "role_unknown")).await;
        }
        // Somebody else takes the name.
        let take = format!(
            "create role {} login in role rolegate_admitted",
            quote::ident(&ann)
        );
        sql(db, &take).await;
        becomes(&gateway, &own, (403, "role_replaced")).await;
        sql(
            db,
            &format!("drop role {}; {}", quote::ident(&ann), rename(&bob, &ann)),
        )
        .await;
        becomes(&gateway, &own, (200, "ok")).await;
    })
    .await;
}
