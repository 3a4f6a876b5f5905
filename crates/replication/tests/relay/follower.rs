//! A process that reads and passes on, and one that hears.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rolegate_pg::EngineSql;
use rolegate_pg::own::OwnPool;
use rolegate_pg::wire::Login;
use rolegate_replication::relay::{FollowConfig, Relay, follow};
use rolegate_replication::{Feed, StreamConfig};
use rolegate_testkit::TestDatabase;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::stage::{Process, Stage};

/// What passes on, as long as this lives.
pub(crate) struct Passing {
    pub(crate) relay: Arc<Relay>,
    _stop: DropGuard,
}

pub(crate) async fn passing() -> Passing {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let relay = Relay::bind(listen, None).await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&relay).serve(stop.clone()));
    Passing {
        relay,
        _stop: stop.drop_guard(),
    }
}

pub(crate) fn config(stage: &Stage<'_>, passing: &Passing) -> StreamConfig {
    StreamConfig {
        relay: Some(Arc::clone(&passing.relay)),
        ..stage.config()
    }
}

/// Hears for `feed`, as the gateway's login, until dropped.
pub(crate) struct Hearing {
    looks: JoinHandle<()>,
    hears: JoinHandle<()>,
}

impl Hearing {
    pub(crate) fn start(db: &TestDatabase, feed: &Feed) -> Self {
        let login = Login::peer("rolegate_gateway");
        let pool = OwnPool::new(&db.wire_endpoint(), &login, 2).unwrap();
        let (seen, term) = watch::channel(None);
        let looks = tokio::spawn(look(pool.clone(), seen));
        let config = FollowConfig {
            database: db.name().into(),
            pool,
            sql: EngineSql::new("rolegate"),
            term,
        };
        let hears = tokio::spawn(follow(config, feed.clone(), CancellationToken::new()));
        Self { looks, hears }
    }
}

/// What the poll of the catalog does in a gateway.
async fn look(pool: OwnPool, seen: watch::Sender<Option<i64>>) {
    loop {
        let client = pool.get().await.unwrap();
        let row = client
            .query_one("select rolegate.change_relay_term()", &[])
            .await;
        if let Ok(row) = row {
            let term: Option<i64> = row.get(0);
            seen.send_if_modified(|seen| std::mem::replace(seen, term) != term);
        }
        drop(client);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.looks.abort();
        self.hears.abort();
    }
}

/// A process that only hears.
pub(crate) fn hearer(stage: &Stage<'_>) -> (Process, Hearing) {
    let process = stage.without_reader();
    let hearing = Hearing::start(stage.db, &process.feed);
    (process, hearing)
}
