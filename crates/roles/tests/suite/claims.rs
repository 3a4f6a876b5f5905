//! `rolegate.claims()` shows what the gateway signed, and refuses everything else.

use aws_lc_rs::hmac;
use rolegate_model::claims::{Binding, Envelope, SETTING};
use tokio_postgres::Client;

use crate::installation::{Installation, hex, sqlstate};

/// What the gateway asks once for each connection, as the connected application role.
const BINDING_QUERY: &str = "select d.oid, pg_catalog.pg_backend_pid(), \
    (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8 \
    from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()";

struct Signer {
    key_id: i32,
    key: hmac::Key,
}

impl Signer {
    async fn new(db: &Installation) -> Self {
        let row = db
            .login("gateway")
            .await
            .query_one("select key_id, key from rolegate.claim_signing_key()", &[])
            .await
            .unwrap();
        Self {
            key_id: row.get(0),
            key: hmac::Key::new(hmac::HMAC_SHA256, row.get::<_, &[u8]>(1)),
        }
    }

    fn sign(&self, envelope: Envelope<'_>, binding: Binding) -> String {
        let mac = hmac::sign(&self.key, envelope.signed_text(binding).as_bytes());
        envelope.to_setting(&hex(mac.as_ref()))
    }
}

async fn binding(client: &Client) -> Binding {
    let row = client.query_one(BINDING_QUERY, &[]).await.unwrap();
    Binding {
        database_oid: row.get(0),
        backend_pid: row.get(1),
        server_start_us: row.get(2),
    }
}

async fn role_oid(client: &Client, role: &str) -> u32 {
    client
        .query_one(
            "select oid from pg_catalog.pg_roles where rolname = $1::text",
            &[&role],
        )
        .await
        .unwrap()
        .get(0)
}

async fn now_us(client: &Client) -> i64 {
    client
        .query_one(
            "select (extract(epoch from clock_timestamp()) * 1000000)::int8",
            &[],
        )
        .await
        .unwrap()
        .get(0)
}

/// An envelope for `role`, as good as the gateway's.
async fn envelope<'a>(
    client: &Client,
    role: &str,
    signer: &Signer,
    claims: &'a str,
) -> Envelope<'a> {
    Envelope {
        key_id: signer.key_id,
        role_oid: role_oid(client, role).await,
        issued_at_us: now_us(client).await,
        nonce: 0x0123_4567_89ab_cdef,
        token_id: "token|1",
        claims,
    }
}

async fn set(client: &Client, value: &str) {
    client
        .execute(
            "select pg_catalog.set_config($1, $2, false)",
            &[&SETTING, &value],
        )
        .await
        .unwrap();
}

async fn claims(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    client
        .query_one("select rolegate.claims()::text", &[])
        .await
        .map(|row| row.get(0))
}

async fn assert_refused(client: &Client, value: &str, why: &str) {
    set(client, value).await;
    let error = claims(client).await.expect_err(why);
    let database = error.as_db_error().unwrap();
    assert_eq!(database.code().code(), "28000", "{why}");
    assert_eq!(
        database.message(),
        "the signed claims do not verify",
        "{why}"
    );
    assert_eq!(database.detail(), None, "{why}");
}

