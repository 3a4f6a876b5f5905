//! Pages of lists.

use rolegate_testkit::for_each_version;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

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

/// Two jobs of each state and two dead letters: one of each has the tag.
async fn tagged(on: &Stage) -> Vec<(&'static str, i64)> {
    let set = "select rolegate.set_queue('default', dead_letters => true)";
    on.operator.batch_execute(set).await.unwrap();
    let enqueue = async |tags: &str, delay: &str| -> i64 {
        let sql = format!(
            "select rolegate.enqueue('mail', tags => {tags}, run_at => now() + interval '{delay}')"
        );
        one(&on.alice, &sql, &[]).await
    };
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(enqueue("'{\"an invoice\", x}'", "0").await);
        enqueue("'{an, invoice}'", "0").await;
    }
    let attempts = on.worker.claim(12).await;
    assert_eq!(attempts.len(), 12);
    let ends = [
        ("completed", "c", ""),
        ("retryable", "r", r#"{"error": 1, "delay": 3600}"#),
        ("failed", "f", r#"{"error": 1}"#),
        ("cancelled", "x", ""),
        ("waiting_external", "w", ""),
    ];
    for (attempt, (state, letter, detail)) in attempts
        .iter()
        .zip(ends.into_iter().flat_map(|end| [end, end]))
    {
        if state == "waiting_external" {
            let register =
                "select rolegate.register_callback($1, $2, $3::text::timestamptz, '1 hour')";
            let values: [&(dyn ToSql + Sync); 3] =
                [&attempt.claim, &attempt.ordinal, &attempt.claimed_at];
            on.worker.client.execute(register, &values).await.unwrap();
        }
        assert!(on.worker.finish(attempt, letter, detail).await, "{state}");
    }
    let mut told: Vec<_> = ends
        .map(|end| end.0)
        .into_iter()
        .chain(["running"])
        .zip(ids)
        .collect();
    told.push(("available", enqueue("'{\"an invoice\"}'", "0").await));
    enqueue("null", "0").await;
    told.push((
        "scheduled",
        enqueue("'{x, \"an invoice\"}'", "1 hour").await,
    ));
    enqueue("'{invoice}'", "1 hour").await;
    told
}

#[tokio::test]
async fn a_tag_finds_its_jobs_in_every_state() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let told = tagged(&on).await;
        let found = async |client: &Client, filters: &str| -> Vec<i64> {
            let sql = format!("select id from rolegate.{filters}");
            let rows = client.query(&sql, &[]).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect()
        };
        for (state, id) in &told {
            let filters = format!("list_jobs('{state}', only_tag => 'an invoice')");
            assert_eq!(found(&on.viewer, &filters).await, [*id], "{state}");
            assert_eq!(listed(&on.viewer, Some(state)).await.len(), 2, "{state}");
        }
        let mut all: Vec<i64> = told.iter().map(|told| told.1).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(
            found(&on.alice, "list_jobs(only_tag => 'an invoice')").await,
            all
        );
        let dead = told.iter().find(|told| told.0 == "failed").unwrap().1;
        assert_eq!(
            found(&on.alice, "dead_letters(only_tag => 'an invoice')").await,
            [dead]
        );
        assert_eq!(found(&on.alice, "dead_letters()").await.len(), 2);
        // A part of a tag is none, and a tag shows nobody the jobs of others.
        for filters in [
            "list_jobs(only_tag => 'an')",
            "list_jobs(only_tag => 'invoice')",
        ] {
            assert_eq!(
                found(&on.alice, filters).await.len(),
                7 - usize::from(filters.contains("'an'"))
            );
        }
        for filters in [
            "list_jobs(only_tag => '')",
            "list_jobs(only_tag => 'an invoice', only_kind => 'x')",
        ] {
            assert!(found(&on.alice, filters).await.is_empty(), "{filters}");
        }
        assert!(
            found(&on.bob, "list_jobs(only_tag => 'an invoice')")
                .await
                .is_empty()
        );
    })
    .await;
}

/// Of 25,000 jobs without it a call looks at a part, as it does for kinds.
#[tokio::test]
async fn a_list_by_tag_looks_at_a_bounded_number_of_jobs() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let mine = "select rolegate.enqueue('k', tags => '{mine}')";
        let first: i64 = one(&on.alice, mine, &[]).await;
        let many = "select rolegate.enqueue_many('k', array_fill('1'::jsonb, array[25000]))";
        on.alice.batch_execute(many).await.unwrap();
        let list =
            "select id, next_before from rolegate.list_jobs(only_tag => 'mine', before_id => $1)";
        let page = on.alice.query(list, &[&None::<i64>]).await.unwrap();
        assert_eq!(page.len(), 1);
        assert_eq!(page[0].get::<_, Option<i64>>(0), None, "not found yet");
        let page = on
            .alice
            .query(list, &[&page[0].get::<_, i64>(1)])
            .await
            .unwrap();
        assert_eq!(page[0].get::<_, i64>(0), first);
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
