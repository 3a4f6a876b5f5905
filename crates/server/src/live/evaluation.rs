//! Runs of one group: when something was committed that it reads, once for all members.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rolegate_model::ErrorCode;
use rolegate_pg::catalog::Change;
use rolegate_query::diff::{Row, by_columns, by_content};
use rolegate_query::is_as_expected;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::failures::Failures;
use super::group::{Group, Result as Told, Waited};
use super::hub::LiveHub;
use super::shape::Shape;
use crate::call::Session;
use crate::config::Mode;
use crate::metrics::{LIVE_DELAY, LIVE_RESETS, LIVE_RUNS};
use crate::problem::Problem;
use crate::query::{self, Evaluated, Scope};

/// A group whose run took longer waits behind the others.
const SLOW: Duration = Duration::from_millis(500);
/// Before a run is repeated that did not see a transaction which the stream has told already.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Whether the query itself has to be looked at before it runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Not,
    Again,
    /// With nothing that was known before.
    Anew,
}

/// Runs the query of a group.
#[derive(Debug)]
pub(super) struct Runner {
    hub: Arc<LiveHub>,
    group: Arc<Group>,
    shape: Arc<Shape>,
    rights: watch::Receiver<Change>,
    acted: Change,
    /// Rows are known by the columns of the key. Not any more once that told two of them not apart.
    keyed: bool,
    /// Transactions that were told and have not been seen yet.
    waiting: VecDeque<Waited>,
    waiting_since: Option<Instant>,
    look: Look,
    /// Members have to begin anew.
    void: Option<&'static str>,
    slow: bool,
    /// It was run before, so it is worth preparing.
    repeated: bool,
}

impl Runner {
    pub(super) fn new(
        hub: &Arc<LiveHub>,
        group: Arc<Group>,
        shape: Arc<Shape>,
        rights: watch::Receiver<Change>,
        acted: Change,
    ) -> Self {
        Self {
            acted,
            hub: Arc::clone(hub),
            group,
            keyed: shape.key.is_some(),
            shape,
            rights,
            waiting: VecDeque::new(),
            waiting_since: None,
            look: Look::Not,
            void: None,
            slow: false,
            repeated: false,
        }
    }

    /// Until nobody watches any more, or it can't go on.
    pub(super) async fn run(mut self) {
        let ended = Ended {
            hub: Arc::clone(&self.hub),
            group: Arc::clone(&self.group),
        };
        if let Err(problem) = self.work().await {
            tracing::info!(
                code = problem.code.as_str(), message = %problem.message,
                role = %self.group.session.caller.principal.role.name,
                request_id = %self.group.session.context.id, "live_query_ended"
            );
            // First the one, so that whoever comes now begins another group.
            self.hub.remove(&self.group);
            self.group.end(problem);
        }
        drop(ended);
    }

    async fn work(&mut self) -> Result<(), Problem> {
        self.turn().await?;
        loop {
            let left = or_never(self.hub.ends_at(&self.group));
            let group = Arc::clone(&self.group);
            let due = tokio::select! {
                () = group.woken() => group.is_pending(),
                changed = self.rights.changed() => {
                    changed.map_err(|_| Problem::new(ErrorCode::ShuttingDown))?;
                    self.rights_count()
                }
                () = left => {
                    if self.hub.remove_if_left(&group) {
                        return Ok(());
                    }
                    false
                }
            };
            if group.has_ended() {
                self.hub.remove(&group);
                return Ok(());
            }
            if due {
                self.turn().await?;
            }
        }
    }

