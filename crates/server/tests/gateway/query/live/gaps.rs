//! The change stream is cut while people write, watch and ask: nobody misses a change for good, and nothing old is called
//! current.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use rolegate_replication::Lsn;
use rolegate_testkit::Version;
use rolegate_testkit::own_server::OwnServer;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::stage::{Stage, Watcher};
use crate::harness::publish;

/// Longer than all of it takes.
const LONG: Duration = Duration::from_mins(2);
/// How long people write before the cut, and after it.
const WRITING: Duration = Duration::from_secs(2);
const OPEN: &str = "select id, name from open";
const DOCS: &str = "select id, title from docs";
const COUNT: &str = "select id, n from counted where id = 1";

const TABLES: &str = "create table api.counted (id int primary key, n int not null);
    insert into api.counted values (1, 0); grant select on api.counted to public;";

type Rows = BTreeMap<String, Value>;

/// What has been written, and is known to have been.
#[derive(Debug, Default)]
struct Written {
    /// Numbers of the counter, with positions behind their commits.
    counts: Mutex<Vec<(i64, Lsn)>>,
}

impl Written {
    /// The least number that an answer may show which is current up to here.
    fn at_least(&self, lsn: Lsn) -> i64 {
        let counts = self.counts.lock().expect("no panic");
        let shown = counts.iter().filter(|(_, at)| *at <= lsn);
        shown.map(|(n, _)| *n).max().unwrap_or_default()
    }

    fn last(&self) -> Option<(i64, Lsn)> {
        self.counts.lock().expect("no panic").last().copied()
    }
}

struct Scene {
    server: OwnServer,
    stage: Stage,
    written: Written,
}

/// What a watcher went through.
#[derive(Debug, Default)]
struct Heard {
    resets: Vec<String>,
    ends: Vec<String>,
}

impl Scene {
    async fn set(version: Version) -> Self {
        let server = OwnServer::new(version).await;
        let stage = Stage::set(&server.db).await;
        stage.run(TABLES).await;
        publish(&server.db).await;
        Self {
            server,
            stage,
            written: Written::default(),
        }
    }

