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

    async fn the_newest_signing_key_is_the_active_one(db) {
        let gateway = db.login("gateway").await;
        let store = async |kid: &str| {
            gateway.execute(
                "select rolegate.store_signing_key($1, 'EdDSA', '{\"kty\": \"OKP\"}', 'sealed')", &[&kid],
            ).await
        };
        let keys = async || -> Vec<(String, bool, bool)> {
            gateway.query("select kid, active, sealed_private is not null from rolegate.signing_keys()", &[])
                .await.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
        };
        store("one").await.unwrap();
        store("two").await.unwrap();
        // The sealed half stays: it proves that a retired key was really ours.
        let expected = [("two".to_owned(), true, true), ("one".to_owned(), false, true)];
        assert_eq!(keys().await, expected);
        assert_eq!(sqlstate(store("two").await), "23505");
        assert_eq!(keys().await, expected, "the failed change changed nothing");
        db.run("update rolegate.signing_key set retired_at = now() - interval '25 hours' where kid = 'one'").await;
        assert_eq!(keys().await.len(), 1);
        let private = gateway.execute(
            "select rolegate.store_signing_key('three', 'EdDSA', '{\"d\": \"secret\"}', '')", &[],
        ).await;
        assert_eq!(sqlstate(private), "23514", "a private half must never be in the public column");
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
