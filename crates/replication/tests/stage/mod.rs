//! A database with published tables, and processes that follow it.
#![allow(dead_code, reason = "not every test file needs everything")]

use std::time::Duration;

use rolegate_pg::wire::Login;
use rolegate_replication::publication::{self, Installation, Tables};
use rolegate_replication::{
    Commit, Connect, Event, Feed, Keys, Lost, Lsn, Status, StreamConfig, Subscription, run,
};
use rolegate_testkit::TestDatabase;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(40);

/// A superuser, who sets the stage and looks.
pub(crate) struct Stage<'a> {
    pub(crate) db: &'a TestDatabase,
    pub(crate) superuser: Client,
}

/// A process that reads, or stands by.
pub(crate) struct Process {
    pub(crate) feed: Feed,
    pub(crate) events: Subscription,
    stop: CancellationToken,
    task: JoinHandle<()>,
    superuser: tokio_postgres::Config,
}

impl<'a> Stage<'a> {
    /// With a published table of transaction ids.
    pub(crate) async fn new(db: &'a TestDatabase) -> Self {
        let stage = Self {
            db,
            superuser: db.superuser().await,
        };
        stage
            .run("create schema app; create table app.log (xid text primary key, note text)")
            .await;
        stage.sync().await;
        stage
    }

    /// The same, where it is there already.
    pub(crate) async fn again(db: &'a TestDatabase) -> Self {
        Self {
            db,
            superuser: db.superuser().await,
        }
    }

    pub(crate) async fn sync(&self) -> Tables {
        let mut administrator = self.db.superuser().await;
        publication::sync(&mut administrator, &installation(), &["app".to_owned()])
            .await
            .unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        if let Err(error) = self.superuser.batch_execute(sql).await {
            panic!("{sql}: {error:?}");
        }
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        let row = self.superuser.query_one(sql, &[]).await.unwrap();
        row.get(0)
    }

    pub(crate) async fn oid(&self, relation: &str) -> u32 {
        let sql = "select $1::text::regclass::oid";
        self.superuser
            .query_one(sql, &[&relation])
            .await
            .unwrap()
            .get(0)
    }

    /// Where the server writes next.
    pub(crate) async fn now(&self) -> Lsn {
        let sql = "select pg_current_wal_insert_lsn()::text";
        self.text(sql).await.parse().unwrap()
    }

    /// Where the stream was written down to be.
    pub(crate) async fn position(&self) -> Lsn {
        let sql = "select position::text from rolegate.change_stream";
        self.text(sql).await.parse().unwrap()
    }

    pub(crate) fn config(&self) -> StreamConfig {
        let connect = Connect {
            endpoint: self.db.wire_endpoint(),
            login: Login::peer("rolegate_replicator"),
        };
        StreamConfig::new(self.db.name(), connect, "rolegate", "rolegate")
    }

    /// A process that begins to follow, unless another one does.
    pub(crate) fn start(&self) -> Process {
        self.start_with(self.config())
    }

    pub(crate) fn start_with(&self, config: StreamConfig) -> Process {
        let feed = Feed::default();
        let stop = CancellationToken::new();
        Process {
            events: feed.subscribe(),
            task: tokio::spawn(run(config, feed.clone(), stop.clone())),
            feed,
            stop,
            superuser: self.db.config("postgres"),
        }
    }

    /// A process that does not read, and never will.
    pub(crate) fn without_reader(&self) -> Process {
        let feed = Feed::default();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        Process {
            events: feed.subscribe(),
            task: tokio::spawn(async move { stopped.cancelled().await }),
            feed,
            stop,
            superuser: self.db.config("postgres"),
        }
    }

    /// The same, once it follows.
    pub(crate) async fn follow(&self) -> Process {
        let process = self.start();
        process.becomes(Status::Following).await;
        process
    }

    /// One transaction, which writes its own id.
    pub(crate) async fn write(&self) {
        self.run("insert into app.log values (pg_current_xact_id()::text)")
            .await;
    }

