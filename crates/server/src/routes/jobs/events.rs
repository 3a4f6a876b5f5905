//! `GET /v1/{database}/jobs/events`: what is in the queues, as it changes.

use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Access;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval};
use tokio_util::sync::CancellationToken;

use crate::call::Session;
use crate::job_watch::{Follower, Seen};
use crate::problem::Problem;
use crate::routes::asked::Asked;
use crate::routes::{admin, describe};

const FUNCTION: &str = "rolegate.queues";

pub(crate) async fn handle(asked: Asked) -> Response {
    let opened = open(&asked).await;
    match opened {
        Ok((session, follower)) => respond(asked, &session, follower),
        Err(problem) => asked.answer(Err(problem)),
    }
}

async fn open(asked: &Asked) -> Result<(Session, Follower), Problem> {
    asked.query.only(&["last_event_id"])?;
    asked.query.once("last_event_id")?;
    let session = allowed(asked).await?;
    let place = session
        .database
        .streams
        .take(asked.app.config().max_streams)
        .ok_or_else(|| Problem::new(ErrorCode::Overloaded).retry_after(Duration::from_secs(5)))?;
    let follower = session.database.job_watch.follow(session.clone(), place);
    Ok((session, follower))
}

/// Whoever may count the jobs of all queues may follow.
async fn allowed(asked: &Asked) -> Result<Session, Problem> {
    let session = asked.session(FUNCTION).await?;
    let sql = "select pg_catalog.has_function_privilege('rolegate.queues()', 'execute')";
    let statement = Statement::once(session.database.sql.of(sql));
    let may = admin::run(&session, statement, Access::ReadOnly).await?;
    if may.as_deref() == Some(b"t") {
        Ok(session)
    } else {
        Err(Problem::new(ErrorCode::PermissionDenied)
            .hint("Following needs membership of rolegate_viewer or rolegate_operator."))
    }
}

fn respond(asked: Asked, session: &Session, follower: Follower) -> Response {
    // For clients that can't set the header.
    let last = asked.headers.get("last-event-id");
    let last = last
        .and_then(|value| value.to_str().ok())
        .or_else(|| asked.query.once("last_event_id").ok().flatten());
    let seen = last.and_then(Seen::parse);
    let expires = session.caller.principal.expires_at.map(|at| {
        let left = at.duration_since(session.database.clock.now());
        Instant::now() + Duration::try_from(left).unwrap_or(Duration::ZERO)
    });
    let check_again = asked.app.config().check_again;
    let mut check = tokio::time::interval_at(Instant::now() + check_again, check_again);
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let rights = session.database.changes();
    let heartbeat = asked.app.config().heartbeat;
    let stream = Stream {
        stop: asked.app.stop().clone(),
        asked: Arc::new(asked),
        follower,
        seen,
        fresh: true,
        expires,
        check,
        rights,
        ended: false,
    };
    let events = stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), stream))
    });
    let keep_alive = KeepAlive::new().interval(heartbeat).text("heartbeat");
    Sse::new(events).keep_alive(keep_alive).into_response()
}

/// One client's stream.
struct Stream {
    asked: Arc<Asked>,
    follower: Follower,
    /// What the client has been sent.
    seen: Option<Seen>,
    /// The first state was not looked at yet.
    fresh: bool,
    expires: Option<Instant>,
    check: Interval,
    rights: tokio::sync::watch::Receiver<rolegate_pg::catalog::Change>,
    stop: CancellationToken,
    ended: bool,
}

impl Stream {
    /// The next message; `None` after the last.
    async fn next(&mut self) -> Option<SseEvent> {
        if self.ended {
            return None;
        }
        loop {
            let expired = async {
                match self.expires {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let fresh = self.fresh;
            let follower = &mut self.follower;
            let news = async {
                if fresh || follower.changed().await {
                    follower.next().await
                } else {
                    None
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    return Some(self.end(&Problem::new(ErrorCode::ShuttingDown)));
                }
                () = expired => return Some(self.end(&Problem::new(ErrorCode::TokenExpired))),
                _ = self.check.tick() => {
                    if let Err(problem) = self.still_allowed().await {
                        return Some(self.end(&problem));
                    }
                }
                changed = self.rights.changed() => {
                    let outcome = match changed {
                        Ok(()) => self.still_allowed().await,
                        Err(_) => Err(Problem::new(ErrorCode::ShuttingDown)),
                    };
                    if let Err(problem) = outcome {
                        return Some(self.end(&problem));
                    }
                }
                board = news => {
                    let Some(board) = board else {
                        return Some(self.end(&Problem::new(ErrorCode::ShuttingDown)));
                    };
                    self.fresh = false;
                    let message = board.since(self.seen);
                    self.seen = Some(board.seen());
                    if let Some(message) = message {
                        return Some(SseEvent::default()
                            .event("queues")
                            .id(board.seen().to_string())
                            .data(message.to_string()));
                    }
                }
            }
        }
    }

    /// Whether the token and the role are still good, and may still follow.
    async fn still_allowed(&mut self) -> Result<(), Problem> {
        let session = match allowed(&self.asked).await {
            // Connections of a role whose rights changed are closed: this may have been on one.
            Err(problem) if problem.code == ErrorCode::PermissionDenied => {
                allowed(&self.asked).await?
            }
            session => session?,
        };
        self.follower.renew(session);
        Ok(())
    }

    /// The last message, which says why.
    fn end(&mut self, problem: &Problem) -> SseEvent {
        self.ended = true;
        let problem = problem.to_problem_json(&self.asked.context.id);
        SseEvent::default().event("error").data(problem.to_string())
    }
}

pub(crate) fn describe() -> Value {
    let text = json!({"type": "string"});
    let last = json!({"name": "last_event_id", "in": "query", "required": false, "schema": text,
                      "description": "For clients that can't set the header `Last-Event-ID`."});
    json!({
        "operationId": "followQueues",
        "summary": "What is in the queues, as it changes: server-sent events",
        "description": "For viewers and operators. The event `queues` has `queues` as `GET queues` has \
                        them: all of them first (`all` is true), then those that are different, at \
                        most once a second. `error` is the last event, a problem. With the id of the \
                        last event a client is told what changed since, or all of it.",
        "parameters": [describe::database(), last],
        "responses": describe::responses(
            &json!({"200": {
                "description": "The stream, which does not end by itself",
                "content": {"text/event-stream": {"schema": text}},
            }}),
            &[ErrorCode::InvalidParams, ErrorCode::Overloaded],
        ),
    })
}
