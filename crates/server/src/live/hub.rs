//! The live queries of one database.

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::future::Cache;
use rolegate_model::{CredentialKind, ErrorCode};
use rolegate_pg::catalog::Change;
use rolegate_query::Touch;
use rolegate_query::cache::Catalog;
use rolegate_replication::{Event, Feed, Lsn, Subscription};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::doubts::Doubts;
use super::evaluation::Runner;
use super::group::{Group, Key};
use super::principal::projected;
use super::shape::Shape;
use super::watched::{Concern, Watched};
use super::weight::{Held, Share};
use crate::call::Session;
use crate::config::LiveBounds;
use crate::database::Database;
use crate::identity::Caller;
use crate::metrics::LIVE_STREAMS;
use crate::problem::Problem;
use crate::query::{self, Asked, Decision, Scope};
use crate::request::RequestContext;

/// Queries of which it is known how to watch them.
const SHAPES: u64 = 1000;
/// Roles whose rate is remembered.
const ROLES: u64 = 10_000;
/// Runs at the same time of groups whose last run took long, of those that are public and of all others.
const SLOW_RUNS: usize = 1;
/// How long the stream may be away before watching ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether it is.
const LOOK: Duration = Duration::from_secs(1);

/// The live queries of one database.
#[derive(Debug)]
pub(crate) struct LiveHub {
    feed: Option<Feed>,
    bounds: LiveBounds,
    watched: Mutex<Watched>,
    shapes: Cache<ShapeKey, Arc<Shape>>,
    held: Arc<Held>,
    runs: Semaphore,
    slow_runs: Semaphore,
    slow_public_runs: Semaphore,
    rates: moka::sync::Cache<u32, Arc<DefaultDirectRateLimiter>>,
    doubts: Doubts,
    /// Up to where groups have been told of commits.
    told: watch::Sender<Lsn>,
    starts: mpsc::UnboundedSender<Start>,
    started: Mutex<Option<mpsc::UnboundedReceiver<Start>>>,
}

/// A group that begins.
#[derive(Debug)]
struct Start {
    group: Arc<Group>,
    shape: Arc<Shape>,
    rights: (watch::Receiver<Change>, Change),
}

/// A text in an identity, in a state of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ShapeKey {
    sql: Arc<str>,
    role_oid: u32,
    catalog: Catalog,
}

/// One who watches; no more when dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    hub: Arc<LiveHub>,
    pub(super) group: Arc<Group>,
}

impl LiveHub {
    /// `feed`: the change stream, if this process could follow it.
    pub(crate) fn new(feed: Option<Feed>, bounds: LiveBounds) -> Arc<Self> {
        let (starts, started) = mpsc::unbounded_channel();
        Arc::new(Self {
            feed,
            bounds,
            watched: Mutex::default(),
            shapes: Cache::new(SHAPES),
            held: Arc::default(),
            runs: Semaphore::new(bounds.concurrency),
            slow_runs: Semaphore::new(SLOW_RUNS),
            slow_public_runs: Semaphore::new(SLOW_RUNS),
            rates: moka::sync::Cache::new(ROLES),
            doubts: Doubts::default(),
            told: watch::Sender::new(Lsn::default()),
            starts,
            started: Mutex::new(Some(started)),
        })
    }

    /// Watches a query.
    pub(crate) async fn join(
        self: &Arc<Self>,
        session: &Session,
        asked: Asked,
    ) -> Result<Membership, Problem> {
        self.follows()?;
        // From here on a change of rights is noticed by the group.
        let mut rights = session.database.changes();
        let acted = *rights.borrow_and_update();
        let decision = query::decide(session, &asked).await?;
        let shape = self.shape(&decision, &asked).await?;
        let key = key(&decision, &asked, &shape)?;
        let nobody = session.caller.principal.kind == CredentialKind::Anonymous;
        // The last quarter is for those who have a token.
        let most = self.bounds.groups - if nobody { self.bounds.groups / 4 } else { 0 };
        let membership = self.enter(key, &decision, (asked, most), shape, (rights, acted))?;
        membership.begun().await?;
        Ok(membership)
    }

    fn enter(
        self: &Arc<Self>,
        key: Key,
        decision: &Decision,
        (asked, most): (Asked, usize),
        shape: Arc<Shape>,
        rights: (watch::Receiver<Change>, Change),
    ) -> Result<Membership, Problem> {
        let mut watched = self.watched();
        let group = if let Some(group) = watched.find(&key) {
            group
        } else {
            if watched.len() >= most {
                return Err(Problem::new(ErrorCode::Overloaded)
                    .message("As many different queries are watched as may be.")
                    .retry_after(Duration::from_secs(5)));
            }
            let concern = concern(&asked, &shape)?;
            let group = Arc::new(self.begin(key, decision, asked, &shape)?);
            watched.add(Arc::clone(&group), concern);
            let start = Start {
                group: Arc::clone(&group),
                shape,
                rights,
            };
            // Nobody takes it any more when the process stops.
            if self.starts.send(start).is_err() {
                watched.remove(group.id);
                return Err(Problem::new(ErrorCode::ShuttingDown));
            }
            group
        };
        if !watched.enter(&group, self.bounds.streams_per_role) {
            return Err(Problem::new(ErrorCode::Overloaded)
                .message("As many live queries of the role are open as may be.")
                .retry_after(Duration::from_secs(5)));
        }
        metrics::gauge!(LIVE_STREAMS).increment(1.0);
        Ok(Membership {
            hub: Arc::clone(self),
            group,
        })
    }

