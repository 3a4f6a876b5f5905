//! Watches a live query from many connections and prints what arrived when, as one line of JSON.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use rolegate_bench::watch::{Plan, run};

/// Event streams, all open at the same time. Prints `ready` when all have their rows, and a summary at the end.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address of the server.
    #[arg(long)]
    address: SocketAddr,
    /// Path with the query; `{}` in it is the number of the group. Its rows have a column `sent`, microseconds
    /// since 1970.
    #[arg(long)]
    path: String,
    /// How many.
    #[arg(long)]
    streams: usize,
    /// Different queries.
    #[arg(long, default_value_t = 1)]
    groups: usize,
    /// Seconds, from `ready` on.
    #[arg(long)]
    seconds: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let plan = Plan {
        address: arguments.address,
        path: arguments.path,
        streams: arguments.streams,
        groups: arguments.groups.max(1),
        duration: Duration::try_from_secs_f64(arguments.seconds)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let summary = runtime.block_on(run(plan, || println!("ready")))?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
