//! Pages of lists.

use rolegate_testkit::for_each_version;

use super::stage::{Stage, listed, one, refused};

/// Of 25,000 jobs of somebody else, each call looks at a part only, and says where it stopped.
#[tokio::test]
async fn a_page_looks_at_a_bounded_number_of_jobs() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let first: i64 = one(&on.alice, "select rolegate.enqueue('mine')", &[]).await;
        let sql = "select rolegate.enqueue_many('theirs', array_fill('1'::jsonb, array[25000]))";
        on.bob.batch_execute(sql).await.unwrap();
        let last: i64 = one(
            &on.alice,
            "select rolegate.enqueue('mine', priority => 4)",
            &[],
        )
        .await;

        let pages = on
            .alice
            .query(
                "select id, next_before, state from rolegate.list_jobs()",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(pages.len(), 2);
        assert_eq!(pages[0].get::<_, i64>(0), last);
        assert_eq!(pages[1].get::<_, Option<i64>>(0), None);
        assert_eq!(pages[1].get::<_, Option<String>>(2), None);
        let stopped: i64 = pages[1].get(1);
        assert!(stopped < last && stopped > first, "{stopped}");
        assert_eq!(
            stopped % 10_000,
            0,
            "it says nothing of other people's jobs"
        );
        assert_eq!(listed(&on.alice, None).await, [last, first]);
        assert_eq!(listed(&on.alice, Some("available")).await, [last, first]);
        assert!(listed(&on.alice, Some("failed")).await.is_empty());

        // The same with a kind, for who sees everything.
        let rows = on
            .viewer
            .query(
                "select id from rolegate.list_jobs(only_kind => 'mine')",
                &[],
            )
            .await
            .unwrap();
        let ids: Vec<Option<i64>> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(ids, [Some(last), None]);
        let counted: i64 = one(&on.viewer, "select available from rolegate.queues()", &[]).await;
        assert_eq!(counted, 25_002);
    })
    .await;
}

#[tokio::test]
async fn pages_together_have_each_job_once() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.operator.batch_execute("select rolegate.create_queue('slow')").await.unwrap();
        let mut ids: Vec<i64> = Vec::new();
        for n in 0..60_i32 {
            let sql = "select rolegate.enqueue('k' || $1 % 3, queue => case when $1 % 2 = 0 then 'default' \
                else 'slow' end, priority => $1 % 4 + 1, run_at => case when $1 % 5 = 0 then \
                now() + interval '1 hour' end)";
            ids.push(one(&on.alice, sql, &[&n]).await);
        }
        for attempt in on.worker.claim(9).await.iter().take(4) {
            assert!(on.worker.finish(attempt, "r", r#"{"error": 1, "delay": 0}"#).await);
        }
        let mut found = listed(&on.alice, None).await;
        found.sort_unstable();
        assert_eq!(found, ids);
        let counted: i64 = one(
            &on.alice,
            "select count(*) from rolegate.list_jobs(only_queue => 'slow', only_kind => 'k1')",
            &[],
        )
        .await;
        assert_eq!(counted, 10);
    })
    .await;
}

#[tokio::test]
async fn what_no_list_is_has_an_error() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        for (sql, code) in [
            ("select rolegate.list_jobs('done')", "22023"),
            ("select rolegate.list_jobs(max_rows => 0)", "22023"),
            ("select rolegate.list_jobs(max_rows => 1001)", "22023"),
            ("select rolegate.list_jobs(max_rows => null)", "22023"),
            ("select rolegate.list_jobs(only_queue => 'absent')", "42704"),
            ("select rolegate.dead_letters('absent')", "42704"),
        ] {
            assert_eq!(refused(&on.alice, sql).await, code, "{sql}");
        }
        // A setting of the session is left as it was.
        on.alice
            .batch_execute("begin; set local jit = on; select rolegate.list_jobs()")
            .await
            .unwrap();
        assert_eq!(one::<String>(&on.alice, "show jit", &[]).await, "on");
    })
    .await;
}
