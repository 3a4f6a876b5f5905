//! pgmq's SQL functions, called with sqlx: a message is deleted when its job is done. Its SQL is
//! the one embedded in the crate.

use std::process::ExitCode;
use std::sync::Arc;

use rolegate_bench_jobs_protocol::{Contestant, Error, Handler, PLAIN_INSERT, Value};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::types::Json;
use sqlx::{Connection, Executor};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Messages of one read; all of them are deleted in one statement.
const BATCH: i32 = 256;
/// Workers for which there is one loop of read, handle, delete.
const WORKERS_OF_A_LOOP: usize = 16;
/// Seconds until a message that was read and not deleted is seen again.
const INVISIBLE: i32 = 60;

struct Pgmq {
    pool: PgPool,
}

struct Running {
    stop: watch::Sender<bool>,
    loops: JoinSet<Result<(), Error>>,
}

impl Contestant for Pgmq {
    type Connection = PgConnection;
    type Running = Running;

    fn about() -> (&'static str, String) {
        ("pgmq", "1.11.1 (SQL of crate 0.33.7)".to_owned())
    }

    async fn connect(url: &str, connections: u32) -> Result<Self, Error> {
        Ok(Self {
            pool: PgPoolOptions::new()
                .max_connections(connections)
                .connect(url)
                .await?,
        })
    }

    async fn install(&self, queues: &[String]) -> Result<(), Error> {
        pgmq::install::install_sql_from_embedded(&self.pool).await?;
        for queue in queues {
            self.pool
                .execute(sqlx::query("select pgmq.create($1)").bind(queue))
                .await?;
        }
        Ok(())
    }

    async fn enqueue(&self, queue: &str, payloads: Vec<Value>) -> Result<(), Error> {
        let send = sqlx::query("select count(*) from pgmq.send_batch($1, $2)");
        self.pool.execute(send.bind(queue).bind(payloads)).await?;
        Ok(())
    }

    async fn pending(&self, queues: &[String]) -> Result<i64, Error> {
        let mut jobs = 0;
        for queue in queues {
            let count = format!("select count(*) from pgmq.q_{queue}");
            jobs += sqlx::query_scalar::<_, i64>(&count)
                .fetch_one(&self.pool)
                .await?;
        }
        Ok(jobs)
    }

    async fn connection(url: &str) -> Result<PgConnection, Error> {
        Ok(PgConnection::connect(url).await?)
    }

    async fn single(connection: &mut PgConnection, queue: &str, job: &Value) -> Result<(), Error> {
        let mut transaction = connection.begin().await?;
        let send = sqlx::query("select pgmq.send($1, $2)");
        transaction.execute(send.bind(queue).bind(job)).await?;
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
    ) -> Result<Running, Error> {
        let (stop, stopped) = watch::channel(false);
        let mut loops = JoinSet::new();
        for number in 0..workers.div_ceil(WORKERS_OF_A_LOOP) {
            // Each begins with another queue.
            let mut queues = queues.to_vec();
            let shift = number % queues.len();
            queues.rotate_left(shift);
            let (this, handler, stopped) = (self.clone(), handler.clone(), stopped.clone());
            loops.spawn(async move { this.work(&queues, &handler, &stopped).await });
        }
        Ok(Running { stop, loops })
    }

    async fn stop(mut running: Running) -> Result<(), Error> {
        running.stop.send(true)?;
        while let Some(done) = running.loops.join_next().await {
            done??;
        }
        Ok(())
    }
}

impl Pgmq {
    async fn work(
        &self,
        queues: &[String],
        handler: &Handler,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        while !*stopped.borrow() {
            let mut found = false;
            for queue in queues {
                found |= self.batch(queue, handler, false).await?;
                if *stopped.borrow() {
                    return Ok(());
                }
            }
            if !found {
                // With several queues only the first is waited for, and not for long.
                self.batch(&queues[0], handler, true).await?;
            }
        }
        Ok(())
    }

    /// Whether there was something.
    async fn batch(&self, queue: &str, handler: &Handler, wait: bool) -> Result<bool, Error> {
        // The wait is the server's, looking every 10 ms for a second.
        let read = if wait {
            "select msg_id, message from pgmq.read_with_poll($1, $2, $3, 1, 10)"
        } else {
            "select msg_id, message from pgmq.read($1, $2, $3)"
        };
        let messages: Vec<(i64, Json<Value>)> = sqlx::query_as(read)
            .bind(queue)
            .bind(INVISIBLE)
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await?;
        if messages.is_empty() {
            return Ok(false);
        }
        for (_, message) in &messages {
            handler.handle(message);
        }
        let done: Vec<i64> = messages.iter().map(|(id, _)| *id).collect();
        let delete = sqlx::query("select count(*) from pgmq.delete($1, $2::bigint[])");
        self.pool.execute(delete.bind(queue).bind(done)).await?;
        Ok(true)
    }
}

fn main() -> ExitCode {
    rolegate_bench_jobs_protocol::main::<Pgmq>()
}
