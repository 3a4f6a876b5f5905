//! What people are told about queues and kinds, by code and by operators.
#![allow(clippy::unwrap_used)]

mod stage;

use std::collections::BTreeMap;

use rolegate_jobs::{Description, Handlers, Outcome, StartError, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::{TestDatabase, for_each_version};
use serde_json::{Value, json};
use stage::Stage;
use tokio_postgres::Client;

async fn start(
    db: &TestDatabase,
    name: &str,
    of_kind: Description,
    of_queue: Description,
) -> Result<Worker, StartError> {
    let handlers = Handlers::default()
        .function("send", |_: Value, _| async { Outcome::Completed(None) })
        .function("bare", |_: Value, _| async { Outcome::Completed(None) })
        .describe("send", of_kind);
    let config = WorkerConfig {
        name: name.to_owned(),
        queues: vec!["mail".to_owned()],
        described_queues: BTreeMap::from([("mail".to_owned(), of_queue)]),
        ..WorkerConfig::default()
    };
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config).await
}

/// What is shown of a subject, without times and numbers of workers.
async fn shown(viewer: &Client, subject: &str, name: &str) -> Value {
    let sql = "select jsonb_build_object('display_name', d.display_name, 'description', d.description, \
            'owner', d.owner, 'docs_url', d.docs_url, 'tags', d.tags, 'source', d.source, 'by', d.set_by, \
            'workers', d.declared_by, 'drift', ( \
                select jsonb_agg(jsonb_build_array(e -> 'name', e -> 'declares', e ? 'seen_at')) \
                from jsonb_array_elements(d.drift) e)) \
        from rolegate.descriptors($1) d where d.name = $2";
    let row = viewer.query_one(sql, &[&subject, &name]).await.unwrap();
    row.get(0)
}

/// A viewer and an operator.
async fn people(db: &TestDatabase) -> (Client, Client) {
    let viewer = db.create_role("viewer").await;
    let operator = db.create_role("operator").await;
    db.superuser()
        .await
        .batch_execute(&format!(
            "grant rolegate_viewer to {viewer}; grant rolegate_operator to {operator}"
        ))
        .await
        .unwrap();
    (db.connect_as(&viewer).await, db.connect_as(&operator).await)
}

fn mail() -> Description {
    Description::named("Mail")
        .text("sends \"mail\"")
        .owner("team")
        .docs_url("https://example.org/mail")
        .tags(["slow", "out"])
}

#[tokio::test]
async fn what_workers_declare_is_shown_and_marked_where_they_differ() {
    for_each_version(async |db| {
        let (viewer, _) = people(db).await;
        let version = env!("CARGO_PKG_VERSION");

        let of_kind = mail();
        let of_queue = Description::default().owner("ops");
        let one = start(db, "one", of_kind.clone(), of_queue.clone())
            .await
            .unwrap();
        let said = json!({
            "display_name": "Mail", "description": "sends \"mail\"", "owner": "team",
            "docs_url": "https://example.org/mail", "tags": ["slow", "out"], "source": "code",
            "by": format!("one {version}"), "workers": 1, "drift": null});
        assert_eq!(shown(&viewer, "kind", "send").await, said);
        assert_eq!(shown(&viewer, "queue", "mail").await["owner"], "ops");
        let bare = shown(&viewer, "kind", "bare").await;
        assert_eq!(
            (&bare["display_name"], &bare["workers"]),
            (&Value::Null, &json!(1))
        );

        // The same again writes nothing that is shown.
        let superuser = db.superuser().await;
        let at = "select xmin::text, set_at::text from rolegate.job_descriptor where name = 'send'";
        let before = superuser.query_one(at, &[]).await.unwrap();
        let same = start(db, "same", of_kind, of_queue).await.unwrap();
        let after = superuser.query_one(at, &[]).await.unwrap();
        assert_eq!(before.get::<_, String>(0), after.get::<_, String>(0));
        assert!(same.stop().await);

        // The newest counts, and the older one is marked.
        let two = start(
            db,
            "two",
            Description::named("Post"),
            Description::default(),
        )
        .await
        .unwrap();
        let both = shown(&viewer, "kind", "send").await;
        assert_eq!(
            (&both["display_name"], &both["workers"]),
            (&json!("Post"), &json!(2))
        );
        assert_eq!(both["by"], format!("two {version}"));
        assert_eq!(both["drift"][0][0], "one");
        assert_eq!(both["drift"][0][1]["owner"], "team");
        assert_eq!(both["drift"][0][2], true);
        assert_eq!(both["drift"].as_array().unwrap().len(), 1);
        // Who says nothing neither changes anything nor is marked.
        let queue = shown(&viewer, "queue", "mail").await;
        assert_eq!(
            (&queue["owner"], &queue["drift"]),
            (&json!("ops"), &Value::Null)
        );
        assert!(one.stop().await);
        let left = shown(&viewer, "kind", "send").await;
        assert_eq!(
            (&left["workers"], &left["drift"]),
            (&json!(1), &Value::Null)
        );
        assert!(two.stop().await);
    })
    .await;
}

