//! The sub-commands.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::handler::Handler;
use crate::payload::{now, payload};
use crate::{Contestant, Error, latency};

/// Jobs of one bulk call.
const BULK: usize = 2_000;
/// How often workers say how far they are.
const PROGRESS: Duration = Duration::from_millis(10);
/// How often the paced producer enqueues.
const PACE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, ValueEnum)]
enum Command {
    About,
    Install,
    Enqueue,
    Pending,
    Work,
    Produce,
    Single,
    Latency,
}

/// A contestant of bench/jobs.py; the database is $DATABASE_URL
#[derive(Parser)]
pub struct Options {
    command: Command,
    #[arg(long, default_value_t = 1000)]
    pub jobs: usize,
    #[arg(long, default_value_t = 1)]
    pub queues: usize,
    /// Bytes of a job's arguments
    #[arg(long, default_value_t = 256)]
    pub payload: usize,
    /// Jobs that run at a time in this process
    #[arg(long, default_value_t = 4)]
    pub workers: usize,
    /// Connections of this process
    #[arg(long, default_value_t = 20)]
    pub pool: u32,
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Jobs per second
    #[arg(long, default_value_t = 800.0)]
    pub rate: f64,
    /// A plain INSERT in place of a job
    #[arg(long)]
    pub plain: bool,
    /// Of contestants that there is more than one of
    #[arg(long, default_value = "")]
    pub variant: String,
}

impl Options {
    /// Of the database.
    pub fn url(&self) -> Result<String, Error> {
        std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set".into())
    }
}

/// The whole program of a contestant.
pub fn main<C: Contestant>() -> ExitCode {
    let options = Options::parse();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(carry_out::<C>(&options)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn carry_out<C: Contestant>(options: &Options) -> Result<(), Error> {
    match options.command {
        Command::About => {
            let (name, version) = C::about();
            say(&json!({ "event": "about", "name": name, "version": version }));
            Ok(())
        }
        Command::Install => install::<C>(options).await,
        Command::Enqueue => enqueue::<C>(options).await,
        Command::Pending => pending::<C>(options).await,
        Command::Work => work::<C>(options).await,
        Command::Produce => produce::<C>(options).await,
        Command::Single => single::<C>(options).await,
        Command::Latency => latency::measure::<C>(options).await,
    }
}

/// One line of JSON.
pub fn say(line: &Value) {
    let mut output = std::io::stdout().lock();
    // Nobody to tell when the bench is gone; stdin ends then too.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

pub fn queue_names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("bench_{number}")).collect()
}

fn orders() -> Lines<BufReader<Stdin>> {
    BufReader::new(tokio::io::stdin()).lines()
}

async fn install<C: Contestant>(options: &Options) -> Result<(), Error> {
    let begin = Instant::now();
    let contestant = C::connect(&options.url()?, 5).await?;
    contestant.install(&queue_names(options.queues)).await?;
    say(&json!({ "event": "installed", "seconds": begin.elapsed().as_secs_f64() }));
    Ok(())
}

async fn enqueue<C: Contestant>(options: &Options) -> Result<(), Error> {
    let queues = queue_names(options.queues);
    let mut contestant = C::connect(&options.url()?, 5).await?;
    contestant.vary(&options.variant);
    let begin = now();
    let mut left: Vec<usize> = (0..queues.len())
        .map(|number| (options.jobs + queues.len() - 1 - number) / queues.len())
        .collect();
    let mut seq = 0;
    // In turn, so that all queues have jobs of about the same age.
    while seq < options.jobs {
        for (queue, left) in queues.iter().zip(&mut left).filter(|(_, left)| **left > 0) {
            let count = BULK.min(*left);
            let payloads = (seq..seq + count)
                .map(|n| payload(n, options.payload))
                .collect();
            contestant.enqueue(queue, payloads).await?;
            *left -= count;
            seq += count;
        }
    }
    say(&json!({ "event": "enqueued", "jobs": seq, "begin": begin, "end": now() }));
    Ok(())
}

/// Answers each line with the number of jobs that are not finished.
async fn pending<C: Contestant>(options: &Options) -> Result<(), Error> {
    let queues = queue_names(options.queues);
    let contestant = C::connect(&options.url()?, 1).await?;
    let mut orders = orders();
    while orders.next_line().await?.is_some() {
        let begin = now();
        let jobs = contestant.pending(&queues).await?;
        say(&json!({ "event": "pending", "jobs": jobs, "begin": begin, "end": now() }));
    }
    Ok(())
}

/// Works from the first line to the second, or to the end of the input.
async fn work<C: Contestant>(options: &Options) -> Result<(), Error> {
    let queues = queue_names(options.queues);
    let mut contestant = C::connect(&options.url()?, options.pool).await?;
    contestant.vary(&options.variant);
    let contestant = Arc::new(contestant);
    let handler = Arc::new(Handler::new(None));
    let mut orders = orders();
    say(&json!({ "event": "ready" }));
    if orders.next_line().await?.is_none() {
        return Ok(());
    }
    let running = contestant
        .start(options.workers, &queues, handler.clone())
        .await?;
    let mut ticks = tokio::time::interval(PROGRESS);
    let mut told = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let handled = handler.handled();
                if handled != told {
                    told = handled;
                    say(&json!({
                        "event": "progress", "jobs": handled, "first": handler.first(), "at": now(),
                    }));
                }
            }
            order = orders.next_line() => {
                order?;
                break;
            }
        }
    }
    let begin = Instant::now();
    C::stop(running).await?;
    say(&json!({
        "event": "worked",
        "jobs": handler.handled(),
        "first": handler.first(),
        "age": handler.ages(),
        "stop_seconds": begin.elapsed().as_secs_f64(),
    }));
    Ok(())
}

