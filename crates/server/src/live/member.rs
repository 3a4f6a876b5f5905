//! One client that watches.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use rolegate_model::{CredentialKind, ErrorCode};
use rolegate_pg::catalog::Change;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::frames::{self, Cursor, HEARTBEAT};
use super::group::{Next, Place};
use super::hub::Membership;
use crate::call::Session;
use crate::identity;
use crate::metrics::LIVE_RESETS;
use crate::problem::Problem;
use crate::query;
use crate::router::App;
use crate::streams;

/// A client's stream.
#[derive(Debug)]
pub(crate) struct Member {
    membership: Membership,
    session: Session,
    /// The credential, to be looked at again.
    headers: HeaderMap,
    place: Place,
    news: watch::Receiver<u64>,
    /// Goes out before anything else.
    due: Option<Bytes>,
    expires: Option<Instant>,
    check: Interval,
    heartbeat: Interval,
    rights: watch::Receiver<Change>,
    stop: CancellationToken,
    ended: bool,
    _place: streams::Place,
}

impl Member {
    /// Begins, or goes on after `last`.
    pub(crate) fn new(
        app: &App,
        membership: Membership,
        session: Session,
        headers: &HeaderMap,
        last: Option<&str>,
        taken: streams::Place,
    ) -> Self {
        let place = match last {
            None => Place::New,
            Some(last) => membership.group.resume(Cursor::parse(last)),
        };
        let expires = session.caller.principal.expires_at.map(|at| {
            let left = at.duration_since(session.database.clock.now());
            Instant::now() + Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        let credential = headers.get(header::AUTHORIZATION);
        let credential = credential.map(|value| (header::AUTHORIZATION, value.clone()));
        let mut news = membership.group.news.subscribe();
        // What is there already is told as well.
        news.mark_changed();
        Self {
            rights: session.database.changes(),
            headers: credential.into_iter().collect(),
            membership,
            session,
            place,
            news,
            due: None,
            expires,
            check: every(app.config().check_again),
            heartbeat: every(app.config().heartbeat),
            stop: app.stop().clone(),
            ended: false,
            _place: taken,
        }
    }

    /// What goes out next; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let frame = match self.due.take() {
            Some(frame) => frame,
            None => self.wait().await,
        };
        self.heartbeat.reset();
        Some(frame)
    }

    async fn wait(&mut self) -> Bytes {
        loop {
            let expired = async {
                match self.expires {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    return self.end(&Problem::new(ErrorCode::ShuttingDown));
                }
                () = expired => return self.end(&Problem::new(ErrorCode::TokenExpired)),
                _ = self.check.tick() => {
                    if let Err(problem) = Box::pin(self.is_still_allowed()).await {
                        return self.end(&problem);
                    }
                }
                changed = self.rights.changed() => {
                    let outcome = match changed {
                        // In a box: it is rare, and there are many members.
                        Ok(()) => Box::pin(self.is_still_allowed()).await,
                        Err(_) => Err(Problem::new(ErrorCode::ShuttingDown)),
                    };
                    if let Err(problem) = outcome {
                        return self.end(&problem);
                    }
                }
                changed = self.news.changed() => {
                    if changed.is_err() {
                        return self.end(&Problem::new(ErrorCode::ShuttingDown));
                    }
                    if let Some(frame) = self.take() {
                        // There may be more.
                        self.news.mark_changed();
                        return frame;
                    }
                }
                _ = self.heartbeat.tick() => return HEARTBEAT,
            }
        }
    }

    /// What there is to tell.
    fn take(&mut self) -> Option<Bytes> {
        match self.membership.group.next(&mut self.place) {
            Next::Frame(frame) | Next::Snapshot(frame, None) => Some(frame),
            Next::Snapshot(frame, Some(reason)) => {
                metrics::counter!(LIVE_RESETS, "reason" => reason).increment(1);
                self.due = Some(frame);
                Some(frames::reset(reason))
            }
            Next::NotYet => None,
            Next::Ended(problem) => Some(self.end(&problem)),
        }
    }

    /// Whether the credential and the role are still good, and still of this group.
    async fn is_still_allowed(&mut self) -> Result<(), Problem> {
        let Session {
            database, context, ..
        } = &self.session;
        let caller = if self.session.caller.principal.kind == CredentialKind::Anonymous {
            identity::anonymous(database, context).await?
        } else {
            identity::caller(database, context, &self.headers).await?
        };
        self.session.caller = caller;
        query::check_scopes(&self.session)?;
        if self.membership.is_still_for(&self.session.caller) {
            Ok(())
        } else {
            Err(Problem::new(ErrorCode::QueryChanged)
                .message("The caller's role or claims are not what they were.")
                .hint("Open the stream again."))
        }
    }

    /// The last message, which says why.
    fn end(&mut self, problem: &Problem) -> Bytes {
        self.ended = true;
        frames::error(problem, &self.session.context.id)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
