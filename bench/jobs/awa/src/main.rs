//! awa 0.6.9 with its default engine, in the configuration that it is fastest with: no deadline
//! (receipts instead of leases), claims of up to 512.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use awa::worker::TransitionWorkerRole;
use awa::{InsertOpts, InsertParams, JobArgs, QueueConfig, QueueStorage, QueueStorageConfig};
use rolegate_bench_jobs_protocol::{Contestant, Error, Handler, PLAIN_INSERT, Value};
use serde::{Deserialize, Serialize};
use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};

/// The payload as it came.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct BenchJob(Value);

impl JobArgs for BenchJob {
    fn kind() -> &'static str {
        "bench_job"
    }
}

struct Worker(Arc<Handler>);

#[async_trait::async_trait]
impl awa::Worker for Worker {
    fn kind(&self) -> &'static str {
        BenchJob::kind()
    }

    async fn perform(&self, context: &awa::JobContext) -> Result<awa::JobResult, awa::JobError> {
        self.0.handle(&context.job.args);
        Ok(awa::JobResult::Completed)
    }
}

struct Awa {
    pool: PgPool,
    store: QueueStorage,
}

fn options(queue: &str) -> InsertOpts {
    InsertOpts {
        queue: queue.to_owned(),
        ..Default::default()
    }
}

impl Contestant for Awa {
    type Connection = PgConnection;
    type Running = awa::Client;

    fn about() -> (&'static str, String) {
        ("awa", "0.6.9".to_owned())
    }

    async fn connect(url: &str, connections: u32) -> Result<Self, Error> {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .connect(url)
            .await?;
        Ok(Self {
            pool,
            store: QueueStorage::new(QueueStorageConfig::default())?,
        })
    }

    async fn install(&self, _: &[String]) -> Result<(), Error> {
        awa::migrations::run(&self.pool).await?;
        Ok(self.store.install(&self.pool).await?)
    }

    async fn enqueue(&self, queue: &str, payloads: Vec<Value>) -> Result<(), Error> {
        let jobs: Vec<InsertParams> = payloads
            .into_iter()
            .map(|args| InsertParams {
                kind: BenchJob::kind().to_owned(),
                args,
                opts: options(queue),
            })
            .collect();
        self.store.enqueue_params_copy(&self.pool, &jobs).await?;
        Ok(())
    }

    async fn pending(&self, queues: &[String]) -> Result<i64, Error> {
        let mut jobs = 0;
        for queue in queues {
            let counts = self.store.queue_counts(&self.pool, queue).await?;
            jobs += counts.available + counts.running;
        }
        Ok(jobs)
    }

    async fn connection(url: &str) -> Result<PgConnection, Error> {
        Ok(PgConnection::connect(url).await?)
    }

    async fn single(connection: &mut PgConnection, queue: &str, job: &Value) -> Result<(), Error> {
        let mut transaction = connection.begin().await?;
        awa::insert_with(&mut *transaction, &BenchJob(job.clone()), options(queue)).await?;
        Ok(transaction.commit().await?)
    }

    async fn plain(connection: &mut PgConnection, queue: &str, job: &Value) -> Result<(), Error> {
        let mut transaction = connection.begin().await?;
        sqlx::query(PLAIN_INSERT)
            .bind(queue)
            .bind(job)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    async fn start(
        self: &Arc<Self>,
        workers: usize,
        queues: &[String],
        handler: Arc<Handler>,
    ) -> Result<awa::Client, Error> {
        let workers = u32::try_from(workers)?;
        let second = Duration::from_secs(1);
        let mut builder = awa::Client::builder(self.pool.clone())
            .queue_storage(QueueStorageConfig::default(), second, second)
            .transition_role(TransitionWorkerRole::QueueStorageTarget)
            .register_worker(Worker(handler));
        // Several queues share the workers, as they do elsewhere; else each has its own.
        if queues.len() > 1 {
            builder = builder.global_max_workers(workers);
        }
        for queue in queues {
            builder = builder.queue(
                queue,
                QueueConfig {
                    max_workers: workers,
                    poll_interval: Duration::from_millis(50),
                    deadline_duration: Duration::ZERO,
                    claim_batch_size: 512,
                    ..QueueConfig::default()
                },
            );
        }
        let client = builder.build()?;
        client.start().await?;
        Ok(client)
    }

    async fn stop(client: awa::Client) -> Result<(), Error> {
        client.shutdown(Duration::from_secs(10)).await;
        Ok(())
    }
}

fn main() -> ExitCode {
    rolegate_bench_jobs_protocol::main::<Awa>()
}