    /// Somebody who writes, whatever happens, until he is told to stop.
    async fn write(&self, mut stop: watch::Receiver<bool>) {
        let mut writer: Option<Client> = None;
        let mut round = 0_i64;
        while !*stop.borrow_and_update() {
            round += 1;
            let client = match writer.take() {
                Some(client) if !client.is_closed() => client,
                _ => match self.connect().await {
                    Some(client) => client,
                    None => continue,
                },
            };
            let id = 10 + round % 7;
            let sql = format!(
                "begin; update api.counted set n = {round};
                 delete from api.open where id = {id}; delete from api.docs where id = {id}; commit;
                 begin; insert into api.open values ({id}, 'round {round}');
                 insert into api.docs values ({id}, 1 + {round} % 2, 'round {round}'); commit"
            );
            if client.batch_execute(&sql).await.is_ok()
                && let Ok(row) = client
                    .query_one("select pg_current_wal_flush_lsn()::text", &[])
                    .await
            {
                let at = row.get::<_, &str>(0).parse().expect("a position");
                self.written
                    .counts
                    .lock()
                    .expect("no panic")
                    .push((round, at));
                writer = Some(client);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A connection, unless the server is away.
    async fn connect(&self) -> Option<Client> {
        let client = self.server.db.try_connect_as("postgres").await.ok();
        if client.is_none() {
            sleep(Duration::from_millis(50)).await;
        }
        client
    }

    /// Watches, and comes back when the stream ends, until it has the rows that there are in the end.
    async fn follow(
        &self,
        token: Option<&str>,
        sql: &str,
        last: watch::Receiver<Option<Rows>>,
    ) -> Heard {
        let mut heard = Heard::default();
        let mut watcher: Option<Watcher> = None;
        let mut last = last;
        loop {
            let cursor = watcher.as_ref().and_then(|watcher| watcher.last.clone());
            let response = self
                .stage
                .ask(token, &json!({"sql": sql}), cursor.as_deref())
                .await;
            if response.status() != 200 {
                // 422: what is not published can't be watched.
                let status = response.status();
                assert!(status.is_server_error() || status == 422, "{status}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
            match &mut watcher {
                Some(watcher) => watcher.go_on(response),
                None => watcher = Some(Watcher::new(response)),
            }
            let Some(watcher) = &mut watcher else {
                continue;
            };
            loop {
                if last
                    .borrow_and_update()
                    .as_ref()
                    .is_some_and(|last| *last == watcher.by_id())
                {
                    heard.resets.clone_from(&watcher.resets);
                    return heard;
                }
                tokio::select! {
                    event = watcher.next() => match event {
                        Some(event) if event.name == "error" => {
                            heard.ends.push(event.data["code"].as_str().expect("a code").to_owned());
                        }
                        Some(_) => {}
                        None => break,
                    },
                    _ = last.changed() => {}
                }
            }
        }
    }

    /// Asks for what is kept. An answer that is called current up to somewhere shows what was written up to there.
    async fn ask(&self, mut stop: watch::Receiver<bool>) -> usize {
        let mut current = 0;
        let mut own_writes = false;
        while !*stop.borrow_and_update() {
            own_writes = !own_writes;
            let url = format!("http://{}/query", self.stage.gateway.address);
            let post = self
                .stage
                .gateway
                .client
                .post(url)
                .json(&json!({"sql": COUNT}));
            let mut post = post.header("prefer", "return=representation");
            let written = self.written.last().filter(|_| own_writes);
            if let Some((_, lsn)) = written {
                post = post.header("rolegate-min-lsn", lsn.to_string());
            }
            let answer = post.send().await.expect("an answer");
            if answer.status() != 200 {
                assert!(answer.status().is_server_error(), "{}", answer.status());
                sleep(Duration::from_millis(50)).await;
                continue;
            }
            let lsn = answer.headers().get("rolegate-lsn").cloned();
            let rows: Value = answer.json().await.expect("JSON");
            let n = rows[0]["n"].as_i64().expect("a number");
            if let Some((least, lsn)) = written {
                assert!(
                    n >= least,
                    "{n} is older than {least}, which was asked for at {lsn}"
                );
            }
            if let Some(lsn) = lsn {
                current += 1;
                let lsn = lsn.to_str().expect("text").parse().expect("a position");
                let least = self.written.at_least(lsn);
                assert!(
                    n >= least,
                    "{n} is called current at {lsn}, where {least} had been written"
                );
            }
            sleep(Duration::from_millis(3)).await;
        }
        current
    }

    /// What there is in the end, as the watcher of the query has to have it.
    async fn rows(&self, sql: &str) -> Rows {
        let client = self.server.db.superuser().await;
        client
            .batch_execute("set search_path = api")
            .await
            .expect("set");
        let sql = format!("select to_jsonb(q) from ({sql}) q");
        let rows = client.query(&sql, &[]).await.expect("rows");
        let rows = rows.iter().map(|row| row.get::<_, Value>(0));
        rows.map(|row| (row["id"].to_string(), row)).collect()
    }

    /// People write, watch and ask while `cut` is done.
    async fn play(&self, cut: impl AsyncFn(&Self)) -> [Heard; 2] {
        let (stop, stopped) = watch::channel(false);
        let (open, open_last) = watch::channel(None);
        let (docs, docs_last) = watch::channel(None);
        let (asking, asked) = watch::channel(false);
        let token = self.stage.member_of(1);
        let director = async {
            sleep(WRITING).await;
            cut(self).await;
            sleep(WRITING).await;
            stop.send_replace(true);
        };
        let writer = async {
            self.write(stopped).await;
            // From here on nothing is written: what was lost stays lost.
            open.send_replace(Some(self.rows(OPEN).await));
            let mine = "select id, title from docs where org = 1";
            docs.send_replace(Some(self.rows(mine).await));
        };
        let watchers = async {
            let heard = tokio::join!(
                self.follow(None, OPEN, open_last),
                self.follow(Some(&token), DOCS, docs_last)
            );
            asking.send_replace(true);
            heard
        };
        let all = async { tokio::join!(director, writer, watchers, self.ask(asked)) };
        let ((), (), heard, current) = timeout(LONG, all).await.expect("everybody has everything");
        assert!(current > 20, "{current} answers were kept");
        [heard.0, heard.1]
    }

    async fn end(self) {
        drop(self.stage);
        self.server.stop().await;
    }
}

/// Drops the slot, as soon as nobody reads it.
const DROP_SLOT: &str = "do $$ begin loop
    perform pg_terminate_backend(active_pid) from pg_replication_slots where active;
    begin
        perform pg_drop_replication_slot(slot_name) from pg_replication_slots;
        exit;
    exception when object_in_use then null;
    end;
end loop; end $$";

#[tokio::test]
async fn the_reader_is_thrown_out() {
    for version in Version::ALL {
        let scene = Scene::set(version).await;
        let heard = scene
            .play(async |scene| {
                let superuser = scene.server.db.superuser().await;
                for _ in 0..5 {
                    let sql = "select pg_terminate_backend(active_pid) from pg_replication_slots where active";
                    superuser.query(sql, &[]).await.expect("terminated");
                    sleep(Duration::from_millis(300)).await;
                }
            })
            .await;
        // The slot has kept everything: nobody has to begin anew.
        for heard in heard {
            assert!(
                heard.resets.is_empty() && heard.ends.is_empty(),
                "{heard:?}"
            );
        }
        scene.end().await;
    }
}

#[tokio::test]
async fn the_slot_is_dropped() {
    for version in Version::ALL {
        let scene = Scene::set(version).await;
        let heard = scene
            .play(async |scene| {
                let superuser = scene.server.db.superuser().await;
                superuser.batch_execute(DROP_SLOT).await.expect("dropped");
            })
            .await;
        for heard in heard {
            let told = heard.resets.iter().any(|reason| reason == "feed") || !heard.ends.is_empty();
            assert!(told, "nobody said that changes were lost: {heard:?}");
        }
        scene.end().await;
    }
}

/// All of its processes end at once, and it starts again.
#[tokio::test]
async fn the_server_crashes() {
    for version in Version::ALL {
        let scene = Scene::set(version).await;
        scene
            .play(async |scene| {
                let superuser = scene.server.db.superuser().await;
                let row = superuser
                    .query_one("select pg_backend_pid()", &[])
                    .await
                    .expect("a row");
                let pid: i32 = row.get(0);
                let crash = format!("copy (select 1) to program 'kill -9 {pid}'");
                superuser
                    .batch_execute(&crash)
                    .await
                    .expect_err("it is gone");
            })
            .await;
        scene.end().await;
    }
}

#[tokio::test]
async fn the_publication_is_dropped_and_made_again() {
    for version in Version::ALL {
        let scene = Scene::set(version).await;
        let heard = scene
            .play(async |scene| {
                let superuser = scene.server.db.superuser().await;
                superuser
                    .batch_execute("drop publication rolegate")
                    .await
                    .expect("dropped");
                sleep(WRITING).await;
                Box::pin(publish(&scene.server.db)).await;
            })
            .await;
        for heard in heard {
            assert!(
                !heard.resets.is_empty() || !heard.ends.is_empty(),
                "nobody was told: {heard:?}"
            );
        }
        scene.end().await;
    }
}
