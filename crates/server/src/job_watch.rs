//! What is in the queues, for those who follow it.
//!
//! One reader for each database, and only while somebody follows. Jobs announce nothing: what they
//! wrote beside their rows would be paid for by every one of them. So it looks once a second whether
//! anything was committed at all, which costs next to nothing, and counts only then; and never
//! for more than a twentieth of the time. It has no rights of its own: it looks as one of those who follow,
//! and all of them see the same.
//!
//! Followers have no buffer. Each compares what there is with what it sent last, so that one that
//! is slow misses states in between, and nothing else.

mod board;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use board::{Board, Seen};

use crate::call::Session;
use crate::metrics::{JOB_LOOK_SECONDS, JOB_LOOKS};
use crate::problem::Problem;
use crate::routes::admin::{self, TEXT};
use crate::routes::queues::QUEUES;
use crate::streams::Place;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of the time it counts for one part in so many, at most.
const SHARE: u32 = 20;
/// However long counting takes.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The queues of one database, and who follows them.
#[derive(Debug)]
pub(crate) struct JobWatch {
    board: watch::Sender<Arc<Board>>,
    followers: Mutex<Followers>,
    arrived: Notify,
    left: Notify,
}

#[derive(Debug, Default)]
struct Followers {
    last: u64,
    sessions: Vec<(u64, Session)>,
}

/// One who follows; ends when dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    watch: Arc<JobWatch>,
    id: u64,
    receiver: watch::Receiver<Arc<Board>>,
    _place: Place,
}

/// What a look shows.
#[derive(Debug, Deserialize)]
struct Look {
    /// Which transactions had ended.
    seen: String,
    /// `None`: those that had ended the last time.
    queues: Option<Vec<Value>>,
    /// How long that took the database, without any connecting.
    seconds: f64,
}

impl JobWatch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            board: watch::Sender::new(Arc::new(Board::new())),
            followers: Mutex::default(),
            arrived: Notify::new(),
            left: Notify::new(),
        })
    }

    /// Follows as this caller, who may.
    pub(crate) fn follow(self: &Arc<Self>, session: Session, place: Place) -> Follower {
        let receiver = self.board.subscribe();
        let mut followers = self.followers();
        followers.last += 1;
        let id = followers.last;
        followers.sessions.push((id, session));
        drop(followers);
        self.arrived.notify_one();
        Follower {
            watch: Arc::clone(self),
            id,
            receiver,
            _place: place,
        }
    }

    /// Looks until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = None;
        let mut turn = 0;
        loop {
            let Some((id, session)) = self.session(turn) else {
                self.change(Board::rest);
                tokio::select! {
                    () = self.arrived.notified() => continue,
                    () = stop.cancelled() => return,
                }
            };
            let mut took = Duration::ZERO;
            let looked = tokio::select! {
                looked = look(&session, seen.as_deref()) => looked,
                // Somebody whose role may not even log in any more would hold up the others.
                () = self.gone(id) => continue,
                () = stop.cancelled() => return,
            };
            match looked {
                Ok(look) => {
                    let counted = look.queues.is_some();
                    let outcome = if counted { "counted" } else { "unchanged" };
                    metrics::counter!(JOB_LOOKS, "outcome" => outcome).increment(1);
                    took = Duration::try_from_secs_f64(look.seconds).unwrap_or_default();
                    if counted {
                        metrics::histogram!(JOB_LOOK_SECONDS).record(took.as_secs_f64());
                    }
                    seen = Some(look.seen);
                    self.change(|board| board.note(look.queues));
                }
                // The next one may, or the database is back; whoever may not follow any more is
                // told by the stream itself.
                Err(problem) => {
                    metrics::counter!(JOB_LOOKS, "outcome" => "failed").increment(1);
                    tracing::debug!(code = problem.code.as_str(), "job_look_failed");
                    turn += 1;
                }
            }
            let pause = took.saturating_mul(SHARE).clamp(LOOK_AGAIN, LONGEST_PAUSE);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Changes the board, and says so if the change matters to anybody.
    fn change(&self, change: impl FnOnce(&Board) -> Option<Board>) {
        self.board.send_if_modified(|board| {
            let changed = change(board);
            let matters = changed.is_some();
            if let Some(changed) = changed {
                *board = Arc::new(changed);
            }
            matters
        });
    }

    /// That of somebody who follows; another one with each `turn`.
    fn session(&self, turn: usize) -> Option<(u64, Session)> {
        let followers = self.followers();
        let number = followers.sessions.len();
        followers.sessions.get(turn.checked_rem(number)?).cloned()
    }

    /// Waits until this one follows no more.
    async fn gone(&self, id: u64) {
        while self.followers().sessions.iter().any(|(own, _)| *own == id) {
            self.left.notified().await;
        }
    }

    fn followers(&self) -> MutexGuard<'_, Followers> {
        self.followers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// What there is once it is up to date, and differs from what was seen last. Cancel safe.
    /// `None` if the process stops.
    pub(crate) async fn next(&mut self) -> Option<Arc<Board>> {
        loop {
            let board = Arc::clone(&self.receiver.borrow_and_update());
            if board.is_live() {
                return Some(board);
            }
            self.receiver.changed().await.ok()?;
        }
    }

    /// Waits for a change of the board. Cancel safe.
    pub(crate) async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }

    /// The reader looks as this caller from now on: the same, verified again.
    pub(crate) fn renew(&self, session: Session) {
        let mut followers = self.watch.followers();
        if let Some(own) = followers.sessions.iter_mut().find(|(id, _)| *id == self.id) {
            own.1 = session;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.watch.followers();
        followers.sessions.retain(|(id, _)| *id != self.id);
        drop(followers);
        self.watch.left.notify_one();
    }
}

/// Counts, unless nothing was committed since `seen`.
async fn look(session: &Session, seen: Option<&str>) -> Result<Look, Problem> {
    let all = format!("({})", QUEUES.replace("$1", "null::pg_catalog.text"));
    let sql = include_str!("job_watch/look.sql").replace("(queues) end", &(all + " end"));
    let statement =
        Statement::once(session.database.sql.of(&sql)).param(TEXT, seen.map(str::to_owned));
    admin::run(session, statement, Access::ReadOnly)
        .await?
        .and_then(|look| serde_json::from_slice(&look).ok())
        .ok_or_else(|| Problem::new(ErrorCode::Internal))
}