    /// Runs it until everything has been seen that was told.
    async fn turn(&mut self) -> Result<(), Problem> {
        let mut failures = Failures::default();
        let mut pause = FIRST_PAUSE;
        loop {
            self.take_up();
            match self.once().await {
                Ok(()) => failures = Failures::default(),
                Err(problem) => {
                    let again = failures.after(problem)?;
                    if query::could_be_stale(again.problem()) {
                        self.look_again();
                    }
                    sleep(again.pause()).await;
                    continue;
                }
            }
            if !self.waiting.is_empty() {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else if self.look == Look::Not {
                return Ok(());
            }
        }
    }

    fn take_up(&mut self) {
        let pending = self.group.take_pending();
        self.waiting.extend(pending.xids);
        self.waiting_since = self.waiting_since.or(pending.since);
        if let Some(why) = pending.lost {
            self.void = Some(why);
            self.look_again();
        }
        if pending.again {
            self.look_again();
        }
    }

    /// Before the next run, and with nothing that was known before.
    fn look_again(&mut self) {
        self.look = Look::Anew;
    }

    async fn once(&mut self) -> Result<(), Problem> {
        let session = self.session().await?;
        let hub = Arc::clone(&self.hub);
        let turn = hub.turn(&self.group, self.slow).await?;
        if self.look > Look::Not {
            self.look_at(&session).await?;
            self.look = Look::Not;
        }
        let analysis = self.shape.analysis()?;
        let began = Instant::now();
        let (asked, found) = (&self.group.asked, self.shape.found());
        let evaluated = query::evaluate(&session, &session, asked, found, self.repeated).await;
        let outcome = evaluated.as_ref().map_or("failed", |_| "ok");
        metrics::counter!(LIVE_RUNS, "outcome" => outcome).increment(1);
        self.slow = began.elapsed() > SLOW;
        let evaluated = evaluated?;
        drop(turn);
        if !is_as_expected(&analysis.columns, &evaluated.rows.fields) {
            self.look_again();
            return Err(Problem::new(ErrorCode::Overloaded)
                .message("The tables of the query are being changed."));
        }
        if self.shape.secured {
            // It ran with the policies as they are, and with the claims that they read when they were looked at.
            // What changes them is told before the place in the log that the run was at.
            self.hub.has_told(evaluated.at.unwrap_or_default()).await?;
            self.take_up();
        }
        if self.is_redefined(&evaluated) {
            self.look_again();
            return Ok(());
        }
        self.tell(&evaluated)?;
        self.repeated = true;
        Ok(())
    }

    /// Whether definitions may not be what they were when the query was looked at. Once they are visible one more
    /// look is enough.
    fn is_redefined(&mut self, evaluated: &Evaluated) -> bool {
        let mut redefined = false;
        for waited in self.waiting.iter_mut().filter(|waited| waited.redefines) {
            redefined = true;
            waited.redefines = !evaluated.snapshot.contains(waited.xid.0);
        }
        redefined
    }

    /// Whether a change of rights could make a difference.
    fn rights_count(&mut self) -> bool {
        let now = *self.rights.borrow_and_update();
        let tokens_only = Change {
            epoch: self.acted.epoch,
            ..now
        } == self.acted;
        self.acted = now;
        // In assume mode declarations are part of them.
        let counts = !tokens_only || self.group.session.caller.mode == Mode::Assume;
        if counts {
            self.look = self.look.max(Look::Again);
        }
        counts
    }

    /// As the group's role as it is now.
    async fn session(&self) -> Result<Session, Problem> {
        let session = &self.group.session;
        let role = &session.caller.principal.role;
        let facts = session.database.catalog.role(&role.name).await;
        let facts = facts.map_err(|_| Problem::new(ErrorCode::DatabaseUnavailable))?;
        let facts = facts
            .filter(|facts| facts.identity == *role)
            .ok_or_else(|| Problem::new(ErrorCode::RoleReplaced))?;
        let mut session = session.clone();
        session.caller.facts = facts;
        Ok(session)
    }

    /// Whether the query still is what the group was made for.
    async fn look_at(&mut self, session: &Session) -> Result<(), Problem> {
        let asked = &self.group.asked;
        if self.look == Look::Anew {
            query::forget(session, asked).await;
        }
        let decision = query::decide(session, asked).await.map_err(|problem| {
            if self.group.scope == Scope::Public && problem.code == ErrorCode::QueryPrivate {
                changed("The query is private now.")
            } else {
                problem
            }
        })?;
        if decision.scope != self.group.scope {
            return Err(changed("The query is public now."));
        }
        let shape = Shape::find(&decision, asked).await?;
        // Then its members with a token belong to groups of their roles, or no longer do.
        if self.group.scope == Scope::Public
            && shape.depends_on_caller != self.shape.depends_on_caller
        {
            return Err(changed("Who may share the query's rows has changed."));
        }
        if shape.claims != self.shape.claims {
            return Err(changed("The query's rows depend on other claims now."));
        }
        self.hub.change(&self.group, &shape)?;
        if !shape.tells_like(&self.shape) {
            self.void = Some("schema");
            self.keyed = shape.key.is_some();
        }
        self.shape = Arc::new(shape);
        Ok(())
    }

    fn tell(&mut self, evaluated: &Evaluated) -> Result<(), Problem> {
        let bounds = self.hub.bounds();
        if evaluated.rows.rows > bounds.max_rows {
            return Err(Problem::new(ErrorCode::ResultTooLarge)
                .message(format!(
                    "The result has more rows than a live query may have: {}.",
                    bounds.max_rows
                ))
                .hint("Ask for fewer rows, with LIMIT or WHERE."));
        }
        let rows = self.rows(evaluated)?;
        let mut seen = Vec::new();
        self.waiting.retain(|waited| {
            let visible = evaluated.snapshot.contains(waited.xid.0);
            if visible {
                seen.push(waited.xid);
            }
            !visible
        });
        let void = self.void.take();
        if let Some(reason) = void {
            metrics::counter!(LIVE_RESETS, "reason" => reason).increment(1);
        }
        let fits = self.group.tell(Told {
            rows,
            shape: Arc::clone(&self.shape),
            keyed: self.keyed,
            at: evaluated.at.unwrap_or_default(),
            visible: evaluated.snapshot.clone(),
            xids: seen,
            void,
        });
        if self.waiting.is_empty()
            && let Some(since) = self.waiting_since.take()
        {
            metrics::histogram!(LIVE_DELAY).record(since.elapsed().as_secs_f64());
        }
        if fits {
            Ok(())
        } else {
            Err(Problem::new(ErrorCode::ResultTooLarge)
                .message("All live queries together hold as much as they may.")
                .hint("Ask for fewer rows; an operator can allow more with query.live.max_bytes."))
        }
    }

    /// The rows with what they are known by.
    fn rows(&mut self, evaluated: &Evaluated) -> Result<Vec<Row>, Problem> {
        let columns = &self.shape.analysis()?.columns;
        if let Some(key) = self.shape.key.as_deref().filter(|_| self.keyed) {
            if let Some(rows) = by_columns(columns, &evaluated.rows, key) {
                return Ok(rows);
            }
            self.keyed = false;
            // Whoever has rows knows them by other keys.
            self.void = self.void.or(self.repeated.then_some("keys"));
        }
        Ok(by_content(columns, &evaluated.rows))
    }
}

/// A run that stopped without saying so leaves nobody waiting.
struct Ended {
    hub: Arc<LiveHub>,
    group: Arc<Group>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.hub.remove(&self.group);
        self.group.end(Problem::new(ErrorCode::Internal));
    }
}

/// Who watches has to begin anew, perhaps among others.
fn changed(what: &'static str) -> Problem {
    Problem::new(ErrorCode::QueryChanged)
        .message(what)
        .hint("Open the stream again.")
}

async fn or_never(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