crate::on_each_version! {
    async fn what_the_gateway_signed_is_shown(db) {
        let alice = db.admitted_role("alice").await;
        let client = db.connect(&alice).await.unwrap();
        let signer = Signer::new(db).await;
        let bound = binding(&client).await;
        for text in [
            r#"{"sub": "alice", "org_id": 7}"#,
            r#"{"sub": "a|b|c", "name": "Größe 漢字", "n": 9007199254740993, "p": 1.10}"#,
            "{}",
        ] {
            let good = envelope(&client, &alice, &signer, text).await;
            set(&client, &signer.sign(good, bound)).await;
            let shown = claims(&client).await.unwrap().unwrap();
            let same: bool = client
                .query_one("select $1::text::jsonb = $2::text::jsonb", &[&shown, &text])
                .await.unwrap().get(0);
            assert!(same, "{shown}");
        }
        let good = envelope(&client, &alice, &signer, r#"{"sub": "alice", "n": 1.10}"#).await;
        let empty_token = Envelope { token_id: "", ..good };
        for one in [good, empty_token] {
            set(&client, &signer.sign(one, bound)).await;
            let row = client
                .query_one("select rolegate.claim('sub'), rolegate.claim('n'), rolegate.claim('x')", &[])
                .await.unwrap();
            assert_eq!(row.get::<_, Option<&str>>(0), Some("alice"));
            assert_eq!(row.get::<_, Option<&str>>(1), Some("1.10"));
            assert_eq!(row.get::<_, Option<&str>>(2), None);
        }
    }

    async fn absent_claims_are_null(db) {
        let client = db.login("anonymous").await;
        assert_eq!(claims(&client).await.unwrap(), None);
        set(&client, "").await;
        assert_eq!(claims(&client).await.unwrap(), None);
        let row = client.query_one("select rolegate.claim('sub')", &[]).await.unwrap();
        assert_eq!(row.get::<_, Option<&str>>(0), None);
    }

    async fn an_envelope_for_anything_else_is_refused(db) {
        let alice = db.admitted_role("alice").await;
        let bob = db.admitted_role("bob").await;
        let client = db.connect(&alice).await.unwrap();
        let signer = Signer::new(db).await;
        let bound = binding(&client).await;
        let good = envelope(&client, &alice, &signer, r#"{"sub": "alice"}"#).await;

        let other_pid = Binding { backend_pid: bound.backend_pid + 1, ..bound };
        assert_refused(&client, &signer.sign(good, other_pid), "pid").await;
        let other_start = Binding { server_start_us: bound.server_start_us + 1, ..bound };
        assert_refused(&client, &signer.sign(good, other_start), "server start").await;
        let other_database = Binding { database_oid: bound.database_oid + 1, ..bound };
        assert_refused(&client, &signer.sign(good, other_database), "database").await;
        let bobs = Envelope { role_oid: role_oid(&client, &bob).await, ..good };
        assert_refused(&client, &signer.sign(bobs, bound), "role").await;
        let old = Envelope { issued_at_us: good.issued_at_us - 11_000_000, ..good };
        assert_refused(&client, &signer.sign(old, bound), "old").await;
        let early = Envelope { issued_at_us: good.issued_at_us + 15_000_000, ..good };
        assert_refused(&client, &signer.sign(early, bound), "future").await;
        let unknown_key = Envelope { key_id: good.key_id + 1, ..good };
        assert_refused(&client, &signer.sign(unknown_key, bound), "unknown key").await;
        let own_key = Signer { key_id: good.key_id, key: hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]) };
        assert_refused(&client, &own_key.sign(good, bound), "another key").await;

        // The control: nothing but what was changed above made these fail.
        set(&client, &signer.sign(good, bound)).await;
        assert!(claims(&client).await.unwrap().is_some());
    }

    async fn a_changed_envelope_is_refused(db) {
        let alice = db.admitted_role("alice").await;
        let client = db.connect(&alice).await.unwrap();
        let signer = Signer::new(db).await;
        let bound = binding(&client).await;
        let good = envelope(&client, &alice, &signer, r#"{"sub": "alice"}"#).await;
        let text = signer.sign(good, bound);
        let fields: Vec<&str> = text.splitn(8, '|').collect();
        let changed = |at: usize, value: &str| {
            let mut fields = fields.clone();
            fields[at] = value;
            fields.join("|")
        };
        for (at, value) in [
            (0, "v2"), (0, ""), (1, "0"), (1, "x"), (1, "99999999999999999999"), (2, "10"), (2, ""),
            (3, "x"), (3, "-1"), (3, "99999999999999999999999"), (4, "0123456789abcdee"), (4, ""),
            (5, ""), (5, "00"), (5, &"0".repeat(64)), (5, &fields[5].to_uppercase()), (6, "other"),
            (7, "{}"), (7, r#"{"sub": "mallory"}"#), (7, r#"{"sub": "alice"} "#), (7, ""),
        ] {
            assert_refused(&client, &changed(at, value), &format!("{at} {value}")).await;
        }
        for text in ["v1", "|", "||||||||||||", "v1|||||||", "x", " ", "{\"sub\":\"alice\"}", &"|v1".repeat(9000)] {
            assert_refused(&client, text, text).await;
        }
        // Moving the border between token id and claims.
        let moved = text.replace(r#"|{"sub""#, r#"{"sub""#);
        assert_refused(&client, &moved, "moved border").await;
        set(&client, &text).await;
        assert!(claims(&client).await.unwrap().is_some());
    }

    async fn a_replay_on_another_backend_is_refused(db) {
        let alice = db.admitted_role("alice").await;
        let client = db.connect(&alice).await.unwrap();
        let signer = Signer::new(db).await;
        let bound = binding(&client).await;
        let text = signer.sign(envelope(&client, &alice, &signer, "{}").await, bound);
        set(&client, &text).await;
        assert!(claims(&client).await.unwrap().is_some());
        let second = db.connect(&alice).await.unwrap();
        assert_refused(&second, &text, "another backend").await;
    }

    async fn the_role_is_that_of_the_moment(db) {
        let alice = db.application_role("alice").await;
        let mode = rolegate_roles::admit::AdmitMode::Assume;
        rolegate_roles::admit::admit(&mut db.superuser().await, &db.names, &alice, mode).await.unwrap();
        let client = db.login("authenticator").await;
        let signer = Signer::new(db).await;
        let bound = binding(&client).await;
        let text = signer.sign(envelope(&client, &alice, &signer, "{}").await, bound);
        client.batch_execute(&format!("set role {alice}")).await.unwrap();
        set(&client, &text).await;
        assert!(claims(&client).await.unwrap().is_some());
        // Whoever leaves the role leaves its claims.
        client.batch_execute("reset role").await.unwrap();
        assert_refused(&client, &text, "after reset role").await;
    }

    async fn sql_cannot_sign(db) {
        let alice = db.admitted_role("alice").await;
        let client = db.connect(&alice).await.unwrap();
        let _ = Signer::new(db).await;
        for statement in [
            "select rolegate.claim_signing_key()",
            "select rolegate.rotate_claim_key()",
            "select rolegate.add_claim_key()",
            "select rolegate.random_bytes()",
            "select rolegate.hmac_pad('', 0)",
            "select * from rolegate.claim_key",
            "select inner_pad from rolegate.claim_key",
        ] {
            assert_eq!(sqlstate(client.batch_execute(statement).await), "42501", "{statement}");
        }
    }

    async fn a_rotation_late_in_its_transaction_leaves_the_whole_ten_minutes(db) {
        let _ = Signer::new(db).await;
        let maintenance = db.login("maintenance").await;
        maintenance.batch_execute("begin; select pg_sleep(1.5); select rolegate.rotate_claim_key(); commit").await.unwrap();
        let left = "select (min(verify_until) - clock_timestamp() > interval '9 minutes 59 seconds')::text from rolegate.claim_key";
        assert_eq!(db.superuser().await.query_one(left, &[]).await.unwrap().get::<_, String>(0), "true");
    }

    async fn a_rotated_key_verifies_for_ten_minutes(db) {
        let alice = db.admitted_role("alice").await;
        let client = db.connect(&alice).await.unwrap();
        let bound = binding(&client).await;
        let old = Signer::new(db).await;
        assert_eq!(Signer::new(db).await.key_id, old.key_id);
        let gateway = db.login("gateway").await;
        let epoch = async || -> i64 {
            gateway.query_one("select rolegate.epoch()", &[]).await.unwrap().get(0)
        };
        let before = epoch().await;
        let maintenance = db.login("maintenance").await;
        maintenance.execute("select rolegate.rotate_claim_key()", &[]).await.unwrap();
        assert!(epoch().await > before);
        let new = Signer::new(db).await;
        assert!(new.key_id > old.key_id);
        for signer in [&old, &new] {
            set(&client, &signer.sign(envelope(&client, &alice, signer, "{}").await, bound)).await;
            assert!(claims(&client).await.unwrap().is_some());
        }
        // Time is moved by moving the deadline, which only the owner can write.
        db.run("update rolegate.claim_key set verify_until = now() - interval '1 second' where verify_until is not null").await;
        let text = old.sign(envelope(&client, &alice, &old, "{}").await, bound);
        assert_refused(&client, &text, "after ten minutes").await;
        maintenance.execute("select rolegate.rotate_claim_key()", &[]).await.unwrap();
        let keys: i64 = db.superuser().await
            .query_one("select count(*) from rolegate.claim_key", &[]).await.unwrap().get(0);
        assert_eq!(keys, 2, "the expired key is gone");
    }

    async fn a_policy_evaluates_claims_once_and_under_parallel_plans(db) {
        let alice = db.admitted_role("alice").await;
        db.run(&format!(
            "create schema app; grant usage on schema app to {alice};
             create table app.orders (org_id integer, id integer);
             insert into app.orders select n % 10, n from generate_series(1, 20000) n;
             alter table app.orders enable row level security;
             create policy own on app.orders using (org_id::text = (select rolegate.claim('org_id')));
             create table app.plain as select * from app.orders;
             grant select on app.orders, app.plain to {alice}; analyze app.orders; analyze app.plain"
        )).await;
        let client = db.connect(&alice).await.unwrap();
        let signer = Signer::new(db).await;
        let bound = binding(&client).await;
        let text = signer.sign(envelope(&client, &alice, &signer, r#"{"org_id": 3}"#).await, bound);

        let count = async || -> i64 {
            client.query_one("select count(*) from app.orders", &[]).await.unwrap().get(0)
        };
        assert_eq!(count().await, 0, "no claims, no rows");
        set(&client, &text).await;
        assert_eq!(count().await, 2000);
        let explain = async |sql: &str| -> String {
            client.query(&format!("explain (analyze, timing off, summary off) {sql}"), &[])
                .await.unwrap().iter().map(|row| row.get::<_, String>(0) + "\n").collect()
        };
        let plan = explain("select count(*) from app.orders").await;
        assert!(plan.contains("InitPlan"), "{plan}");

        client.batch_execute(
            "set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
             set min_parallel_table_scan_size = 0; set max_parallel_workers_per_gather = 2",
        ).await.unwrap();
        let version: i32 = client
            .query_one("select current_setting('server_version_num')::int", &[]).await.unwrap().get(0);
        let force = if version >= 160_000 { "debug_parallel_query" } else { "force_parallel_mode" };
        client.batch_execute(&format!("set {force} = on")).await.unwrap();
        let plan = explain("select count(*) from app.orders").await;
        assert!(plan.contains("Gather") && plan.contains("Workers Launched"), "{plan}");
        assert_eq!(count().await, 2000);
        // Called for each row, the function keeps its expression out of the workers.
        let per_row = "select count(*) from app.plain where org_id::text = rolegate.claim('org_id') and id < 200";
        let rows: i64 = client.query_one(per_row, &[]).await.unwrap().get(0);
        assert_eq!(rows, 20);

        // A wrong signature fails the query; it does not just hide rows.
        set(&client, &text.replace(r#""org_id": 3"#, r#""org_id": 4"#)).await;
        let refused = client.query_one("select count(*) from app.orders", &[]).await;
        assert_eq!(sqlstate(refused), "28000");
    }
}
