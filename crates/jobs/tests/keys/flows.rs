//! Jobs that wait for others.

use rolegate_testkit::for_each_version;
use tokio_postgres::error::SqlState;

use crate::table::Table;

const TWO: &str =
    r#"{"kind": "parent", "args": 0, "children": [{"kind": "one"}, {"kind": "two"}]}"#;

/// The same with another way to take failures.
fn two(on_failure: &str) -> String {
    TWO.replace(r#""args": 0"#, &format!(r#""on_failure": "{on_failure}""#))
}

async fn enqueue(table: &Table, flow: &str) -> i64 {
    let sql = "select rolegate.enqueue_flow($1::text::jsonb)";
    table
        .producer
        .query_one(sql, &[&flow])
        .await
        .unwrap()
        .get(0)
}

async fn state(table: &Table, id: i64) -> String {
    let sql = format!("select concat_ws(' ', state, reason) from rolegate.job({id})");
    table.text(&sql).await
}

#[tokio::test]
async fn a_parent_runs_when_its_children_have_ended() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        let flow = r#"{"kind": "top", "queue": "default", "children": [
            {"kind": "middle", "children": [{"kind": "low"}, {"kind": "low"}]},
            {"kind": "side", "args": {"n": 9007199254740993}}]}"#;
        let top = enqueue(&table, flow).await;
        assert_eq!(state(&table, top).await, "scheduled children");
        let leaves = table.claim(10).await;
        assert_eq!(leaves.len(), 3, "the leaves");
        table.finish(&leaves[..1], 'c').await;
        // One that is tried again has not ended.
        table.finish(&leaves[1..2], 'r').await;
        assert!(table.roots(10).await.is_empty());
        table
            .run("update rolegate.job_deferred set run_at = now() where waits_for is null")
            .await;
        let promote = "select rolegate.promote_jobs(10)";
        table.maintenance.execute(promote, &[]).await.unwrap();
        let again = table.claim(10).await;
        table.finish(&again, 'c').await;
        let middle = table.claim(10).await;
        assert_eq!(middle.len(), 1);
        table.finish(&middle, 'c').await;
        assert!(table.roots(10).await.is_empty(), "the side still runs");
        table.finish(&leaves[2..], 'c').await;
        let last = table.claim(10).await;
        assert_eq!(last.iter().map(|job| job.root).collect::<Vec<_>>(), [top]);
        let children = format!("select string_agg(state, ' ') from rolegate.job_children({top})");
        assert_eq!(table.text(&children).await, "completed completed");
        table.finish(&last, 'c').await;
        assert_eq!(state(&table, top).await, "completed");
        assert_eq!(
            table.text("select count(*) from rolegate.job_child").await,
            "0"
        );
        table.is_clear().await;
    })
    .await;
}

#[tokio::test]
async fn what_follows_a_failure_is_the_parents_choice() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        let cancelled = enqueue(&table, TWO).await;
        let children = table.claim(10).await;
        table.finish(&children[..1], 'f').await;
        assert!(table.roots(10).await.is_empty());
        assert_eq!(state(&table, cancelled).await, "cancelled child_failed");
        table.finish(&children[1..], 'c').await;
        assert!(table.roots(10).await.is_empty(), "nobody to tell");

        let runs = enqueue(&table, &two("run")).await;
        let children = table.claim(10).await;
        table
            .run(&format!("select rolegate.cancel({})", children[0].root))
            .await;
        assert!(table.roots(10).await.is_empty());
        table.finish(&children[1..], 'c').await;
        let parent = table.claim(10).await;
        assert_eq!(parent[0].root, runs);
        table.finish(&parent, 'c').await;

        let waits = enqueue(&table, &two("wait")).await;
        let children = table.claim(10).await;
        table.finish(&children[..1], 'c').await;
        table.finish(&children[1..], 'f').await;
        assert!(table.roots(10).await.is_empty());
        assert_eq!(state(&table, waits).await, "scheduled children");
        table
            .run(&format!("select rolegate.retry({})", children[1].root))
            .await;
        let again = table.claim(10).await;
        assert_eq!(again[0].root, children[1].root);
        table.finish(&again, 'c').await;
        let parent = table.claim(10).await;
        assert_eq!(parent[0].root, waits);

        // Moved while it waits: it still waits.
        let moved = enqueue(&table, TWO).await;
        table.run("select rolegate.create_queue('other')").await;
        table
            .run(&format!("select rolegate.move_job({moved}, 'other')"))
            .await;
        assert_eq!(state(&table, moved).await, "scheduled children");
        table.run(&format!("select rolegate.cancel({moved})")).await;
        assert_eq!(
            table.text("select count(*) from rolegate.job_child").await,
            "2",
            "of the one that runs"
        );
    })
    .await;
}

#[tokio::test]
async fn a_wrong_flow_is_refused_with_its_place_and_leaves_nothing() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        let deep = "{\"kind\": \"x\", \"children\": [".repeat(11) + &"]}".repeat(11);
        let cases = [
            ("[]", "flow: a job is an object"),
            (
                r#"{"kind": "x", "children": 1}"#,
                "flow: children is an array",
            ),
            (
                r#"{"kind": "x", "children": [{"kind": "y"}, {"kin": 1}]}"#,
                "flow.children[1]: a job has no 'kin'",
            ),
            (
                r#"{"kind": "x", "on_failure": "pray"}"#,
                "flow: on_failure is cancel, run or wait",
            ),
            (
                r#"{"kind": "x", "children": [{"kind": "y", "limit_key": ""}]}"#,
                "flow.children[0]: a key has 1 to 200 characters",
            ),
            (deep.as_str(), "a flow is at most 10 jobs deep"),
        ];
        for (flow, said) in cases {
            let sql = "select rolegate.enqueue_flow($1::text::jsonb)";
            let refused = table.producer.query_one(sql, &[&flow]).await.unwrap_err();
            let refused = refused.as_db_error().unwrap();
            assert_eq!(refused.code(), &SqlState::INVALID_PARAMETER_VALUE, "{flow}");
            assert!(refused.message().contains(said), "{}", refused.message());
        }
        assert!(table.roots(10).await.is_empty());
        table.is_clear().await;
    })
    .await;
}

#[tokio::test]
async fn the_leader_is_not_kept_busy_by_jobs_that_wait_for_others() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        enqueue(&table, TWO).await;
        table.enqueue("ordering_key => 'a'").await;
        table.enqueue("ordering_key => 'a'").await;
        table.claim(10).await;
        let due = "select promote_in is null from rolegate.maintenance_due('1 minute')";
        assert_eq!(table.text(due).await, "true");
    })
    .await;
}
