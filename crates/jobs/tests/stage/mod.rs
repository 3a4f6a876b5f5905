//! A database with the people of a job queue in it.
#![allow(dead_code, reason = "not every test file needs everything")]

use std::time::Duration;

use rolegate_jobs::maintenance::{self, Connect, MaintenanceConfig, Report};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::TestDatabase;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// A producer, and a superuser who looks.
pub(crate) struct Stage<'a> {
    pub(crate) db: &'a TestDatabase,
    pub(crate) producer: Client,
    pub(crate) superuser: Client,
}

/// A process that maintains.
pub(crate) struct Process {
    pub(crate) name: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A job that was handed out.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) claim: i64,
    pub(crate) at: std::time::SystemTime,
    pub(crate) ordinal: i16,
    pub(crate) id: i64,
    pub(crate) attempt: i16,
}

impl Process {
    /// Whether it stopped in time.
    pub(crate) async fn stop(self) -> bool {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(2), self.task)
            .await
            .is_ok_and(|ended| ended.is_ok())
    }
}

impl<'a> Stage<'a> {
    pub(crate) async fn new(db: &'a TestDatabase) -> Self {
        let role = db.create_role("producer").await;
        let superuser = db.superuser().await;
        superuser
            .batch_execute(&format!("grant rolegate_producer to {role}"))
            .await
            .unwrap();
        Self {
            db,
            producer: db.connect_as(&role).await,
            superuser,
        }
    }

    pub(crate) fn config(&self) -> MaintenanceConfig {
        let connect = Connect {
            endpoint: self.db.wire_endpoint(),
            login: Login {
                user: "rolegate_maintenance".to_owned(),
                password: None,
            },
        };
        MaintenanceConfig::new(self.db.name(), connect, EngineSql::new("rolegate"))
    }

    /// A process that stands by and leads.
    pub(crate) fn lead(&self) -> Process {
        self.lead_with(|_| {})
    }

    pub(crate) fn lead_with(&self, change: impl FnOnce(&mut MaintenanceConfig)) -> Process {
        let mut config = self.config();
        config.name = format!("process {:?}", std::time::Instant::now());
        change(&mut config);
        let stop = CancellationToken::new();
        Process {
            name: config.name.clone(),
            task: tokio::spawn(maintenance::run(config, stop.clone())),
            stop,
        }
    }

    /// One pass, for which a worker has died after so much silence.
    pub(crate) async fn tick(&self, silence: Duration) -> Report {
        let mut config = self.config();
        config.silence = silence;
        maintenance::tick(config).await.unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.superuser.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let row = self.superuser.query_one(sql, &[]).await.unwrap();
        row.get(0)
    }

    pub(crate) async fn retention(&self, seconds: &str) {
        let sql = format!("update rolegate.job_setting set completed_retention = '{seconds} s'");
        self.run(&sql).await;
    }

    /// Kinds of the jobs in their lanes, in order.
    pub(crate) async fn kinds(&self) -> Vec<String> {
        let sql = "select kind from rolegate.job order by lane, id";
        let rows = self.superuser.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Their ids, each in a transaction of its own.
    pub(crate) async fn enqueue(&self, kind: &str, number: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        for _ in 0..number {
            let sql = "select rolegate.enqueue($1)";
            let row = self.producer.query_one(sql, &[&kind]).await.unwrap();
            ids.push(row.get(0));
        }
        ids
    }

    pub(crate) async fn cron(&self, name: &str, expression: &str) {
        let sql = "select rolegate.set_cron($1, $2, 'tick')";
        self.superuser
            .query_one(sql, &[&name, &expression])
            .await
            .unwrap();
    }

    pub(crate) async fn worker(&self) -> Client {
        self.db.connect_as("rolegate_worker").await
    }

    pub(crate) async fn register(&self, worker: &Client) -> i64 {
        let sql = "select worker from rolegate.register_worker('w', '0', '{default}')";
        worker.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn claim(&self, worker: &Client, id: i64, most: i32) -> Vec<Claimed> {
        let sql = "select claim, claimed_at, ordinal, root, attempt \
                   from rolegate.claim_jobs($1, array[1], $2) where claim is not null";
        let rows = worker.query(sql, &[&id, &most]).await.unwrap();
        rows.iter()
            .map(|row| Claimed {
                claim: row.get(0),
                at: row.get(1),
                ordinal: row.get(2),
                id: row.get(3),
                attempt: row.get(4),
            })
            .collect()
    }

    pub(crate) async fn complete(&self, worker: &Client, id: i64, jobs: &[Claimed]) {
        let claims: Vec<i64> = jobs.iter().map(|job| job.claim).collect();
        let ordinals: Vec<i16> = jobs.iter().map(|job| job.ordinal).collect();
        let at: Vec<_> = jobs.iter().map(|job| job.at).collect();
        let sql = "select rolegate.finish_jobs($1, $2, $3, $4)";
        let row = worker
            .query_one(sql, &[&id, &claims, &ordinals, &at])
            .await
            .unwrap();
        assert_eq!(row.get::<_, Vec<i32>>(0), [0; 0], "none was refused");
    }

    /// Rows that were written to our tables, by sessions that have been busy since.
    pub(crate) async fn written(&self) -> i64 {
        for client in [&self.producer, &self.superuser] {
            let sql = "select pg_stat_force_next_flush()";
            client.query(sql, &[]).await.unwrap();
        }
        self.number(
            "select sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint \
             from pg_stat_all_tables where schemaname = 'rolegate'",
        )
        .await
    }
}

pub(crate) async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Waits until `sql` gives true.
pub(crate) async fn eventually(client: &Client, sql: &str) {
    for _ in 0..3000 {
        let row = client.query_one(sql, &[]).await.unwrap();
        if row.get::<_, bool>(0) {
            return;
        }
        pause(10).await;
    }
    let ring = "select coalesce(jsonb_agg(t order by turn), '[]')::text from rolegate.job_turn t";
    let ring: String = client.query_one(ring, &[]).await.unwrap().get(0);
    let rest = "select coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'segment', k.segment, 'hi', \
                k.hi, 'lane', k.lane)), '[]')::text || \
                (select coalesce(jsonb_agg(w), '[]')::text from rolegate.job_worker w) \
                from rolegate.lane_cursors() k";
    let rest: String = client.query_one(rest, &[]).await.unwrap().get(0);
    panic!("never: {sql}\nturns {ring}\ncursors and workers {rest}");
}
