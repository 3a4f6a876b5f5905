//! Sends one HTTP request over and over and prints what came back, as one line of JSON.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use rolegate_bench::request::Request;
use rolegate_bench::run::{Plan, run};

/// Closed-loop load over keep-alive connections, one request in flight on each.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address of the server.
    #[arg(long)]
    address: SocketAddr,
    /// Path of the request.
    #[arg(long)]
    path: String,
    /// File with the body; without one it is a GET.
    #[arg(long)]
    body: Option<PathBuf>,
    /// File with further header lines. A file, because command lines are visible to everybody.
    #[arg(long)]
    headers: Option<PathBuf>,
    /// Status of a good answer.
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// Text that the body of a good answer contains.
    #[arg(long)]
    marker: String,
    /// How many times.
    #[arg(long, default_value_t = 1)]
    marker_count: usize,
    /// Connections.
    #[arg(long)]
    connections: usize,
    /// Threads of this program.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds that do not count.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds that count.
    #[arg(long)]
    seconds: f64,
    /// Ends after this many measured requests, if the time has not ended before.
    #[arg(long)]
    requests: Option<u64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let headers: Vec<String> = match &arguments.headers {
        Some(file) => std::fs::read_to_string(file)?
            .lines()
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };
    let (address, path) = (arguments.address, &*arguments.path);
    let (marker, count) = (&*arguments.marker, arguments.marker_count);
    let mut request = match &arguments.body {
        Some(body) => Request::post(
            address,
            path,
            &headers,
            &std::fs::read(body)?,
            marker,
            count,
        ),
        None => Request::get(address, path, &headers, marker, count),
    };
    request.status = arguments.status;
    let plan = Plan {
        connections: arguments.connections,
        threads: arguments.threads,
        warm_up: Duration::try_from_secs_f64(arguments.warm_up)?,
        duration: Duration::try_from_secs_f64(arguments.seconds)?,
        requests: arguments.requests,
    };
    let summary = run(request, &plan)?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
