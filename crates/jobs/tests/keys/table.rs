//! A queue with a worker's hands at it.

use std::time::SystemTime;

use rolegate_testkit::TestDatabase;
use tokio_postgres::Client;

pub(crate) struct Table {
    pub(crate) producer: Client,
    pub(crate) worker: Client,
    pub(crate) maintenance: Client,
    pub(crate) superuser: Client,
    pub(crate) id: i64,
    pub(crate) queue: i32,
}

/// A job that was handed out.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) root: i64,
    pub(crate) claim: i64,
    pub(crate) at: SystemTime,
    pub(crate) ordinal: i16,
    pub(crate) flags: i16,
}

/// A claim's answer without jobs: after so many milliseconds there may be some.
pub(crate) type Again = Option<i64>;

impl Table {
    pub(crate) async fn lay(db: &TestDatabase) -> Self {
        let role = db.create_role("producer").await;
        let superuser = db.superuser().await;
        let grant = format!(
            "grant rolegate_producer to {role}; \
             update rolegate.job_queue set backoff = '1 hour' where name = 'default'"
        );
        superuser.batch_execute(&grant).await.unwrap();
        let worker = db.connect_as("rolegate_worker").await;
        let (id, queue) = register(&worker, "default").await;
        Self {
            producer: db.connect_as(&role).await,
            maintenance: db.connect_as("rolegate_maintenance").await,
            worker,
            superuser,
            id,
            queue,
        }
    }

    /// `arguments` are those of `rolegate.enqueue` behind the kind.
    pub(crate) async fn enqueue(&self, arguments: &str) -> i64 {
        let sql = format!("select rolegate.enqueue('k', {arguments})");
        self.producer.query_one(&sql, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn limits(&self, arguments: &str) {
        self.run(&format!(
            "select rolegate.set_queue_limits('default', {arguments})"
        ))
        .await;
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.superuser.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        let sql = format!("select ({sql})::text");
        self.superuser.query_one(&sql, &[]).await.unwrap().get(0)
    }

    /// As a worker would: until there are some, or none.
    pub(crate) async fn claim(&self, most: i32) -> Vec<Taken> {
        loop {
            let (taken, again) = take(&self.worker, self.id, &[self.queue], most).await;
            if again != Some(0) {
                return taken;
            }
        }
    }

    pub(crate) async fn roots(&self, most: i32) -> Vec<i64> {
        let taken = self.claim(most).await;
        taken.iter().map(|job| job.root).collect()
    }

    /// One letter for all of them.
    pub(crate) async fn finish(&self, jobs: &[Taken], letter: char) {
        let letters = vec![letter; jobs.len()];
        finish(&self.worker, self.id, jobs, &letters).await;
    }

    /// Nobody has a place, and nobody waits for one.
    pub(crate) async fn is_clear(&self) {
        let sql = "select concat_ws(' ', (select count(*) from rolegate.job_place), \
                   (select count(*) from rolegate.job_deferred))";
        assert_eq!(self.text(sql).await, "0 0");
    }
}

pub(crate) async fn register(worker: &Client, queue: &str) -> (i64, i32) {
    let sql = "select worker, queue_ids[1] from rolegate.register_worker('keys', '', array[$1])";
    let row = worker.query_one(sql, &[&queue]).await.unwrap();
    (row.get(0), row.get(1))
}

pub(crate) async fn take(
    worker: &Client,
    id: i64,
    queues: &[i32],
    most: i32,
) -> (Vec<Taken>, Again) {
    let sql = "select claim, claimed_at, ordinal, root, flags, id \
               from rolegate.claim_jobs($1, $2, $3)";
    let rows = worker.query(sql, &[&id, &queues, &most]).await.unwrap();
    let mut again = None;
    let mut taken = Vec::new();
    for row in rows {
        match row.get::<_, Option<i64>>(0) {
            None => again = Some(row.get(5)),
            Some(claim) => taken.push(Taken {
                root: row.get(3),
                claim,
                at: row.get(1),
                ordinal: row.get(2),
                flags: row.get(4),
            }),
        }
    }
    (taken, again)
}

/// `r` and `s` come back in an hour, `R` and `S` at once.
pub(crate) async fn finish(worker: &Client, id: i64, jobs: &[Taken], letters: &[char]) {
    let claims: Vec<i64> = jobs.iter().map(|job| job.claim).collect();
    let ordinals: Vec<i16> = jobs.iter().map(|job| job.ordinal).collect();
    let at: Vec<SystemTime> = jobs.iter().map(|job| job.at).collect();
    let flags: Vec<i16> = jobs.iter().map(|job| job.flags).collect();
    let states: Vec<String> = letters
        .iter()
        .map(|letter| letter.to_ascii_lowercase().to_string())
        .collect();
    let details: Vec<Option<&str>> = letters
        .iter()
        .map(|letter| match letter {
            'r' | 's' => Some(r#"{"delay": 3600}"#),
            'R' | 'S' => Some(r#"{"delay": 0.001}"#),
            _ => None,
        })
        .collect();
    let sql = "select rolegate.finish_jobs($1, $2, $3, $4, $5::text[]::\"char\"[], \
               $6::text[]::jsonb[], $7)";
    worker
        .execute(
            sql,
            &[&id, &claims, &ordinals, &at, &states, &details, &flags],
        )
        .await
        .unwrap();
}
