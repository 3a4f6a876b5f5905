//! One effect and one answer for each key.

use aws_lc_rs::digest;
use tokio_postgres::Client;

use crate::installation::{Installation, sqlstate};

const STORE: &str = "select rolegate.idempotency_store($1, 201, '{\"x\":1}', 'the answer')";

fn hash(text: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}

/// Claims key `k` for `body` with an attempt's secret; the state and the stored answer.
async fn claim(client: &Client, body: &str, secret: &str) -> (String, Option<String>) {
    let row = client
        .query_one(
            "select state, body from rolegate.idempotency_claim('scope', 'k', $1, $2, '1 minute', '1 day')",
            &[&hash(body), &hash(secret)],
        )
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

async fn lease_ends(db: &Installation) {
    db.run("update rolegate.idempotency set lease_until = now() - interval '1 second'")
        .await;
}

fn state(name: &str) -> (String, Option<String>) {
    (name.to_owned(), None)
}

crate::on_each_version! {
    async fn a_repeat_gets_the_first_answer(db) {
        let alice = db.admitted_role("alice").await;
        let gateway = db.login("gateway").await;
        let caller = db.connect(&alice).await.unwrap();
        assert_eq!(claim(&gateway, "b", "one").await, state("new"));
        assert_eq!(claim(&gateway, "b", "two").await, state("running"));
        assert_eq!(claim(&gateway, "other", "two").await, state("conflict"));
        caller.execute(STORE, &[&b"one".as_slice()]).await.unwrap();
        let replay = ("replay".to_owned(), Some("the answer".to_owned()));
        assert_eq!(claim(&gateway, "b", "three").await, replay);
        // A wrong body learns nothing of the answer.
        assert_eq!(claim(&gateway, "other", "three").await, state("conflict"));
        db.run("update rolegate.idempotency set expires_at = now() - interval '1 second'").await;
        assert_eq!(claim(&gateway, "other", "four").await, state("new"));
    }

    async fn only_the_holder_of_the_secret_stores_and_only_once(db) {
        let alice = db.admitted_role("alice").await;
        let gateway = db.login("gateway").await;
        let caller = db.connect(&alice).await.unwrap();
        claim(&gateway, "b", "one").await;
        for wrong in [b"two".as_slice(), b"", hash("one").as_slice()] {
            assert_eq!(sqlstate(caller.execute(STORE, &[&wrong]).await), "55000");
        }
        caller.execute(STORE, &[&b"one".as_slice()]).await.unwrap();
        assert_eq!(sqlstate(caller.execute(STORE, &[&b"one".as_slice()]).await), "55000");
        // Not even the secret helps a role that was not admitted.
        let stranger = db.application_role("stranger").await;
        db.run(&format!("grant connect on database roles_{} to {stranger}", db.unique)).await;
        let stranger = db.connect(&stranger).await.unwrap();
        assert_eq!(sqlstate(stranger.execute(STORE, &[&b"one".as_slice()]).await), "42501");
    }

    async fn an_attempt_whose_lease_ended_is_taken_over_and_can_not_store(db) {
        let alice = db.admitted_role("alice").await;
        let gateway = db.login("gateway").await;
        let caller = db.connect(&alice).await.unwrap();
        assert_eq!(claim(&gateway, "b", "lost").await, state("new"));
        lease_ends(db).await;
        assert_eq!(claim(&gateway, "b", "second").await, state("new"));
        assert_eq!(sqlstate(caller.execute(STORE, &[&b"lost".as_slice()]).await), "55000");
        caller.execute(STORE, &[&b"second".as_slice()]).await.unwrap();
    }

    async fn a_lease_that_ends_while_the_answer_is_being_stored_is_not_taken_over(db) {
        let alice = db.admitted_role("alice").await;
        let gateway = db.login("gateway").await;
        let mut caller = db.connect(&alice).await.unwrap();
        claim(&gateway, "b", "one").await;
        lease_ends(db).await;
        let transaction = caller.transaction().await.unwrap();
        transaction.execute(STORE, &[&b"one".as_slice()]).await.unwrap();
        // The second attempt waits for the row; whether it started before or after the commit
        // makes no difference to what it must see.
        let (second, ()) = tokio::join!(claim(&gateway, "b", "two"), async {
            transaction.commit().await.unwrap();
        });
        assert_eq!(second.0, "replay");
    }

    async fn of_two_claims_at_once_one_is_new(db) {
        let first = db.login("gateway").await;
        let second = db.login("runtime").await;
        for round in 0..20 {
            let body = format!("b{round}");
            let (one, two) = tokio::join!(claim(&first, &body, "one"), claim(&second, &body, "two"));
            let mut states = [one.0, two.0];
            states.sort();
            assert_eq!(states, ["new", "running"]);
            db.run("delete from rolegate.idempotency").await;
        }
    }

    async fn a_claim_waits_for_one_that_has_not_committed(db) {
        let mut first = db.login("gateway").await;
        let second = db.login("gateway").await;
        let transaction = first.transaction().await.unwrap();
        transaction.execute(
            "select rolegate.idempotency_claim('scope', 'k', $1, $2, '1 minute', '1 day')",
            &[&hash("b"), &hash("one")],
        ).await.unwrap();
        let (other, ()) = tokio::join!(claim(&second, "b", "two"), async {
            transaction.rollback().await.unwrap();
        });
        assert_eq!(other, state("new"));
    }

    async fn a_release_lets_the_next_attempt_run(db) {
        let alice = db.admitted_role("alice").await;
        let gateway = db.login("gateway").await;
        claim(&gateway, "b", "one").await;
        let release = async |secret: &str| -> bool {
            gateway.query_one("select rolegate.idempotency_release($1)", &[&secret.as_bytes()])
                .await.unwrap().get(0)
        };
        assert!(!release("two").await);
        assert!(release("one").await);
        assert_eq!(claim(&gateway, "b", "two").await, state("new"));
        // A stored answer is not released.
        let caller = db.connect(&alice).await.unwrap();
        caller.execute(STORE, &[&b"two".as_slice()]).await.unwrap();
        assert!(!release("two").await);
    }

    async fn pruning_is_bounded_and_takes_only_what_expired(db) {
        let gateway = db.login("gateway").await;
        for (n, ttl) in [(1_u8, "1 day"), (2, "-1 s"), (3, "-1 s"), (4, "-1 s")] {
            gateway.execute(
                "select rolegate.idempotency_claim('s', $1, '', $2, '1 minute', $3::text::interval)",
                &[&n.to_string(), &vec![n], &ttl],
            ).await.unwrap();
        }
        let maintenance = db.login("maintenance").await;
        let prune = async |rows: i32| -> i32 {
            maintenance.query_one("select rolegate.idempotency_prune($1)", &[&rows]).await.unwrap().get(0)
        };
        assert_eq!(prune(2).await, 2);
        assert_eq!(prune(10).await, 1);
        assert_eq!(prune(10).await, 0);
    }
}
