//! Tokens that were imported from `PgArachne`.

use std::time::Duration;

use rolegate_testkit::for_each_version;

use crate::harness::{Gateway, Options, api, outcome};

const WHO: &str = "create function api.who() returns text language sql stable \
    set search_path = pg_catalog begin atomic select current_user::text; end";

#[tokio::test]
async fn imported_tokens_are_bearers_where_they_are_switched_on() {
    for_each_version(async |db| {
        let role = db.create_role("alice").await;
        api(db, &[&role], WHO).await;
        let superuser = db.superuser().await;
        // What the peer gave out: 64 digits. What it stored, and what is copied: their SHA-256.
        let (bearer, revoked, unknown) = ("ab".repeat(32), "cd".repeat(32), "ef".repeat(32));
        for bearer in [&bearer, &revoked] {
            superuser
                .execute(
                    "select rolegate.import_api_token( \
                     pg_catalog.sha256(pg_catalog.convert_to($1, 'UTF8')), $2, 'old', null)",
                    &[bearer, &role],
                )
                .await
                .expect("imported");
        }
        superuser
            .batch_execute(&format!(
                "select rolegate.revoke_api_token(token_id) from rolegate.api_token \
                 where token_hash = pg_catalog.sha256('{revoked}'::bytea)"
            ))
            .await
            .expect("revoked");

        let on = Options {
            imported_tokens: true,
            ..Options::default()
        };
        let with_key = Gateway::start_with(db, on).await;
        let without = Gateway::start(db).await;
        let ask = |gateway: &Gateway, bearer: &str| {
            let request = gateway.get("/who", Some(bearer));
            outcome(request.timeout(Duration::from_secs(3)))
        };
        let said = ask(&with_key, &bearer).await;
        assert_eq!((said.0, said.2), (200, format!("\"{role}\"")));
        // The peer wrote lower case, and the hash is that of the text.
        for (bearer, code) in [
            (&revoked, "token_revoked"),
            (&unknown, "token_invalid"),
            (&bearer.to_uppercase(), "token_invalid"),
            (&bearer[1..].to_owned(), "token_invalid"),
        ] {
            let said = ask(&with_key, bearer).await;
            assert_eq!(
                (said.0, said.1.as_str()),
                (401, code),
                "{bearer}: {}",
                said.2
            );
        }

        // Whoever asks for a token now waits, so an answer is one without a query.
        let blocked = "begin; lock rolegate.api_token in access exclusive mode";
        superuser.batch_execute(blocked).await.expect("locked");
        for bearer in [&bearer, &revoked, &unknown] {
            let said = ask(&without, bearer).await;
            assert_eq!(
                (said.0, said.1.as_str()),
                (401, "token_invalid"),
                "{bearer}"
            );
        }
        let asks = with_key.get("/who", Some(&"01".repeat(32)));
        let asks = asks.timeout(Duration::from_millis(500)).send().await;
        assert!(asks.expect_err("it waits for the lock").is_timeout());
        superuser.batch_execute("rollback").await.expect("unlocked");
    })
    .await;
}
