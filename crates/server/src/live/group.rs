//! Everybody who watches the same query and may see the same rows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rolegate_query::diff::{Row, changes};
use rolegate_replication::{Lsn, Xid};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::frames::{Commit, Cursor, Snapshot};
use super::history::{self, Found, History};
use super::shape::Shape;
use super::weight::Share;
use crate::call::Session;
use crate::config::LiveBounds;
use crate::problem::Problem;
use crate::query::{Asked, Scope};

/// Transactions that a group waits for at the same time. One that is further behind begins anew.
const MOST_WAITED_FOR: usize = 4096;
/// What keeping a row takes beside its text.
const BYTES_BESIDE: usize = 96;

/// What makes a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) sql: Arc<str>,
    pub(super) params: Vec<Option<Bytes>>,
    pub(super) role_oid: u32,
    /// It is public: nobody's role or claims count.
    pub(super) public: bool,
    /// The claims that count, as JSON text.
    pub(super) claims: Arc<str>,
    /// The token, where that could count.
    pub(super) token_id: Arc<str>,
}

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Key,
    /// In cursors; no two groups of a process have the same.
    pub(super) id: u64,
    pub(super) asked: Asked,
    pub(super) scope: Scope,
    /// As whom it runs.
    pub(super) session: Session,
    /// Goes up whenever there is something for members.
    pub(super) news: watch::Sender<u64>,
    woken: Notify,
    pending: Mutex<Pending>,
    told: Mutex<Told>,
    bounds: LiveBounds,
}

/// A transaction that was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waited {
    pub(super) xid: Xid,
    /// It changed definitions of what the query reads.
    pub(super) redefines: bool,
}

/// What has happened since the last run began.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Transactions that touched what it reads, in the order of their commits.
    pub(super) xids: VecDeque<Waited>,
    /// Since when somebody waits for them.
    pub(super) since: Option<Instant>,
    /// It can't be told what has happened.
    pub(super) lost: Option<&'static str>,
    /// Something that nobody tells may be visible by now.
    pub(super) again: bool,
}

/// What members are told.
#[derive(Debug)]
struct Told {
    history: History,
    current: Option<Current>,
    ended: Option<Problem>,
    share: Share,
}

/// The result, as it was seen last.
#[derive(Debug)]
struct Current {
    rows: Vec<Row>,
    shape: Arc<Shape>,
    /// Whether the rows are known by the columns of the key.
    keyed: bool,
    at: Lsn,
    visible: rolegate_query::Snapshot,
    /// Made when it is first asked for.
    frame: Option<Bytes>,
}

/// A result that was just seen.
#[derive(Debug)]
pub(super) struct Result {
    pub(super) rows: Vec<Row>,
    pub(super) shape: Arc<Shape>,
    pub(super) keyed: bool,
    pub(super) at: Lsn,
    /// The transactions whose effects it shows.
    pub(super) visible: rolegate_query::Snapshot,
    /// Transactions that members wait for and that it contains.
    pub(super) xids: Vec<Xid>,
    /// Members have to begin anew.
    pub(super) void: Option<&'static str>,
}

/// What a member is told next.
#[derive(Debug)]
pub(super) enum Next {
    /// What became different.
    Frame(Bytes),
    /// The whole result, and why he has to begin anew, if he had begun.
    Snapshot(Bytes, Option<&'static str>),
    /// Nothing yet.
    NotYet,
    /// It is over.
    Ended(Problem),
}

/// How far a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// He has not begun.
    New,
    /// He has begun elsewhere, and can't go on.
    Unknown,
    /// He has everything before this.
    At(u64),
}

impl Group {
    pub(super) fn new(
        key: Key,
        id: u64,
        asked: Asked,
        scope: Scope,
        session: Session,
        share: Share,
    ) -> Self {
        Self {
            key,
            id,
            asked,
            scope,
            bounds: session.database.config.live,
            session,
            news: watch::Sender::new(0),
            woken: Notify::new(),
            pending: Mutex::default(),
            told: Mutex::new(Told {
                history: History::default(),
                current: None,
                ended: None,
                share,
            }),
        }
    }

    /// A transaction was committed that may make a difference.
    pub(super) fn wait_for(&self, waited: Waited) {
        let mut pending = self.pending();
        if pending.xids.len() < MOST_WAITED_FOR {
            pending.xids.push_back(waited);
        } else {
            pending.xids.clear();
            pending.lost = Some(history::SLOW);
        }
        pending.since.get_or_insert_with(Instant::now);
        drop(pending);
        self.woken.notify_one();
    }

    /// What happened can't be told.
    pub(super) fn lose(&self, why: &'static str) {
        let mut pending = self.pending();
        pending.lost = Some(why);
        pending.since.get_or_insert_with(Instant::now);
        drop(pending);
        self.woken.notify_one();
    }

