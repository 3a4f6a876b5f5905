//! Who takes part.

use std::time::Duration;

use rolegate_testkit::TestDatabase;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// A job that was handed out.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub claim: i64,
    pub ordinal: i16,
    /// As the server prints it.
    pub claimed_at: String,
    pub id: i64,
    /// Attempts that failed before.
    pub failed: i16,
}

/// A worker under its own login, without the crate's runtime.
pub(crate) struct Hand {
    pub client: Client,
    pub id: i64,
    queues: Vec<i32>,
}

pub(crate) struct Stage {
    pub superuser: Client,
    pub alice_role: String,
    pub alice: Client,
    pub bob_role: String,
    pub bob: Client,
    pub operator_role: String,
    pub operator: Client,
    pub viewer: Client,
    pub maintenance: Client,
    pub worker: Hand,
}

async fn person(db: &TestDatabase, name: &str, group: &str) -> (String, Client) {
    let role = db.create_role(name).await;
    let superuser = db.superuser().await;
    let grant = format!("grant {group} to {role}");
    superuser.batch_execute(&grant).await.unwrap();
    let client = db.connect_as(&role).await;
    (role, client)
}

impl Stage {
    /// Two producers, an operator, a viewer, maintenance, and a worker of the queue `default`.
    pub(crate) async fn set(db: &TestDatabase) -> Self {
        let (alice_role, alice) = person(db, "alice", "rolegate_producer").await;
        let (bob_role, bob) = person(db, "bob", "rolegate_producer").await;
        let (operator_role, operator) = person(db, "olga", "rolegate_operator").await;
        let (_, viewer) = person(db, "vera", "rolegate_viewer").await;
        Self {
            superuser: db.superuser().await,
            alice_role,
            alice,
            bob_role,
            bob,
            operator_role,
            operator,
            viewer,
            maintenance: db.connect_as("rolegate_maintenance").await,
            worker: Hand::register(db, &["default"]).await,
        }
    }
}

impl Hand {
    pub(crate) async fn register(db: &TestDatabase, queues: &[&str]) -> Self {
        let client = db.connect_as("rolegate_worker").await;
        let row = client
            .query_one(
                "select worker, queue_ids from rolegate.register_worker('hand', 'test', $1)",
                &[&queues],
            )
            .await
            .unwrap();
        Self {
            id: row.get(0),
            queues: row.get(1),
            client,
        }
    }

    /// In the order in which they are handed out. A lane that somebody else decides about gives none.
    pub(crate) async fn claim(&self, most: i32) -> Vec<Attempt> {
        let rows = self
            .client
            .query(
                "select claim, ordinal, claimed_at::text, root, attempt \
                 from rolegate.claim_jobs($1, $2, $3) where claim is not null",
                &[&self.id, &self.queues, &most],
            )
            .await
            .unwrap();
        rows.iter()
            .map(|row| Attempt {
                claim: row.get(0),
                ordinal: row.get(1),
                claimed_at: row.get(2),
                id: row.get(3),
                failed: row.get(4),
            })
            .collect()
    }

    /// Ends one with a state's letter. False if it was refused.
    pub(crate) async fn finish(&self, attempt: &Attempt, state: &str, detail: &str) -> bool {
        let row = self
            .client
            .query_one(
                "select rolegate.finish_jobs($1, array[$2::bigint], array[$3::smallint], \
                    array[$4::text::timestamptz], array[$5::text::\"char\"], \
                    array[nullif($6, '')::jsonb], array[7::smallint]) = '{}'",
                &[
                    &self.id,
                    &attempt.claim,
                    &attempt.ordinal,
                    &attempt.claimed_at,
                    &state,
                    &detail,
                ],
            )
            .await
            .unwrap();
        row.get(0)
    }
}

/// The first column of the only row.
pub(crate) async fn one<T>(client: &Client, sql: &str, values: &[&(dyn ToSql + Sync)]) -> T
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    match client.query_one(sql, values).await {
        Ok(row) => row.get(0),
        Err(error) => panic!("{sql}: {error:?}"),
    }
}

/// The SQLSTATE that a statement raises.
pub(crate) async fn refused(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.unwrap_err();
    error
        .code()
        .unwrap_or_else(|| panic!("{error:?}"))
        .code()
        .to_owned()
}

/// State, reason and attempt as this role sees them.
pub(crate) async fn seen(client: &Client, id: i64) -> Option<(String, Option<String>, i32)> {
    client
        .query_opt(
            "select state, reason, attempt from rolegate.job($1)",
            &[&id],
        )
        .await
        .unwrap()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
}

pub(crate) async fn state(client: &Client, id: i64) -> String {
    seen(client, id)
        .await
        .map_or_else(|| "nothing".to_owned(), |row| row.0)
}

/// The ids of `list_jobs`, all pages.
pub(crate) async fn listed(client: &Client, state: Option<&str>) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut before: Option<i64> = None;
    loop {
        let rows = client
            .query(
                "select id, next_before from rolegate.list_jobs($1, before_id => $2, max_rows => 7)",
                &[&state, &before],
            )
            .await
            .unwrap();
        let Some(last) = rows.last() else {
            return ids;
        };
        before = last.get(1);
        ids.extend(rows.iter().filter_map(|row| row.get::<_, Option<i64>>(0)));
    }
}

/// Waits until `other` waits for a lock.
pub(crate) async fn waits(superuser: &Client, other: i32) {
    for _ in 0..500 {
        let waiting: bool = one(
            superuser,
            "select coalesce((select wait_event_type = 'Lock' from pg_stat_activity where pid = $1), \
             false)",
            &[&other],
        )
        .await;
        if waiting {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it does not wait");
}

pub(crate) async fn pid(client: &Client) -> i32 {
    one(client, "select pg_backend_pid()", &[]).await
}
