//! A worker written in Rust, with handlers of its own, as a process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::cluster::SocketEndpoint;
use rolegate_pg::wire::{Endpoint, Login, TlsMode};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config};

use crate::place::{Place, try_connect};

/// Where the database is, for [`run`].
pub(crate) const VARIABLE: &str = "ROLEGATE_STORM_RUST_WORKER";

#[derive(Serialize, Deserialize)]
struct Target {
    socket: PathBuf,
    port: u16,
    database: String,
    clerk: String,
}

#[derive(Deserialize)]
struct Args {
    n: i64,
}

pub(crate) fn place(place: &Place) -> String {
    let target = Target {
        socket: place.db.cluster().socket_dir.clone(),
        port: place.db.cluster().port,
        database: place.db.name().to_owned(),
        clerk: place.clerk.clone(),
    };
    serde_json::to_string(&target).unwrap()
}

pub(crate) async fn run(target: &str) {
    let target: Target = serde_json::from_str(target).unwrap();
    let socket = SocketEndpoint::new(target.socket, target.port);
    let endpoint = Endpoint {
        address: socket.address(),
        tls: TlsMode::Disable,
        database: target.database.clone(),
    };
    let application = Arc::new(Application {
        config: socket.config(&target.clerk, &target.database),
        client: Mutex::new(None),
    });
    let handlers = Handlers::default().function("rust.work", move |args: Args, _| {
        let application = Arc::clone(&application);
        async move { application.work(args.n).await }
    });
    let config = WorkerConfig {
        queues: vec!["rust".to_owned()],
        concurrency: 4,
        ..WorkerConfig::default()
    };
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    let worker = Worker::start(&endpoint, &login, &sql, handlers, config)
        .await
        .unwrap();
    terminate.recv().await;
    assert!(worker.stop().await);
}

/// The application's own connection, made again when it is lost.
struct Application {
    config: Config,
    client: Mutex<Option<Client>>,
}

impl Application {
    async fn work(&self, n: i64) -> Outcome {
        let mut client = self.client.lock().await;
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = try_connect(&self.config).await;
        }
        let Some(connected) = client.as_ref() else {
            return later("no connection".to_owned());
        };
        let sql = "insert into public.run (n, worker) values ($1, 'rust')";
        match connected.execute(sql, &[&n]).await {
            Ok(_) => Outcome::output(&n),
            Err(error) => later(error.to_string()),
        }
    }
}

fn later(error: String) -> Outcome {
    Outcome::Retry {
        error: error.into(),
        after: Some(Duration::from_millis(500)),
    }
}
