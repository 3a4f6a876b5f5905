//! Sightings, budgets, signing keys and functions declared safe.

use crate::installation::sqlstate;

crate::on_each_version! {
    async fn a_role_is_first_seen_once_for_each_oid(db) {
        let gateway = db.login("gateway").await;
        let seen = async |oid: u32| -> String {
            gateway.query_one("select first_seen::text from rolegate.role_record('alice', $1)", &[&oid])
                .await.unwrap().get(0)
        };
        let first = seen(1).await;
        assert_eq!(seen(1).await, first);
        assert_ne!(seen(2).await, first, "the same name with another OID is another role");
        assert_eq!(seen(1).await, first);
    }

    async fn a_budget_is_kept_next_to_the_role_and_changes_the_epoch(db) {
        let alice = db.application_role("alice").await;
        let operator = db.operator(&alice).await;
        let gateway = db.login("gateway").await;
        let epoch = async || -> i64 { gateway.query_one("select rolegate.epoch()", &[]).await.unwrap().get(0) };
        let before = epoch().await;
        let record = format!("select concurrency, max_rows, max_bytes from rolegate.role_record('{alice}', 7)");
        let row = gateway.query_one(&record, &[]).await.unwrap();
        assert_eq!(row.get::<_, Option<i32>>(0), None);
        assert_eq!(epoch().await, before, "looking changes nothing");
        for (value, expected) in [("4", Some(4)), ("5", Some(5)), ("null", None)] {
            let set = format!("select rolegate.set_budget('{alice}', 1, {value}, 3, 9007199254740993, null)");
            operator.execute(&set, &[]).await.unwrap();
            let row = gateway.query_one(&record, &[]).await.unwrap();
            assert_eq!(row.get::<_, Option<i32>>(0), expected);
            assert_eq!(row.get::<_, Option<i64>>(1), Some(9_007_199_254_740_993));
            assert_eq!(row.get::<_, Option<i64>>(2), None);
        }
        assert!(epoch().await >= before + 3);
        let refused = format!("select rolegate.set_budget('{alice}', 0, 1, 1, 1, 1)");
        assert_eq!(sqlstate(operator.execute(&refused, &[]).await), "23514");
    }

    async fn a_signing_key_is_published_before_it_signs(db) {
        let gateway = db.login("gateway").await;
        let store = async |kid: &str| {
            gateway.execute(
                "select rolegate.store_signing_key($1, 'EdDSA', '{\"kty\": \"OKP\"}', 'sealed')", &[&kid],
            ).await
        };
        // Name, minutes until it signs and until it ends.
        let keys = async || -> Vec<(String, i32, Option<i32>)> {
            gateway.query(
                "select kid, round(extract(epoch from signs_from - clock_timestamp()) / 60)::int, \
                 round(extract(epoch from signs_until - clock_timestamp()) / 60)::int \
                 from rolegate.signing_keys() where active and sealed_private is not null", &[],
            ).await.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
        };
        let key = |kid: &str, from, until| (kid.to_owned(), from, until);
        let later = async |minutes: i32| {
            db.run(&format!(
                "update rolegate.signing_key set created_at = created_at - {minutes} * interval '1 minute', \
                 activated_at = activated_at - {minutes} * interval '1 minute', \
                 retired_at = retired_at - {minutes} * interval '1 minute'")).await;
        };
        store("one").await.unwrap();
        assert_eq!(keys().await, [key("one", 0, None)], "the first one signs at once");
        store("two").await.unwrap();
        let expected = [key("two", 10, None), key("one", 0, Some(10))];
        assert_eq!(keys().await, expected);
        assert_eq!(sqlstate(store("two").await), "23505");
        assert_eq!(keys().await, expected, "the failed change changed nothing");
        later(4).await;
        store("three").await.unwrap();
        assert_eq!(keys().await, [key("three", 10, None), key("two", 6, Some(10)), key("one", -4, Some(6))]);
        later(11).await;
        assert_eq!(keys().await, [key("three", -1, None)]);
        let known = async || -> i64 {
            gateway.query_one("select count(*) from rolegate.signing_keys() where sealed_private is not null", &[])
                .await.unwrap().get(0)
        };
        // The sealed half stays: it proves that a retired key was really ours.
        assert_eq!(known().await, 3);
        later(24 * 60 - 10).await;
        assert_eq!(known().await, 3);
        later(6).await;
        assert_eq!(known().await, 2, "the last token of `one` has ended");
        later(60).await;
        assert_eq!(known().await, 1);
        let private = gateway.execute(
            "select rolegate.store_signing_key('three', 'EdDSA', '{\"d\": \"secret\"}', '')", &[],
        ).await;
        assert_eq!(sqlstate(private), "23514", "a private half must never be in the public column");
    }

    async fn a_signing_key_is_asked_to_end_and_one_process_succeeds_it(db) {
        let operator = db.operator(&db.application_role("alice").await).await;
        let wanted = async |client: &tokio_postgres::Client, kid: &str| -> bool {
            client.query_one(
                "select rolegate.store_signing_key($1, 'ES256', '{}', 'sealed', true)", &[&kid],
            ).await.unwrap().get(0)
        };
        let (one, other) = (db.login("gateway").await, db.login("gateway").await);
        let (first, second) = tokio::join!(wanted(&one, "a"), wanted(&other, "b"));
        assert!(first ^ second, "{first} {second}");
        db.run("update rolegate.signing_key set activated_at = activated_at - interval '1 day'").await;
        operator.execute("select rolegate.rotate_signing_key()", &[]).await.unwrap();
        let (third, fourth) = tokio::join!(wanted(&one, "c"), wanted(&other, "d"));
        assert!(third ^ fourth, "{third} {fourth}");
        let row = one.query_one(
            "select count(*), count(*) filter (where o.signs_until = n.signs_from) \
             from rolegate.signing_keys() o cross join rolegate.signing_keys() n \
             where o.signs_until is not null and n.signs_until is null", &[],
        ).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1), "one successor, without a gap");
        assert!(!wanted(&one, "e").await);
    }

    async fn a_signing_key_is_asked_to_end_at_its_age(db) {
        let (one, other) = (db.login("gateway").await, db.login("gateway").await);
        let ripe = async |client: &tokio_postgres::Client| -> bool {
            client.query_one("select rolegate.rotate_signing_key(interval '30 days')", &[])
                .await.unwrap().get(0)
        };
        let epoch = async || -> i64 {
            one.query_one("select rolegate.epoch()", &[]).await.unwrap().get(0)
        };
        one.execute("select rolegate.store_signing_key('a', 'ES256', '{}', 'sealed')", &[]).await.unwrap();
        db.run("update rolegate.signing_key set activated_at = activated_at - interval '719 hours'").await;
        let before = epoch().await;
        assert!(!ripe(&one).await, "29 days and 23 hours");
        assert_eq!(epoch().await, before, "asking in vain makes nobody load anything");
        db.run("update rolegate.signing_key set activated_at = activated_at - interval '2 hours'").await;
        let (first, second) = tokio::join!(ripe(&one), ripe(&other));
        assert!(first ^ second, "{first} {second}");
        one.execute("select rolegate.store_signing_key('b', 'ES256', '{}', 'sealed', true)", &[]).await.unwrap();
        assert!(!ripe(&one).await, "the successor is young");
        let row = one.query_one(
            "select n.signs_from > pg_catalog.clock_timestamp() + interval '9 minutes' \
             from rolegate.signing_keys() n where n.kid = 'b'", &[],
        ).await.unwrap();
        assert!(row.get::<_, bool>(0), "published first");
    }

    async fn revoked_signing_keys_are_gone_and_the_next_one_signs_at_once(db) {
        let operator = db.operator(&db.application_role("alice").await).await;
        let gateway = db.login("gateway").await;
        let store = async |kid: &str| {
            gateway.execute(
                "select rolegate.store_signing_key($1, 'ES256', '{}', 'sealed')", &[&kid],
            ).await.unwrap();
        };
        store("a").await;
        store("b").await;
        let refused = gateway.execute("select rolegate.revoke_signing_keys()", &[]).await;
        assert_eq!(sqlstate(refused), "42501");
        let revoked: i32 = operator.query_one("select rolegate.revoke_signing_keys()", &[])
            .await.unwrap().get(0);
        assert_eq!(revoked, 2, "the one that signs and the one that waits");
        store("c").await;
        let row = gateway.query_one(
            "select kid, signs_from <= pg_catalog.clock_timestamp() from rolegate.signing_keys()", &[],
        ).await.unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("c", true));
    }

    async fn a_changed_function_is_no_longer_declared_safe(db) {
        let alice = db.application_role("alice").await;
        let operator = db.operator(&alice).await;
        let gateway = db.login("gateway").await;
        let define = async |body: &str| {
            db.run(&format!("create or replace function public.f() returns int language sql as '{body}'")).await;
        };
        let safe = async || -> usize {
            gateway.query("select function_oid, definition_hash from rolegate.safe_functions()", &[])
                .await.unwrap().len()
        };
        define("select 1").await;
        operator.execute("select rolegate.declare_safe('public.f()')", &[]).await.unwrap();
        assert_eq!(safe().await, 1);
        define("select 2").await;
        assert_eq!(safe().await, 0);
        operator.execute("select rolegate.declare_safe('public.f()')", &[]).await.unwrap();
        assert_eq!(safe().await, 1);
        db.run("alter function public.f() set search_path = public").await;
        assert_eq!(safe().await, 0);
        operator.execute("select rolegate.declare_safe('public.f()')", &[]).await.unwrap();
        let undeclare = "select rolegate.undeclare_safe('public.f()')";
        assert!(operator.query_one(undeclare, &[]).await.unwrap().get::<_, bool>(0));
        assert!(!operator.query_one(undeclare, &[]).await.unwrap().get::<_, bool>(0));
        assert_eq!(safe().await, 0);
    }
}