/// Enqueues at a steady rate, some every few milliseconds in one call.
async fn produce<C: Contestant>(options: &Options) -> Result<(), Error> {
    let queues = queue_names(options.queues);
    let contestant = C::connect(&options.url()?, 2).await?;
    let (begin, started) = (now(), Instant::now());
    let mut ticks = tokio::time::interval(PACE);
    let mut seq = 0;
    while started.elapsed().as_secs_f64() < options.seconds {
        ticks.tick().await;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let due = (started.elapsed().as_secs_f64().min(options.seconds) * options.rate) as usize;
        let due = due.min(seq + BULK);
        if due > seq {
            let payloads = (seq..due).map(|n| payload(n, options.payload)).collect();
            contestant
                .enqueue(&queues[seq % queues.len()], payloads)
                .await?;
            seq = due;
        }
    }
    say(&json!({ "event": "enqueued", "jobs": seq, "begin": begin, "end": now() }));
    Ok(())
}

/// As many transactions of one job as fit into the time, on each connection one after the other.
async fn single<C: Contestant>(options: &Options) -> Result<(), Error> {
    let (url, plain, bytes) = (options.url()?, options.plain, options.payload);
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        connections.push(C::connection(&url).await?);
    }
    let numbers = Arc::new(AtomicU64::new(0));
    let lasting = Duration::from_secs_f64(options.seconds);
    let begin = now();
    let started = Instant::now();
    let producers = connections.into_iter().map(|mut connection| {
        let numbers = numbers.clone();
        tokio::spawn(async move {
            let queue = &queue_names(1)[0];
            let mut done = 0usize;
            while started.elapsed() < lasting {
                let seq = usize::try_from(numbers.fetch_add(1, Ordering::Relaxed))?;
                let job = payload(seq, bytes);
                if plain {
                    C::plain(&mut connection, queue, &job).await?;
                } else {
                    C::single(&mut connection, queue, &job).await?;
                }
                done += 1;
            }
            Ok::<_, Error>(done)
        })
    });
    let producers: Vec<_> = producers.collect();
    let mut jobs = 0;
    for producer in producers {
        jobs += producer.await??;
    }
    say(&json!({ "event": "enqueued", "jobs": jobs, "begin": begin, "end": now() }));
    Ok(())
}
