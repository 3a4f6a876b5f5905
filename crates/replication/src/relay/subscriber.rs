//! One process that follows, at the reader's end.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;

use super::message::{Answer, Place, Question, Refusal, Told};
use super::offer::Offered;
use super::{Ended, HEARTBEAT, PROTOCOL, QUESTION_BYTES, SILENCE, frame, keys};
use crate::feed::{Event, Subscription};
use crate::metrics;

/// What is gathered before it is sent.
const GATHERED_BYTES: usize = 64 * 1024;

/// Somebody who has said what he knows.
pub(super) struct Known {
    stream: TlsStream<TcpStream>,
    offered: Arc<Offered>,
    /// What there is to say, and from where on; or why not.
    wants: Result<Option<Place>, Refusal>,
}

/// Hears the first message.
pub(super) async fn greet(
    mut stream: TlsStream<TcpStream>,
    offered: Arc<Offered>,
) -> Result<Known, Ended> {
    let first = frame::read(&mut stream, QUESTION_BYTES).await?;
    let Question::Hello {
        protocol,
        secret,
        resume,
    } = first
    else {
        return Err(Ended::Senseless("a question before a greeting"));
    };
    let right = keys::same(secret.as_bytes(), keys::hex(&offered.secret).as_bytes());
    let wants = if !right {
        Err(Refusal::Secret)
    } else if protocol != PROTOCOL {
        Err(Refusal::Protocol)
    } else {
        Ok(resume)
    };
    Ok(Known {
        stream,
        offered,
        wants,
    })
}

impl Known {
    /// Tells him what happens, until he goes or there is nothing to be told any more.
    pub(super) async fn serve(self, room: &Semaphore) -> Ended {
        let (from, mut to) = split(self.stream);
        let offered = self.offered;
        let place = match (self.wants, room.try_acquire()) {
            (Ok(place), Ok(place_taken)) => Ok((place, place_taken)),
            (Ok(_), Err(_)) => Err(Refusal::Full),
            (Err(why), _) => Err(why),
        };
        // Held until the end.
        let (resume, _place_taken) = match place {
            Ok(place) => place,
            Err(why) => return refuse(&mut to, why).await,
        };
        let Some((subscription, welcome)) = begin(&offered, resume) else {
            return refuse(&mut to, Refusal::Withdrawn).await;
        };
        let _counted = Counted::new(&offered);
        let ended = tokio::select! {
            // Before anything that is told: it would not be true any more.
            biased;
            () = offered.withdrawn.cancelled() => return Ended::Withdrawn,
            ended = tell(to, &offered, subscription, welcome) => ended,
            ended = hear(from, &offered) => ended,
        };
        match ended {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }
}

async fn refuse(to: &mut WriteHalf<TlsStream<TcpStream>>, why: Refusal) -> Ended {
    metrics::relay_refused(why.word());
    let mut bytes = Vec::new();
    frame::write(&mut bytes, &Answer::Refused { why });
    let _ = timeout(SILENCE, async {
        to.write_all(&bytes).await?;
        to.shutdown().await
    })
    .await;
    Ended::Refused(why)
}

/// Where he goes on, and what he is told of it.
fn begin(offered: &Offered, resume: Option<Place>) -> Option<(Subscription, Answer)> {
    let (here, epoch, passed) = offered.feed.begin_here()?;
    let again = resume
        .filter(|place| place.feed == offered.feed_name)
        .and_then(|place| offered.feed.subscribe_at(place.next));
    let resumed = again.is_some();
    let subscription = again.unwrap_or(here);
    let welcome = Answer::Welcome {
        resumed,
        place: Place {
            feed: offered.feed_name.clone(),
            next: subscription.place(),
        },
        epoch: epoch.as_str().to_owned(),
        passed,
    };
    Some((subscription, welcome))
}

/// Nobody waits for him: if he is too slow, his place in the ring is lost.
async fn tell(
    mut to: WriteHalf<TlsStream<TcpStream>>,
    offered: &Offered,
    mut subscription: Subscription,
    welcome: Answer,
) -> Result<Infallible, Ended> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, &welcome);
    let mut beat = Instant::now() + HEARTBEAT;
    loop {
        while bytes.len() < GATHERED_BYTES
            && let Some(event) = subscription.take()
        {
            add(&mut bytes, event, subscription.place());
        }
        if Instant::now() >= beat {
            let alive = Answer::Alive {
                lag: offered.feed.lag().unwrap_or_default(),
                behind: subscription.behind(),
            };
            frame::write(&mut bytes, &alive);
            beat = Instant::now() + HEARTBEAT;
        }
        if !bytes.is_empty() {
            let sending = async {
                to.write_all(&bytes).await?;
                to.flush().await
            };
            timeout(SILENCE, sending)
                .await
                .map_err(|_| Ended::Silent)??;
            bytes.clear();
            bytes.shrink_to(GATHERED_BYTES);
            continue;
        }
        if let Ok(event) = timeout_at(beat, subscription.next()).await {
            add(&mut bytes, event, subscription.place());
        }
    }
}

fn add(bytes: &mut Vec<u8>, event: Event, next: u64) {
    match event {
        Event::Commit(commit) => {
            let told = Answer::Commit {
                next,
                commit: (&*commit).into(),
            };
            if !frame::write(bytes, &told) {
                let told = Answer::Commit {
                    next,
                    commit: Told::of_everything(&commit),
                };
                frame::write(bytes, &told);
            }
        }
        Event::Passed(lsn) => {
            frame::write(bytes, &Answer::Passed { lsn });
        }
        Event::Lost(lost) => {
            frame::write(bytes, &Answer::lost(next, &lost));
        }
    }
}

async fn hear(
    mut from: ReadHalf<TlsStream<TcpStream>>,
    offered: &Offered,
) -> Result<Infallible, Ended> {
    loop {
        let question = timeout(SILENCE, frame::read(&mut from, QUESTION_BYTES));
        match question.await.map_err(|_| Ended::Silent)?? {
            Question::Ask { lsn } => offered.ask(lsn),
            Question::Alive => {}
            Question::Hello { .. } => return Err(Ended::Senseless("a second greeting")),
        }
    }
}

/// A subscriber that is there.
struct Counted<'o>(&'o Offered);

impl<'o> Counted<'o> {
    fn new(offered: &'o Offered) -> Self {
        metrics::relay_subscribers(&offered.database, 1.0);
        Self(offered)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        metrics::relay_subscribers(&self.0.database, -1.0);
    }
}
