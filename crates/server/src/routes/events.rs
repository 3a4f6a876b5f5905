//! `GET /api/{database}/events?channels=a,b`: server-sent events.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::HeaderMap;
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval};
use tokio_util::sync::CancellationToken;

use super::session;
use crate::call::Session;
use crate::events::{Cursor, Event, EventsError, Subscription};
use crate::extract::{PathParts, QueryPairs};
use crate::identity;
use crate::problem::Problem;
use crate::request::RequestContext;
use crate::router::App;

/// Channels of one stream.
const MAX_CHANNELS: usize = 16;

pub(crate) async fn handle(
    State(app): State<App>,
    PathParts(database): PathParts<String>,
    query: QueryPairs,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
) -> Response {
    match open(&app, &database, &query, &context, headers).await {
        Ok(response) => response,
        Err(problem) => problem.into_response_for(&context),
    }
}

async fn open(
    app: &App,
    database: &str,
    query: &QueryPairs,
    context: &RequestContext,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let session = session::session(app, database, context, &headers).await?;
    if session
        .caller
        .principal
        .scopes
        .as_ref()
        .is_some_and(|scopes| !scopes.allows_surface("events"))
    {
        return Err(Problem::new(ErrorCode::ScopeDenied));
    }
    let mut channels: Vec<String> = query
        .once("channels")?
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|channel| !channel.is_empty())
        .map(str::to_owned)
        .collect();
    channels.sort_unstable();
    channels.dedup();
    if channels.is_empty() || channels.len() > MAX_CHANNELS {
        return Err(Problem::at("channels", "is missing, or names too many")
            .hint(format!("Name 1 to {MAX_CHANNELS} channels: ?channels=a,b")));
    }
    authorize(&session, &channels).await?;

    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        // For clients that can't set the header.
        .or(query.once("last_event_id")?);
    let hub = Arc::clone(&session.database.events);
    // Subscribed before the history is read: what comes in between comes twice, and the second
    // time is left out by its cursor.
    let subscription = hub
        .subscribe(channels.clone(), app.config().max_streams)
        .ok_or_else(|| Problem::new(ErrorCode::Overloaded).retry_after(Duration::from_secs(5)))?;
    let horizon = hub
        .horizon()
        .await
        .map_err(|error| unreadable(context, &error))?;
    subscription.starts_at(horizon.newest);
    let (position, resumed) = match last.map(Cursor::parse) {
        None => (horizon.newest, Resumed::New),
        Some(Some(cursor)) if cursor >= horizon.oldest => (cursor, Resumed::Yes),
        // Too old, or not ours: the client has to read its data again.
        Some(_) => (horizon.newest, Resumed::No),
    };
    let expires = session.caller.principal.expires_at.map(|at| {
        let left = at.duration_since(session.database.clock.now());
        Instant::now() + Duration::try_from(left).unwrap_or(Duration::ZERO)
    });
    let check_again = app.config().check_again;
    let mut check = tokio::time::interval_at(Instant::now() + check_again, check_again);
    check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let rights = session.database.changes();
    let stream = Stream {
        session,
        headers,
        channels,
        subscription,
        position,
        history: resumed == Resumed::Yes,
        gap: resumed == Resumed::No,
        pending: Vec::new(),
        expires,
        check,
        rights,
        stop: app.stop().clone(),
        ended: false,
    };
    let events = stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), stream))
    });
    let keep_alive = KeepAlive::new()
        .interval(app.config().heartbeat)
        .text("heartbeat");
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resumed {
    New,
    Yes,
    No,
}

/// Asks each channel's check function, as the caller. A channel that is not declared and one that
/// the caller may not watch get the same answer.
async fn authorize(session: &Session, channels: &[String]) -> Result<(), Problem> {
    let functions = session
        .database
        .events
        .check_functions(channels)
        .await
        .map_err(|error| unreadable(&session.context, &error))?;
    for channel in channels {
        let denied = || {
            Problem::new(ErrorCode::ChannelDenied)
                .hint("Channels are declared with rolegate.channel(name, check_function).")
        };
        let function = functions.get(channel).ok_or_else(denied)?;
        // The name was quoted by the database when the channel was declared.
        let statement = Statement::once(["select ", function, "()"].concat());
        let reply = session.run_statement(statement).await.map_err(|problem| {
            if problem.code == ErrorCode::DatabaseUnavailable {
                problem
            } else {
                denied()
            }
        })?;
        let allowed = reply.results.first().and_then(|rows| rows.scalar());
        if allowed.is_none_or(|text| &text[..] != b"t") {
            return Err(denied());
        }
    }
    Ok(())
}

fn unreadable(context: &RequestContext, error: &EventsError) -> Problem {
    tracing::warn!(request_id = %context.id, %error, cause = ?error, "events_not_read");
    Problem::new(ErrorCode::DatabaseUnavailable)
}

/// One client's stream.
struct Stream {
    session: Session,
    headers: HeaderMap,
    channels: Vec<String>,
    subscription: Subscription,
    /// Everything up to here was sent or is not wanted.
    position: Cursor,
    /// Stored events are still to be read.
    history: bool,
    /// The client has to be told that some are missing.
    gap: bool,
    /// Read but not sent, newest first.
    pending: Vec<Event>,
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
        if std::mem::take(&mut self.gap) {
            return Some(SseEvent::default().event("gap").data(
                json!({"message": "Events are missing; read your data again."}).to_string(),
            ));
        }
        loop {
            if let Some(event) = self.pending.pop() {
                return Some(self.message(event));
            }
            if self.history {
                match self
                    .session
                    .database
                    .events
                    .read(&self.channels, self.position)
                    .await
                {
                    Ok(events) => {
                        self.history = !events.is_empty();
                        self.pending.extend(events.into_iter().rev());
                        continue;
                    }
                    Err(error) => {
                        return Some(self.end(&unreadable(&self.session.context, &error)));
                    }
                }
            }
            let expired = async {
                match self.expires {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
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
                event = self.subscription.next() => match event {
                    Ok(event) if event.cursor > self.position => return Some(self.message(event)),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => {
                        let problem = Problem::new(ErrorCode::Overloaded)
                            .message("The client reads too slowly; resume with Last-Event-ID.");
                        return Some(self.end(&problem));
                    }
                    Err(RecvError::Closed) => {
                        return Some(self.end(&Problem::new(ErrorCode::ShuttingDown)));
                    }
                },
            }
        }
    }

    /// Whether the token and the role are still good and the channels still allowed.
    async fn still_allowed(&mut self) -> Result<(), Problem> {
        let Session {
            database, context, ..
        } = &self.session;
        let caller = identity::caller(database, context, &self.headers).await?;
        self.session.caller = caller;
        authorize(&self.session, &self.channels).await
    }

    fn message(&mut self, event: Event) -> SseEvent {
        self.position = event.cursor;
        // Lines of JSON text are only white space; one line is one field.
        let payload = event.payload.replace(['\r', '\n'], " ");
        let channel = serde_json::Value::String(event.channel);
        SseEvent::default()
            .id(event.cursor.to_string())
            .data(format!("{{\"channel\":{channel},\"data\":{payload}}}"))
    }

    /// The last message, which says why.
    fn end(&mut self, problem: &Problem) -> SseEvent {
        self.ended = true;
        SseEvent::default().event("error").data(
            problem
                .to_problem_json(&self.session.context.id)
                .to_string(),
        )
    }
}
