//! Forging claims.

use std::sync::atomic::Ordering;

use rolegate_pg::quote;
use rolegate_pg::session::SessionError;

use super::stage::{Mode, Stage, code, in_each_mode, on_each_version};

const SAID: &str = "select coalesce(rolegate.claim('sub'), 'nobody')";

async fn said(stage: &Stage<'_>, sql: &str) -> String {
    code(stage.attack_and_read(&stage.alice, sql, SAID).await)
}

#[tokio::test]
async fn the_plain_setting_can_be_changed_and_nothing_believes_it() {
    in_each_mode(async |stage| {
        for sql in [
            r#"select set_config('request.jwt.claims', '{"sub": "bob"}', true)"#,
            r#"select set_config('request.jwt.claims', '{"sub": "bob"}', false)"#,
            r#"set local request.jwt.claims = '{"sub": "bob"}'"#,
            "reset request.jwt.claims",
            "reset all",
        ] {
            let sql = format!("insert into api.run values ('forged'); {sql}");
            let outcome = stage.attack(&stage.alice, &sql).await;
            assert!(
                matches!(outcome, Err(SessionError::IdentityChanged)),
                "{sql}: {outcome:?}"
            );
            let believed = format!(
                "{sql}; do $$ begin if coalesce(rolegate.claim('sub'), '') not in ('alice', '') \
                 then raise 'believed'; end if; end $$"
            );
            let outcome = stage.attack(&stage.alice, &believed).await;
            assert!(
                matches!(outcome, Err(SessionError::IdentityChanged)),
                "{sql}: {outcome:?}"
            );
        }
        assert_eq!(stage.runs("forged").await, "0");
        assert_eq!(stage.ask(&stage.bob, SAID).await.unwrap(), "bob");
        assert_eq!(stage.ask(&stage.alice, SAID).await.unwrap(), "alice");
    })
    .await;
}

#[tokio::test]
async fn signed_claims_that_nobody_signed_are_an_error() {
    in_each_mode(async |stage| {
        assert_eq!(stage.ask(&stage.alice, SAID).await.unwrap(), "alice");
        let real = stage.signer.last();
        let forged = real.replace("alice", "bob");
        assert_ne!(real, forged);
        for envelope in [
            forged.as_str(),
            "v1|1|10|0|0000000000000000||token|{\"sub\": \"bob\"}",
            "{\"sub\": \"bob\"}",
            "|||||||",
        ] {
            for local in ["true", "false"] {
                let sql = format!(
                    "select set_config('rolegate.signed_claims', {}, {local})",
                    quote::literal(envelope)
                );
                assert_eq!(said(stage, &sql).await, "28000", "{envelope}");
                // Also without asking for them: the check sees it.
                let outcome = stage.attack(&stage.alice, &sql).await;
                assert!(
                    matches!(outcome, Err(SessionError::IdentityChanged)),
                    "{outcome:?}"
                );
            }
        }
        // Without any there are no claims, never somebody else's.
        let outcome = stage
            .attack(
                &stage.alice,
                "set local rolegate.signed_claims = ''; do $$ begin \
                 if rolegate.claims() is not null then raise 'believed'; end if; end $$",
            )
            .await;
        assert!(
            matches!(outcome, Err(SessionError::IdentityChanged)),
            "{outcome:?}"
        );
        assert_eq!(stage.ask(&stage.alice, SAID).await.unwrap(), "alice");
    })
    .await;
}

#[tokio::test]
async fn an_envelope_of_another_role_is_worth_nothing() {
    in_each_mode(async |stage| {
        // In assume mode both run on the same backend.
        assert_eq!(stage.ask(&stage.bob, SAID).await.unwrap(), "bob");
        let bobs = stage.signer.last();
        let sql = format!(
            "select set_config('rolegate.signed_claims', {}, true)",
            quote::literal(&bobs)
        );
        assert_eq!(said(stage, &sql).await, "28000");
        if stage.mode == Mode::Assume {
            // Whoever becomes bob has bob's claims, and the check sees both.
            let become_bob = format!("{sql}; set local role {}", quote::ident(stage.bob.name()));
            let outcome = stage.attack(&stage.alice, &become_bob).await;
            assert!(
                matches!(outcome, Err(SessionError::IdentityChanged)),
                "{outcome:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_envelope_seen_on_another_backend_is_worth_nothing() {
    in_each_mode(async |stage| {
        let amy = stage.alice.called("amy");
        let others = stage.pools(|_| {});
        let request = super::stage::request(&amy, [rolegate_pg::Statement::once("select 1")]);
        others.run(&stage.login(&amy), request).await.unwrap();
        let amys = stage.signer.last();
        let sql = format!(
            "select set_config('rolegate.signed_claims', {}, true)",
            quote::literal(&amys)
        );
        assert_eq!(said(stage, &sql).await, "28000");
        others.close().await;
    })
    .await;
}

/// The limit of the signature, as `docs/adr/0003-forge-proof-claims.md` states it: an envelope is
/// good for its own role on its own backend until it is ten seconds old. Nobody else can read it
/// there (it is gone before the next request), and the check sees that it is not the present one.
#[tokio::test]
async fn an_envelope_of_the_same_role_and_backend_is_stopped_by_the_check() {
    in_each_mode(async |stage| {
        let amy = stage.alice.called("amy");
        assert_eq!(stage.ask(&amy, SAID).await.unwrap(), "amy");
        let amys = stage.signer.last();
        let left = "select concat(current_setting('rolegate.signed_claims'), \
                    current_setting('request.jwt.claims'))";
        let found = stage.ask(&stage.alice, left).await.unwrap();
        assert!(!found.contains("amy") && found.contains("alice"), "{found}");
        let sql = format!(
            "insert into api.run values ('replayed'); \
             select set_config('rolegate.signed_claims', {}, true)",
            quote::literal(&amys)
        );
        let outcome = stage.attack_and_read(&stage.alice, &sql, SAID).await;
        assert!(
            matches!(outcome, Err(SessionError::IdentityChanged)),
            "{outcome:?}"
        );
        assert_eq!(stage.runs("replayed").await, "0");
    })
    .await;
}

#[tokio::test]
async fn without_a_signature_there_are_no_claims() {
    in_each_mode(async |stage| {
        stage.signer.silent.store(true, Ordering::SeqCst);
        assert_eq!(stage.ask(&stage.alice, SAID).await.unwrap(), "nobody");
        // The plain setting is there, for those who say that they trust it.
        let plain = "select current_setting('request.jwt.claims')::json ->> 'sub'";
        assert_eq!(stage.ask(&stage.alice, plain).await.unwrap(), "alice");
    })
    .await;
}

#[tokio::test]
async fn principals_of_one_role_take_turns_on_one_connection() {
    on_each_version(Mode::Login, async |stage| {
        let pid = stage
            .ask(&stage.alice, "select pg_backend_pid()")
            .await
            .unwrap();
        let sql = "select concat_ws(' ', rolegate.claim('sub'), pg_backend_pid())";
        for sub in ["alice", "amy", "ann", "alice"] {
            let answer = stage.ask(&stage.alice.called(sub), sql).await.unwrap();
            assert_eq!(answer, format!("{sub} {pid}"));
        }
    })
    .await;
}