#[tokio::test]
async fn an_operator_counts_more_than_code() {
    for_each_version(async |db| {
        let (viewer, operator) = people(db).await;
        let post = Description::named("Post");
        let two = start(db, "two", post, Description::default())
            .await
            .unwrap();
        // An operator counts more, and what he adds is no drift.
        let sql = "select rolegate.describe_kind('send', owner => 'people', tags => '{x}')";
        operator.query(sql, &[]).await.unwrap();
        let added = shown(&viewer, "kind", "send").await;
        assert_eq!(
            (&added["owner"], &added["source"]),
            (&json!("people"), &json!("operator"))
        );
        assert_eq!(
            (&added["display_name"], &added["drift"]),
            (&json!("Post"), &Value::Null)
        );
        let three = start(db, "three", mail(), Description::default())
            .await
            .unwrap();
        let kept = shown(&viewer, "kind", "send").await;
        assert_eq!(
            (&kept["owner"], &kept["source"]),
            (&json!("people"), &json!("operator"))
        );
        assert_eq!(kept["drift"][0][0], "three");
        let sql = "select rolegate.describe_kind('send', owner => '', tags => '{}')";
        operator.query(sql, &[]).await.unwrap();
        let back = shown(&viewer, "kind", "send").await;
        assert_eq!((&back["owner"], &back["tags"]), (&Value::Null, &json!([])));
        let forget = "select rolegate.forget_descriptor('kind', 'send')";
        operator.query(forget, &[]).await.unwrap();
        let newest = shown(&viewer, "kind", "send").await;
        assert_eq!(
            (&newest["owner"], &newest["source"]),
            (&json!("team"), &json!("code"))
        );
        assert!(two.stop().await && three.stop().await);
        // What was declared last stays to be seen.
        let gone = shown(&viewer, "kind", "send").await;
        assert_eq!(
            (&gone["owner"], &gone["workers"]),
            (&json!("team"), &json!(0))
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_nobody_else_says_anything() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        for wrong in [
            Description::named("x".repeat(201)),
            Description::default().text("x".repeat(4001)),
            Description::default().docs_url("javascript:alert(1)"),
            Description::default().docs_url("https://a b"),
            Description::default().tags(["t"; 21]),
            Description::default().tags([""]),
        ] {
            let refused = start(db, "w", wrong, Description::default()).await;
            let Err(StartError::Register(error)) = refused else {
                panic!("{refused:?}");
            };
            assert!(format!("{error:?}").contains("22023"), "{error:?}");
        }
        // It did not start, so it is not there.
        let traces = "select (select count(*) from rolegate.job_worker) \
            + (select count(*) from rolegate.job_declaration) + (select count(*) from rolegate.job_descriptor)";
        assert_eq!(stage.number(traces).await, 0);
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let many = "select jsonb_agg(jsonb_build_object('subject', 'kind', 'name', n::text)) \
                    from generate_series(1, 1001) n";
        for (declarations, code) in [
            ("select '{}'::jsonb", "22023"),
            ("select '[1]'::jsonb", "22023"),
            ("select null::jsonb", "22023"),
            ("select '[{\"subject\": \"kind\"}]'::jsonb", "22023"),
            ("select '[{\"subject\": \"kind\", \"name\": \"x\", \"set_by\": \"me\"}]'::jsonb", "22023"),
            ("select '[{\"subject\": \"role\", \"name\": \"x\"}]'::jsonb", "23514"),
            ("select '[{\"subject\": \"kind\", \"name\": \"\"}]'::jsonb", "23514"),
            ("select '[{\"subject\": \"queue\", \"name\": \"none\"}]'::jsonb", "42704"),
            (many, "22023"),
        ] {
            let sql = format!("select rolegate.declare_jobs($1, ({declarations}))");
            let refused = worker.query_one(&sql, &[&id]).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), code, "{declarations}");
        }
        for sql in [
            "select rolegate.descriptors()",
            "select rolegate.describe_kind('x')",
            "select rolegate.describe_queue('default')",
            "select rolegate.forget_descriptor('kind', 'x')",
            "select rolegate.declare_jobs(1, '[]')",
        ] {
            let refused = stage.producer.batch_execute(sql).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
        }
    })
    .await;
}

/// A queue and a kind may have one name: the next page begins after both.
#[tokio::test]
async fn pages_leave_nothing_out() {
    for_each_version(async |db| {
        let (viewer, operator) = people(db).await;
        let sql = "select rolegate.create_queue(n), rolegate.describe_queue(n, owner => 'q'), \
            rolegate.describe_kind(n, owner => 'k') from unnest(array['a', 'b', 'c']) n";
        operator.query(sql, &[]).await.unwrap();
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let sql =
                "select name, subject from rolegate.descriptors(after_name => $1, max_rows => 1)";
            let rows = viewer.query(sql, &[&after]).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = last.get(0);
            let names = |row: &tokio_postgres::Row| {
                format!("{} {}", row.get::<_, &str>(0), row.get::<_, &str>(1))
            };
            found.extend(rows.iter().map(names));
        }
        assert_eq!(
            found,
            [
                "a kind", "a queue", "b kind", "b queue", "c kind", "c queue"
            ]
        );
    })
    .await;
}
