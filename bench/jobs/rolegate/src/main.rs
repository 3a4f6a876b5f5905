//! Ours with its defaults, under the worker's own login.

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rolegate_bench_jobs_protocol::{Contestant, Error, Handler, PLAIN_INSERT, Value, json};
use rolegate_jobs::{Context, Handlers, Job, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::{Address, Endpoint, Login, TlsMode};
use rolegate_roles::names::Names;
use rolegate_roles::{bootstrap, migrate};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls, Statement};

/// What the requests of the variant `all` say.
const HEADERS: &str =
    r#"{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}"#;
const CLAIMS: &str =
    r#"{"role": "postgres", "sub": "7c1f3ad2-6d0e-4c5b-9a57-0f6f4f7b8a11", "tenant": 7}"#;

/// Passes the arguments on.
struct Bench {
    handler: Arc<Handler>,
    with_output: bool,
}

impl rolegate_jobs::Handler for Bench {
    fn run<'a>(&'a self, job: Job, _: &'a Context) -> BoxFuture<'a, Outcome> {
        let outcome = match job.args::<Value>() {
            Ok(args) => {
                self.handler.handle(&args);
                let output =
                    || json!({ "seq": args["seq"], "result": "stored as the job's output" });
                if self.with_output {
                    Outcome::output(&output())
                } else {
                    Outcome::Completed(None)
                }
            }
            Err(error) => Outcome::failed(error.to_string()),
        };
        std::future::ready(outcome).boxed()
    }
}

/// A connection with its one statement.
struct Application {
    client: Client,
    statement: Option<Statement>,
}

impl Application {
    async fn statement(&mut self, sql: &str) -> Result<Statement, Error> {
        if self.statement.is_none() {
            self.statement = Some(self.client.prepare(sql).await?);
        }
        self.statement.clone().ok_or_else(|| "no statement".into())
    }
}

struct Rolegate {
    config: Config,
    client: Client,
    /// Jobs have claims, a trace and an output.
    all: bool,
}

async fn connect(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn endpoint(config: &Config) -> Result<Endpoint, Error> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let address = match config.get_hosts().first() {
        Some(Host::Unix(directory)) => Address::Unix {
            directory: directory.clone(),
            port,
        },
        Some(Host::Tcp(host)) => Address::Tcp {
            host: host.clone(),
            port,
        },
        None => return Err("DATABASE_URL names no host".into()),
    };
    Ok(Endpoint {
        address,
        tls: TlsMode::Disable,
        database: config
            .get_dbname()
            .ok_or("DATABASE_URL names no database")?
            .to_owned(),
    })
}

impl Contestant for Rolegate {
    type Connection = Application;
    type Running = Worker;

    fn about() -> (&'static str, String) {
        ("rolegate", env!("CARGO_PKG_VERSION").to_owned())
    }

    async fn connect(url: &str, _: u32) -> Result<Self, Error> {
        let config: Config = url.parse()?;
        let client = connect(&config).await?;
        Ok(Self {
            config,
            client,
            all: false,
        })
    }

    fn vary(&mut self, variant: &str) {
        self.all = variant == "all";
    }

    async fn install(&self, queues: &[String]) -> Result<(), Error> {
        let names = Names::default();
        bootstrap::apply(&self.client, &names).await?;
        let mut migrator = self.config.clone();
        let mut migrator = connect(migrator.user(names.role("migrator"))).await?;
        migrate::run(&mut migrator, &names).await?;
        for queue in queues {
            self.client
                .execute("select rolegate.create_queue($1)", &[queue])
                .await?;
        }
        Ok(())
    }

    async fn enqueue(&self, queue: &str, payloads: Vec<Value>) -> Result<(), Error> {
        if self.all {
            let sql = "select set_config('request.headers', $1, false), \
                set_config('request.jwt.claims', $2, false)";
            self.client.execute(sql, &[&HEADERS, &CLAIMS]).await?;
        }
        let sql = "select rolegate.enqueue_many('bench_job', $1, $2)";
        self.client.execute(sql, &[&payloads, &queue]).await?;
        Ok(())
    }

    async fn pending(&self, _: &[String]) -> Result<i64, Error> {
        let sql = "select (select count(*) from rolegate.job) \
            + (select count(*) from rolegate.job_deferred) \
            - coalesce((select sum(cardinality(ordinals)) from rolegate.job_outcome), 0)::bigint";
        Ok(self.client.query_one(sql, &[]).await?.try_get(0)?)
    }

    async fn connection(url: &str) -> Result<Application, Error> {
        Ok(Application {
            client: connect(&url.parse()?).await?,
            statement: None,
        })
    }

    async fn single(app: &mut Application, queue: &str, job: &Value) -> Result<(), Error> {
        let statement = app
            .statement("select rolegate.enqueue('bench_job', $1, $2)")
            .await?;
        let transaction = app.client.transaction().await?;
        transaction.query_one(&statement, &[job, &queue]).await?;
        Ok(transaction.commit().await?)
    }

    async fn plain(app: &mut Application, queue: &str, job: &Value) -> Result<(), Error> {
        let statement = app.statement(PLAIN_INSERT).await?;
        let transaction = app.client.transaction().await?;
        transaction.query_one(&statement, &[&queue, job]).await?;
        Ok(transaction.commit().await?)
    }

    async fn start(
        self: &Arc<Self>,
        workers: usize,
        queues: &[String],
        handler: Arc<Handler>,
    ) -> Result<Worker, Error> {
        let config = WorkerConfig {
            queues: queues.to_vec(),
            concurrency: workers,
            ..WorkerConfig::default()
        };
        let login = Login::peer("rolegate_worker");
        let sql = EngineSql::new("rolegate");
        let bench = Bench {
            handler,
            with_output: self.all,
        };
        let handlers = Handlers::default().kind("bench_job", bench);
        Ok(Worker::start(&endpoint(&self.config)?, &login, &sql, handlers, config).await?)
    }

    async fn stop(worker: Worker) -> Result<(), Error> {
        if worker.stop().await {
            Ok(())
        } else {
            Err("the worker did not stop in time".into())
        }
    }
}

fn main() -> ExitCode {
    rolegate_bench_jobs_protocol::main::<Rolegate>()
}
