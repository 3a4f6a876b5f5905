//! One connection to a relay, at the subscriber's end.

use std::convert::Infallible;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::follow::Found;
use super::message::{Answer, Place, Question};
use super::{ANSWER_BYTES, Ended, HANDSHAKE, HEARTBEAT, PROTOCOL, SILENCE, frame, keys};
use crate::epoch::Epoch;
use crate::feed::{Feed, Lost, Relayed, Why};
use crate::lsn::Lsn;
use crate::metrics;

/// Where this process was, in whose feed, as long as nobody else has fed it since.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    place: Place,
    leaderships: u64,
}

/// Follows through a relay until something breaks.
pub(super) async fn hear(
    database: &Arc<str>,
    found: &Found,
    feed: &Feed,
    relayed: &Relayed,
    resume: &mut Option<Resume>,
) -> Result<Infallible, Ended> {
    resume.take_if(|resume| resume.leaderships != relayed.leaderships());
    let mut stream = timeout(HANDSHAKE, connect(found))
        .await
        .map_err(|_| Ended::Silent)??;
    let hello = Question::Hello {
        protocol: PROTOCOL,
        secret: keys::hex(&found.secret),
        resume: resume.as_ref().map(|resume| resume.place.clone()),
    };
    send(&mut stream, &hello).await?;
    let welcome = next(&mut stream).await?;
    let until = welcomed(database, welcome, feed, relayed, resume)?;
    let (from, to) = split(stream);
    tokio::select! {
        ended = listen(database, from, feed, relayed, resume, until) => ended,
        ended = ask(to, feed) => ended,
    }
}

async fn connect(found: &Found) -> Result<TlsStream<TcpStream>, Ended> {
    let config = keys::client(found.pin).map_err(|_| Ended::Offered("TLS can't be agreed on"))?;
    let name = ServerName::try_from(keys::name_of(&found.pin))
        .map_err(|_| Ended::Offered("its key has no name"))?;
    let stream = TcpStream::connect(&*found.address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::new(config));
    Ok(connector.connect(name, stream).await?)
}

/// Begins, or goes on; if it goes on, up to where it has to hear before what it knows is current again.
pub(super) fn welcomed(
    database: &Arc<str>,
    welcome: Answer,
    feed: &Feed,
    relayed: &Relayed,
    resume: &mut Option<Resume>,
) -> Result<Option<Lsn>, Ended> {
    let (resumed, place, epoch, passed) = match welcome {
        Answer::Welcome {
            resumed,
            place,
            epoch,
            passed,
        } => (resumed, place, epoch, passed),
        Answer::Refused { why } => return Err(Ended::Refused(why)),
        _ => return Err(Ended::Senseless("no greeting")),
    };
    let asked = resume.as_ref().map(|resume| &resume.place);
    if resumed && asked != Some(&place) {
        return Err(Ended::Senseless("another place than was asked for"));
    }
    *resume = Some(Resume {
        place,
        leaderships: relayed.leaderships(),
    });
    let outcome = if resumed { "resumed" } else { "begun" };
    metrics::relay_connection(database, outcome);
    tracing::info!(database = &**database, epoch, %passed, outcome, "change_relay_followed");
    if resumed {
        return Ok(Some(passed));
    }
    relayed.begins(Lost {
        epoch: Epoch::new(&epoch),
        at: passed,
        why: Why::Began,
    })?;
    metrics::status(database, feed.status());
    Ok(None)
}

async fn listen(
    database: &Arc<str>,
    mut from: ReadHalf<TlsStream<TcpStream>>,
    feed: &Feed,
    relayed: &Relayed,
    resume: &mut Option<Resume>,
    mut until: Option<Lsn>,
) -> Result<Infallible, Ended> {
    loop {
        let told = match next(&mut from).await? {
            Answer::Commit { next, commit } => {
                let commit = crate::commit::Commit::from(commit);
                let end = commit.end_lsn;
                relayed.tell(commit)?;
                moved(resume, next);
                Some(end)
            }
            Answer::Lost {
                next,
                epoch,
                at,
                why,
            } => {
                relayed.loses(Lost {
                    epoch: Epoch::new(&epoch),
                    at,
                    why,
                })?;
                moved(resume, next);
                // Nothing is known any more that could be too old.
                until.map(|_| Lsn(u64::MAX))
            }
            Answer::Passed { lsn } => {
                relayed.pass(lsn)?;
                Some(lsn)
            }
            Answer::Alive { lag, behind } => {
                relayed.note_lag(lag);
                metrics::relay_behind(database, behind);
                None
            }
            Answer::Welcome { .. } | Answer::Refused { .. } => {
                return Err(Ended::Senseless("a second greeting"));
            }
        };
        if until.is_some_and(|until| told.is_some_and(|told| told >= until)) {
            until = None;
            relayed.follows()?;
            metrics::status(database, feed.status());
        }
    }
}

fn moved(resume: &mut Option<Resume>, next: u64) {
    if let Some(resume) = resume {
        resume.place.next = next;
    }
}

/// Passes on what is waited for here, and signs of life.
async fn ask(mut to: WriteHalf<TlsStream<TcpStream>>, feed: &Feed) -> Result<Infallible, Ended> {
    loop {
        let question = tokio::select! {
            lsn = feed.asked() => Question::Ask { lsn },
            () = sleep(HEARTBEAT) => Question::Alive,
        };
        send(&mut to, &question).await?;
    }
}

async fn send(to: &mut (impl AsyncWrite + Unpin), question: &Question) -> Result<(), Ended> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, question);
    let sending = async {
        to.write_all(&bytes).await?;
        to.flush().await
    };
    timeout(SILENCE, sending)
        .await
        .map_err(|_| Ended::Silent)??;
    Ok(())
}

async fn next(from: &mut (impl AsyncRead + Unpin)) -> Result<Answer, Ended> {
    timeout(SILENCE, frame::read(from, ANSWER_BYTES))
        .await
        .map_err(|_| Ended::Silent)?
}
