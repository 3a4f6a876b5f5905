//! One job at a time on an idle system: how long until a worker has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use crate::commands::{Options, queue_names, say};
use crate::handler::{Handler, figures, histogram};
use crate::payload::payload;
use crate::{Contestant, Error};

/// Longest wait for one job.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn measure<C: Contestant>(options: &Options) -> Result<(), Error> {
    let queues = queue_names(options.queues);
    let url = options.url()?;
    let (sender, mut receiver) = unbounded_channel();
    let contestant = Arc::new(C::connect(&url, options.pool).await?);
    let handler = Arc::new(Handler::new(Some(sender)));
    let running = contestant.start(options.workers, &queues, handler).await?;
    let mut connection = C::connection(&url).await?;

    let (mut from_call, mut from_commit) = (histogram(), histogram());
    let (mut before_answer, mut lost) = (0u64, 0u64);
    // The first ones prepare statements and open connections.
    let warm_up = 10;
    let limit = Instant::now() + Duration::from_secs_f64(options.seconds);
    for seq in 0..options.jobs + warm_up {
        // Not in step with anybody's polling.
        tokio::time::sleep(Duration::from_millis(10 + (seq as u64 * 7919) % 41)).await;
        let job = payload(seq, options.payload);
        let called = Instant::now();
        C::single(&mut connection, &queues[0], &job).await?;
        let committed = Instant::now();
        let waited = tokio::time::timeout(PATIENCE, async {
            while let Some((handled, at)) = receiver.recv().await {
                if handled == i64::try_from(seq)? {
                    return Ok::<_, Error>(at);
                }
            }
            Err("the workers ended".into())
        });
        let Ok(at) = waited.await else {
            lost += 1;
            continue;
        };
        let at = at?;
        if seq >= warm_up {
            from_call.saturating_record(micros(at - called));
            from_commit.saturating_record(micros(at.saturating_duration_since(committed)));
            before_answer += u64::from(at < committed);
        }
        if Instant::now() > limit {
            break;
        }
    }
    say(&json!({
        "event": "latency",
        "from_call": figures(&from_call),
        "from_commit": figures(&from_commit),
        "before_answer": before_answer,
        "lost": lost,
    }));
    C::stop(running).await
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
