//! Who does the work.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::callback::NewCallback;
use crate::description::Description;
use crate::engine::{Engine, EngineError};
use crate::event::{Event, Listener};
use crate::job::{Attempt, Job, JobPrincipal};
use crate::notes::{CheckpointError, Note, Notes};
use crate::outcome::Outcome;

/// Runs jobs of a kind.
pub trait Handler: Send + Sync {
    /// Runs one attempt. Dropped at its deadline; should end soon after `context.cancelled()`. One that
    /// blocks its thread can't be dropped: its attempt ends at the deadline, and it keeps its slot until it
    /// returns. Work that blocks belongs in `tokio::task::spawn_blocking`.
    fn run<'a>(&'a self, job: Job, context: &'a Context) -> BoxFuture<'a, Outcome>;
}

/// What a handler can ask and say while it runs.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) notes: Arc<Notes>,
    pub(crate) engine: Engine,
    pub(crate) principal: i64,
    pub(crate) attempt: Attempt,
    pub(crate) cancel: CancellationToken,
}

impl Context {
    /// The job is not wanted any more, or the process stops and will not wait for long.
    pub fn cancelled(&self) -> impl Future<Output = ()> + '_ {
        self.cancel.cancelled()
    }

    /// Whether [`Self::cancelled`] is over.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// An answer from outside may now end this attempt: give its id to whoever will answer, and
    /// end with [`Outcome::Wait`]. An answer that comes before that is kept. After `timeout` without one
    /// the attempt has failed. A `resumable` one may put the job back in its queue instead, with what
    /// it brought in [`crate::JobOptions::resume`]. `None` if the attempt has ended elsewhere.
    pub async fn register_callback(
        &self,
        timeout: Duration,
        resumable: bool,
    ) -> Result<Option<Uuid>, EngineError> {
        self.engine
            .register_callback(self.attempt, timeout, resumable, None)
            .await
    }

    /// The same with more to say about it, such as rules for its answers.
    pub fn callback(&self, timeout: Duration) -> NewCallback<'_> {
        NewCallback::new(self, timeout)
    }

    /// How far it is, for whoever looks: `percent` of 100, and words. Kept in memory and written about
    /// once a second, with those of other jobs; what was said last counts.
    pub fn progress(&self, percent: u8, message: &str) {
        self.notes
            .add(self.attempt, Note::progress(percent, message));
    }

    /// Where the next attempt is to go on, if this one does not end well: its [`Job::checkpoint`].
    /// Written like [`Self::progress`], and before the end of the attempt is. So the next attempt may
    /// find an older one, and do again what was done in the second between; after the job is done, none
    /// is kept.
    pub fn checkpoint<T: serde::Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> Result<(), CheckpointError> {
        self.notes.add(self.attempt, Note::checkpoint(value)?);
        Ok(())
    }

    /// For whom the job runs, as things stand now.
    pub async fn principal(&self) -> Result<Option<JobPrincipal>, EngineError> {
        self.engine.principal(self.principal).await
    }
}

/// The handlers of a worker, by kind.
#[derive(Default)]
pub struct Handlers {
    by_kind: HashMap<String, Arc<dyn Handler>>,
    /// Asked for kinds that nobody registered.
    others: Option<Arc<dyn Handler>>,
    listeners: Vec<Listener>,
    described: BTreeMap<String, Description>,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<&String> = self.by_kind.keys().collect();
        kinds.sort();
        f.debug_struct("Handlers")
            .field("kinds", &kinds)
            .field("others", &self.others.is_some())
            .field("listeners", &self.listeners.len())
            .field("described", &self.described.len())
            .finish()
    }
}

impl Handlers {
    /// Jobs of `kind` go to `handler`.
    #[must_use]
    pub fn kind(mut self, kind: &str, handler: impl Handler + 'static) -> Self {
        self.by_kind.insert(kind.to_owned(), Arc::new(handler));
        self
    }

    /// Jobs of `kind` go to a function of their arguments. Arguments that are no `T` fail the job
    /// for good.
    #[must_use]
    pub fn function<T, F, R>(self, kind: &str, function: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        F: Fn(T, Job) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.function_in(kind, move |args, job, _| function(args, job))
    }

    /// The same for a function that has something to ask or to say while it runs.
    #[must_use]
    pub fn function_in<T, F, R>(self, kind: &str, function: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        F: Fn(T, Job, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Outcome> + Send + 'static,
    {
        self.kind(
            kind,
            Typed {
                function,
                args: std::marker::PhantomData::<fn() -> T>,
            },
        )
    }

    /// Jobs of kinds that nobody registered go to `handler`.
    #[must_use]
    pub fn others(mut self, handler: impl Handler + 'static) -> Self {
        self.others = Some(Arc::new(handler));
        self
    }

    /// `listener` is told what happens to attempts in this process, as far as it lives to tell: an end
    /// is told when its handler gives it back, which is before it is written. Called from the tasks that
    /// run jobs, so it must not wait.
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.push(Arc::new(listener));
        self
    }

    /// What people are told about a kind. The worker declares it when it starts, with the names of all
    /// its kinds; what an operator said (`rolegate kind describe`) counts more.
    #[must_use]
    pub fn describe(mut self, kind: &str, description: Description) -> Self {
        self.described.insert(kind.to_owned(), description);
        self
    }

    /// A description of each kind, of most without a word.
    pub(crate) fn descriptions(&self) -> BTreeMap<&str, Description> {
        let mut all: BTreeMap<&str, Description> = self
            .by_kind
            .keys()
            .map(|kind| (kind.as_str(), Description::default()))
            .collect();
        let described = self.described.iter();
        all.extend(described.map(|(kind, description)| (kind.as_str(), description.clone())));
        all
    }

    pub(crate) fn tell(&self, event: &Event) {
        event.tell(&self.listeners);
    }

    /// The handler, and the word for its jobs in metrics: producers may invent kinds, and each
    /// would be a time series.
    pub(crate) fn of<'a>(&self, kind: &'a str) -> Option<(&'a str, Arc<dyn Handler>)> {
        match self.by_kind.get(kind) {
            Some(handler) => Some((kind, Arc::clone(handler))),
            None => Some(("other", Arc::clone(self.others.as_ref()?))),
        }
    }
}

struct Typed<F, T> {
    function: F,
    args: std::marker::PhantomData<fn() -> T>,
}

impl<T, F, R> Handler for Typed<F, T>
where
    T: DeserializeOwned + Send + 'static,
    F: Fn(T, Job, Context) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    fn run<'a>(&'a self, job: Job, context: &'a Context) -> BoxFuture<'a, Outcome> {
        match serde_json::from_str(job.args.get()) {
            Ok(args) => (self.function)(args, job, context.clone()).boxed(),
            Err(error) => {
                let error = format!("the arguments don't fit: {error}");
                std::future::ready(Outcome::failed(error)).boxed()
            }
        }
    }
}