    /// Has it run once more: something may be visible by now that nobody tells.
    pub(super) fn run_again(&self) {
        self.pending().again = true;
        self.woken.notify_one();
    }

    /// Has it look whether there is something to do.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    pub(super) fn is_pending(&self) -> bool {
        let pending = self.pending();
        pending.again || pending.lost.is_some() || !pending.xids.is_empty()
    }

    pub(super) fn take_pending(&self) -> Pending {
        std::mem::take(&mut *self.pending())
    }

    /// Tells members of a result. False if that would take more memory than there is for all groups.
    pub(super) fn tell(&self, result: Result) -> bool {
        let mut told = self.told();
        let Told {
            history, current, ..
        } = &mut *told;
        let before = current.take().filter(|_| result.void.is_none());
        let mut frame = None;
        match before {
            None => {
                if let Some(why) = result.void {
                    history.void(why);
                }
            }
            Some(before) => {
                let changes = changes(&before.rows, &result.rows, result.shape.ordered);
                if changes.is_empty() && result.xids.is_empty() {
                    frame = before.frame;
                } else {
                    let commit = Commit {
                        changes: &changes,
                        xids: &result.xids,
                        at: result.at,
                    };
                    let cursor = Cursor {
                        group: self.id,
                        place: history.end() + 1,
                    };
                    history.push(
                        commit.frame(cursor),
                        self.bounds.history,
                        self.bounds.history_bytes,
                    );
                }
            }
        }
        let rows = result.rows.iter();
        let bytes: usize = rows
            .map(|row| row.json.len() + row.key.len() + BYTES_BESIDE)
            .sum();
        *current = Some(Current {
            rows: result.rows,
            shape: result.shape,
            keyed: result.keyed,
            at: result.at,
            visible: result.visible,
            frame,
        });
        // Rows, the frame of the snapshot, and the history.
        let bytes = 2 * bytes + told.history.bytes();
        let most = self.bounds.max_bytes;
        // Anybody can ask what is public: the last quarter is for what is not.
        let most = most - if self.key.public { most / 4 } else { 0 };
        let fits = told.share.set(bytes, most);
        drop(told);
        self.announce();
        fits
    }

    /// Nothing more is told.
    pub(super) fn end(&self, problem: Problem) {
        let mut told = self.told();
        if told.ended.is_none() {
            told.ended = Some(problem);
        }
        told.current = None;
        told.history = History::default();
        drop(told);
        self.announce();
    }

    /// Whether there is a result, or will be none.
    pub(super) fn begun(&self) -> Option<std::result::Result<(), Problem>> {
        let told = self.told();
        match &told.ended {
            Some(problem) => Some(Err(problem.clone())),
            None => told.current.is_some().then_some(Ok(())),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.told().ended.is_some()
    }

    /// How its rows are told; `None` if it has not begun or has ended.
    pub(super) fn shape(&self) -> Option<Arc<Shape>> {
        let told = self.told();
        told.current
            .as_ref()
            .map(|current| Arc::clone(&current.shape))
    }

    /// Where somebody goes on who comes back with this cursor.
    pub(super) fn resume(&self, cursor: Option<Cursor>) -> Place {
        match cursor {
            Some(cursor) if cursor.group == self.id && self.told().history.has(cursor.place) => {
                Place::At(cursor.place)
            }
            _ => Place::Unknown,
        }
    }

    /// What is to be told at this place, which goes on.
    pub(super) fn next(&self, place: &mut Place) -> Next {
        let mut told = self.told();
        if let Some(problem) = &told.ended {
            return Next::Ended(problem.clone());
        }
        let why = match *place {
            Place::New => None,
            Place::Unknown => Some(history::UNKNOWN),
            Place::At(at) => match told.history.at(at) {
                Found::Frame(frame) => {
                    *place = Place::At(at + 1);
                    return Next::Frame(frame);
                }
                Found::NotYet => return Next::NotYet,
                Found::Gone(why) => Some(why),
            },
        };
        let end = told.history.end();
        let cursor = Cursor {
            group: self.id,
            place: end,
        };
        match told
            .current
            .as_mut()
            .and_then(|current| current.frame(cursor))
        {
            Some(frame) => {
                *place = Place::At(end);
                Next::Snapshot(frame, why)
            }
            None => Next::NotYet,
        }
    }

    fn announce(&self) {
        self.news.send_modify(|version| *version += 1);
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn frame(&mut self, cursor: Cursor) -> Option<Bytes> {
        if self.frame.is_none() {
            let analysis = self.shape.analysis().ok()?;
            let snapshot = Snapshot {
                rows: &self.rows,
                columns: &analysis.columns,
                key: self.shape.key.as_deref().filter(|_| self.keyed),
                ordered: self.shape.ordered,
                at: self.at,
                visible: &self.visible,
            };
            self.frame = Some(snapshot.frame(cursor));
        }
        self.frame.clone()
    }
}