    fn begin(
        &self,
        key: Key,
        decision: &Decision,
        asked: Asked,
        shape: &Shape,
    ) -> Result<Group, Problem> {
        let session = &decision.session;
        let principal = projected(&session.caller.principal, &shape.claims)
            .ok_or_else(|| Problem::new(ErrorCode::Internal))?;
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| Problem::new(ErrorCode::Internal))?;
        let id = u64::from_be_bytes(id);
        let session = Session {
            database: Arc::clone(&session.database),
            caller: Caller {
                principal: Arc::new(principal),
                ..session.caller.clone()
            },
            // Nothing of a member's request: others get the rows too.
            context: RequestContext::of_live_query(id),
            dry_run: false,
            for_everybody: decision.scope == Scope::Public,
        };
        let held = Share::of(&self.held);
        Ok(Group::new(key, id, asked, decision.scope, session, held))
    }

    /// How to watch a query; found out once for all who ask.
    async fn shape(&self, decision: &Decision, asked: &Asked) -> Result<Arc<Shape>, Problem> {
        let key = ShapeKey {
            sql: Arc::clone(&asked.text.sql),
            role_oid: decision.session.caller.principal.role.oid,
            catalog: decision.session.database.catalog_state(),
        };
        let shape = self
            .shapes
            .try_get_with(key, async {
                Shape::find(decision, asked).await.map(Arc::new)
            })
            .await;
        shape.map_err(|problem: Arc<Problem>| (*problem).clone())
    }

    fn follows(&self) -> Result<(), Problem> {
        let Some(feed) = &self.feed else {
            return Err(Problem::new(ErrorCode::Overloaded).message(
                "Queries can't be watched here: this process does not follow the change stream.",
            ));
        };
        match feed.epoch() {
            Some(_) => Ok(()),
            None => Err(not_followed()),
        }
    }

    /// Follows the change stream and runs the groups, until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        database: Arc<Database>,
        mut events: Subscription,
        stop: CancellationToken,
    ) {
        let started = self
            .started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut started) = started else { return };
        let mut groups = JoinSet::new();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut away_since = None;
        let mut settle = pin!(self.settle(&database));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.next() => self.take(event),
                start = started.recv() => match start {
                    Some(start) => {
                        let (rights, acted) = start.rights;
                        let runner = Runner::new(&self, start.group, start.shape, rights, acted);
                        groups.spawn(runner.run());
                    }
                    None => break,
                },
                Some(ended) = groups.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "live_query_panicked");
                },
                _ = look.tick() => self.notice_absence(&mut away_since),
                () = &mut settle => {}
            }
        }
        started.close();
        for group in self.watched().all() {
            group.end(Problem::new(ErrorCode::ShuttingDown));
        }
        groups.shutdown().await;
    }

    fn take(&self, event: Event) {
        match event {
            Event::Commit(commit) => {
                self.doubts.told(commit.xid);
                self.watched().commit(&commit);
                self.told.send_replace(commit.end_lsn);
            }
            Event::Passed(lsn) => {
                self.told.send_replace(lsn);
            }
            Event::Lost(lost) => {
                tracing::info!(epoch = %lost.epoch, why = ?lost.why, "live_queries_begin_anew");
                self.watched().lose("feed");
                self.doubts.gap();
                self.told.send_replace(lost.at);
            }
        }
    }

    /// Has groups run again when something becomes visible that was committed before a gap in the stream.
    async fn settle(&self, database: &Database) {
        loop {
            self.doubts.arisen().await;
            while self.doubts.are_there() {
                let looking = self.doubts.look();
                // The first one has to list whatever had begun.
                let seen = if looking.is_first() {
                    query::settled(database).await
                } else {
                    query::seen(database).await
                };
                if let Ok((snapshot, _)) = seen
                    && looking.saw(&snapshot)
                {
                    for group in self.watched().all() {
                        group.run_again();
                    }
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Waits until groups have been told of everything that was committed up to `lsn`.
    pub(super) async fn has_told(&self, lsn: Lsn) -> Result<(), Problem> {
        let feed = self.feed.as_ref().ok_or_else(not_followed)?;
        let told = async {
            // This one has the stream come, if nothing is committed.
            feed.wait_passed(lsn).await.ok()?;
            self.told
                .subscribe()
                .wait_for(|told| *told >= lsn)
                .await
                .ok()?;
            Some(())
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        told.ok().flatten().ok_or_else(not_followed)
    }

    /// Ends what is watched where nobody tells of commits any more.
    fn notice_absence(&self, away_since: &mut Option<Instant>) {
        if self
            .feed
            .as_ref()
            .is_some_and(|feed| feed.epoch().is_some())
        {
            *away_since = None;
            return;
        }
        let since = *away_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            let groups: Vec<_> = self.watched().all().cloned().collect();
            for group in groups {
                self.remove(&group);
                group.end(not_followed());
                group.wake();
            }
        }
    }

    /// A turn to run for a group. Those whose last run took long don't stand in the way of others, and what anybody may
    /// watch not in the way of what only some may.
    pub(super) async fn turn(
        &self,
        group: &Group,
        slow: bool,
    ) -> Result<SemaphorePermit<'_>, Problem> {
        let role_oid = group.session.caller.principal.role.oid;
        let limiter = self.rates.get_with(role_oid, || {
            let rate = NonZeroU32::new(self.bounds.runs_per_second).unwrap_or(NonZeroU32::MIN);
            Arc::new(RateLimiter::direct(Quota::per_second(rate)))
        });
        while let Err(not_until) = limiter.check() {
            tokio::time::sleep(not_until.wait_time_from(DefaultClock::default().now())).await;
        }
        let runs = match (slow, group.scope) {
            (false, _) => &self.runs,
            (true, Scope::Private) => &self.slow_runs,
            (true, Scope::Public) => &self.slow_public_runs,
        };
        let turn = runs.acquire().await;
        turn.map_err(|_| Problem::new(ErrorCode::ShuttingDown))
    }

    /// The group reads something else now.
    pub(super) fn change(&self, group: &Group, shape: &Shape) -> Result<(), Problem> {
        let concern = concern(&group.asked, shape)?;
        self.watched().change(group.id, concern);
        Ok(())
    }

    /// When the group ends if nobody comes back to it.
    pub(super) fn ends_at(&self, group: &Group) -> Option<Instant> {
        let since = self.watched().empty_since(group.id)?;
        Some(since + self.bounds.grace)
    }

    /// Removes it if nobody has watched it for long enough.
    pub(super) fn remove_if_left(&self, group: &Group) -> bool {
        let mut watched = self.watched();
        let since = watched.empty_since(group.id);
        let left = since.is_some_and(|since| since.elapsed() >= self.bounds.grace);
        if left {
            watched.remove(group.id);
        }
        left
    }

    pub(super) fn remove(&self, group: &Group) {
        self.watched().remove(group.id);
    }

    pub(super) fn bounds(&self) -> &LiveBounds {
        &self.bounds
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// Who shares the rows.
    pub(crate) fn scope(&self) -> Scope {
        self.group.scope
    }

    /// Waits for the first result.
    async fn begun(&self) -> Result<(), Problem> {
        let mut news = self.group.news.subscribe();
        loop {
            news.mark_unchanged();
            if let Some(begun) = self.group.begun() {
                return begun;
            }
            if news.changed().await.is_err() {
                return Err(Problem::new(ErrorCode::ShuttingDown));
            }
        }
    }

    /// Whether somebody of the group is still one who may see its rows.
    pub(super) fn is_still_for(&self, caller: &Caller) -> bool {
        match self.group.shape() {
            Some(shape) => belongs(&self.group, caller, &shape),
            // It has ended, which he is told.
            None => true,
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.hub.watched().leave(&self.group);
        metrics::gauge!(LIVE_STREAMS).decrement(1.0);
        // So that it looks when it has to end.
        self.group.wake();
    }
}

/// What makes the group of a caller.
fn key(decision: &Decision, asked: &Asked, shape: &Shape) -> Result<Key, Problem> {
    let principal = projected(&decision.session.caller.principal, &shape.claims)
        .ok_or_else(|| Problem::new(ErrorCode::Internal))?;
    Ok(Key {
        sql: Arc::clone(&asked.text.sql),
        params: asked.params.clone(),
        role_oid: principal.role.oid,
        public: decision.scope == Scope::Public,
        claims: principal.claims,
        token_id: principal.token_id,
    })
}

/// Whether a caller still belongs to a group.
fn belongs(group: &Group, caller: &Caller, shape: &Shape) -> bool {
    group.scope == Scope::Public
        || projected(&caller.principal, &shape.claims).is_some_and(|principal| {
            principal.role.oid == group.key.role_oid
                && principal.claims == group.key.claims
                && principal.token_id == group.key.token_id
        })
}

fn concern(asked: &Asked, shape: &Shape) -> Result<Concern, Problem> {
    Ok(Concern {
        touch: Touch::of(shape.analysis()?, &asked.text, &asked.params),
        relations: shape.relations.clone(),
        parts: shape.parts.clone(),
        opaque: shape.opaque,
    })
}

fn not_followed() -> Problem {
    Problem::new(ErrorCode::Overloaded)
        .message("The change stream is not followed by this process now.")
        .hint("Try again; an operator sees why in rolegate replication status.")
        .retry_after(Duration::from_secs(5))
}