    /// Ids that are in the table: those that were committed, in order.
    pub(crate) async fn written(&self) -> Vec<String> {
        let sql = "select xid from app.log order by xid::bigint";
        let rows = self.superuser.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Ends the connections of the replicator that are, or are not, for replication.
    pub(crate) async fn kill(&self, walsender: bool) {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where usename = 'rolegate_replicator' and datname = current_database() \
                   and (backend_type = 'walsender') = $1";
        self.superuser.query(sql, &[&walsender]).await.unwrap();
    }

    pub(crate) async fn slot(&self) -> String {
        let sql = "select 'rolegate_' || oid from pg_database where datname = current_database()";
        self.text(sql).await
    }
}

impl Process {
    pub(crate) async fn next(&mut self) -> Event {
        timeout(LONG, self.events.next())
            .await
            .expect("an event in time")
    }

    /// Commits up to a position, which must come without a gap.
    pub(crate) async fn commits_up_to(&mut self, lsn: Lsn) -> Vec<Commit> {
        let mut commits = Vec::new();
        // What was not flushed does not come by itself.
        let feed = self.feed.clone();
        tokio::spawn(async move {
            while feed.wait_passed(lsn).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        loop {
            match self.next().await {
                Event::Commit(commit) => {
                    let end = commit.end_lsn;
                    commits.push(Commit::clone(&commit));
                    if end >= lsn {
                        return commits;
                    }
                }
                Event::Passed(passed) if passed >= lsn => return commits,
                Event::Passed(_) => {}
                Event::Lost(lost) => panic!("{lost:?}"),
            }
        }
    }

    /// What comes next is that something was lost.
    pub(crate) async fn lost(&mut self) -> Lost {
        loop {
            match self.next().await {
                Event::Lost(lost) => return lost,
                Event::Passed(_) => {}
                Event::Commit(commit) => panic!("{commit:?}"),
            }
        }
    }

    /// The same, whatever is told before.
    pub(crate) async fn eventually_lost(&mut self) -> Lost {
        loop {
            if let Event::Lost(lost) = self.next().await {
                return lost;
            }
        }
    }

    pub(crate) async fn waits_for(&self, lsn: Lsn) {
        let passed = timeout(LONG, self.feed.wait_passed(lsn));
        passed.await.expect("in time").expect("it follows");
    }

    pub(crate) async fn becomes(&self, status: Status) {
        let is = async {
            while self.feed.status() != status {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let came = timeout(LONG, is).await.is_ok();
        assert!(came, "it is {:?}, and not {status:?}", self.feed.status());
    }

    /// It does not follow any more.
    pub(crate) async fn not_followed(&self) {
        let gone = async {
            while self.feed.epoch().is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, gone).await.expect("in time");
    }

    /// Whether it stopped in time.
    pub(crate) async fn stop(self) -> bool {
        self.stop.cancel();
        let ended = timeout(Duration::from_secs(4), self.task).await;
        slot_is_free(&self.superuser).await;
        ended.is_ok_and(|ended| ended.is_ok())
    }

    /// Ends it as a crash would: nothing is written down any more.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// The server may take a moment to notice that a connection is gone, and a database whose slot is in use can't be
/// dropped.
async fn slot_is_free(superuser: &tokio_postgres::Config) {
    let (client, connection) = superuser.connect(tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let sql = "select not exists (select from pg_replication_slots \
               where database = current_database() and active)";
    let free = async {
        while !client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, free).await.expect("the slot is let go");
    drop(client);
    let _ = connection.await;
}

/// The ids of transactions that wrote into the table, as the stream tells them. Each commit tells its own.
pub(crate) fn told(commits: &[Commit], log: u32) -> Vec<String> {
    let mut ids = Vec::new();
    for commit in commits {
        let Some(touched) = commit.relations.get(&log) else {
            continue;
        };
        let Keys::Exactly(keys) = &touched.keys else {
            panic!("{touched:?}");
        };
        for key in keys {
            let id = key.0[0].as_deref().unwrap();
            assert_eq!(id, commit.xid.0.to_string());
            ids.push(id.to_owned());
        }
    }
    ids
}

pub(crate) fn installation() -> Installation {
    Installation {
        schema: "rolegate".to_owned(),
        owner: "rolegate_owner".to_owned(),
    }
}

pub(crate) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_by_key(|id| id.parse::<u64>().unwrap());
    ids
}
