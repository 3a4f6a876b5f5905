//! A worker: counts the words of texts, tells how far it is, and stops when it is asked to.
//!
//! Beside `rolegate dev`:
//!
//! ```console
//! $ database=$(python3 -c "import json; print(json.load(open('.rolegate/dev.json'))['database_url'])")
//! $ cargo run -p rolegate-jobs --example worker -- "$database"
//! $ psql "$database" -c "select rolegate.enqueue('count_words', '{\"lines\": [\"to be or\", \"not to be\"]}')"
//! ```

use std::error::Error;
use std::time::Duration;

use rolegate_jobs::{Context, Handlers, Job, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::{Address, Endpoint, Login, TlsMode};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::config::{Config, Host};

/// The arguments of a job `count_words`. Others that can't be read as these fail at once.
#[derive(Deserialize)]
struct CountWords {
    lines: Vec<String>,
    /// As if a line were a lot of work.
    #[serde(default)]
    milliseconds_per_line: u64,
}

/// Its output.
#[derive(Serialize)]
struct Counted {
    words: usize,
    attempt: u16,
}

async fn count_words(args: CountWords, job: Job, context: Context) -> Outcome {
    let mut words = 0;
    for (nth, line) in args.lines.iter().enumerate() {
        words += line.split_whitespace().count();
        let percent = u8::try_from(100 * (nth + 1) / args.lines.len()).unwrap_or(100);
        context.progress(percent, &format!("{words} words so far"));
        let work = Duration::from_millis(args.milliseconds_per_line);
        tokio::select! {
            () = tokio::time::sleep(work) => {}
            // The job was cancelled, or the process waits no longer: somebody else begins anew.
            () = context.cancelled() => return Outcome::Released,
        }
    }
    let attempt = job.attempt;
    Outcome::output(&Counted { words, attempt })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = std::env::args().nth(1);
    let endpoint = endpoint(&database.ok_or("usage: worker DATABASE_URL")?)?;
    // Before it starts, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;

    let handlers = Handlers::default().function_in("count_words", count_words);
    let config = WorkerConfig {
        concurrency: 8,
        ..WorkerConfig::default()
    };
    // The login of workers, which may claim and finish jobs and nothing else.
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    let worker = Worker::start(&endpoint, &login, &sql, handlers, config).await?;

    tokio::select! {
        _ = terminate.recv() => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    // Claims nothing more, and lets what runs come to its end, for a time that the configuration bounds.
    if worker.stop().await {
        Ok(())
    } else {
        Err("jobs were left to other workers".into())
    }
}

/// Where the database is: through a socket, as `rolegate dev` has it.
fn endpoint(url: &str) -> Result<Endpoint, Box<dyn Error>> {
    let config: Config = url.parse()?;
    let [Host::Unix(socket)] = config.get_hosts() else {
        return Err("expected the URL of a socket: postgresql:///app?host=/run/postgresql".into());
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    Ok(Endpoint {
        address: Address::Unix {
            directory: socket.clone(),
            port,
        },
        tls: TlsMode::Disable,
        database: config.get_dbname().unwrap_or("app").to_owned(),
    })
}
