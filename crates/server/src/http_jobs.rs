//! Jobs that are sent to a function: something that answers HTTP requests, in whatever language.
//!
//! What it gets and what its answers mean is `docs/reference/function-requests.md`.

mod answer;
mod metrics;
mod request;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use rolegate_auth::callback::Key;
use rolegate_jobs::{CallbackRules, Context, Handler, Handlers, Job, Outcome, RegisterError};
use rolegate_model::Clock;
use rolegate_outbound::{
    Answer, Client, Gate, GateConfig, Origin, Pass, Request, SendError, Target,
};
use tokio::time::Instant;
use uuid::Uuid;

pub use answer::{ANSWER_TOO_LARGE, LONGEST_RETRY_AFTER, REDIRECTED, REFUSED};
pub use metrics::describe;
pub use request::REQUEST_TOO_LARGE;

/// A kind of jobs that is sent to a function.
#[derive(Debug, Clone)]
pub struct HttpKind {
    /// The kind.
    pub kind: String,
    /// Where the function is.
    pub target: Target,
    /// How it says that it is done.
    pub mode: Mode,
    /// Until the last byte of its answer.
    pub timeout: Duration,
    /// Headers of the operator's.
    pub headers: HeaderMap,
    /// What requests are signed with.
    pub key: Option<Key>,
    /// Bytes of a request's body.
    pub max_request: usize,
    /// Bytes of an answer's body.
    pub max_answer: usize,
}

/// How a function says that it is done.
#[derive(Debug, Clone)]
pub enum Mode {
    /// By its answer.
    Sync,
    /// By a call to a callback, later.
    Async(CallBack),
}

/// Where and how it calls.
#[derive(Debug, Clone)]
pub struct CallBack {
    /// Address of the receiver, as the function reaches it.
    pub base_url: String,
    /// In front of the callbacks' ids there.
    pub prefix: String,
    /// How long the job waits for it.
    pub timeout: Duration,
    /// Whether the call may also be the job's next step.
    pub resumable: bool,
    /// What its payload means.
    pub rules: Option<CallbackRules>,
    /// Whether the request has the signature of the callback's id that functions made for the peer
    /// give back as theirs.
    pub legacy_signature: bool,
}

/// All such kinds of a process. Its databases share connections, limits and breakers.
#[derive(Debug, Clone)]
pub struct HttpKinds {
    kinds: Vec<HttpKind>,
    client: Client,
    gates: HashMap<Origin, Arc<Gate>>,
    clock: Arc<dyn Clock>,
}

impl HttpKinds {
    /// With a gate for each host that one of them is at.
    pub fn new(
        kinds: Vec<HttpKind>,
        client: Client,
        gate: GateConfig,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut gates = HashMap::new();
        for kind in &kinds {
            let origin = kind.target.origin();
            gates
                .entry(origin.clone())
                .or_insert_with(|| Gate::new(gate));
        }
        Self {
            kinds,
            client,
            gates,
            clock,
        }
    }

    /// Adds their handlers, for jobs of this database.
    pub fn register(&self, mut handlers: Handlers, database: &str) -> Handlers {
        for kind in &self.kinds {
            let Some(gate) = self.gates.get(kind.target.origin()) else {
                continue;
            };
            let handler = HttpJobs {
                kind: kind.clone(),
                database: database.to_owned(),
                client: self.client.clone(),
                gate: Arc::clone(gate),
                clock: Arc::clone(&self.clock),
            };
            handlers = handlers.kind(&kind.kind, handler);
        }
        handlers
    }
}

/// Runs the jobs of one kind and database.
struct HttpJobs {
    kind: HttpKind,
    database: String,
    client: Client,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
}

impl Handler for HttpJobs {
    fn run<'a>(&'a self, job: Job, context: &'a Context) -> BoxFuture<'a, Outcome> {
        async move { self.attempt(&job, context).await }.boxed()
    }
}

impl HttpJobs {
    async fn attempt(&self, job: &Job, context: &Context) -> Outcome {
        if job.args.get().len() > self.kind.max_request {
            return request::too_large(self.kind.max_request);
        }
        let pass = match self.gate.enter().await {
            Ok(pass) => pass,
            Err(later) => {
                metrics::put_off(self.kind.target.origin(), later.why);
                return Outcome::Snooze(later.after);
            }
        };
        // Before the request, or the answer could be there first.
        let callback = match self.callback(context).await {
            Ok(callback) => callback,
            Err(outcome) => {
                pass.gave_up();
                return outcome;
            }
        };
        let now = self.clock.now();
        let built = request::build(&self.kind, &self.database, job, callback, now);
        let (headers, body) = match built {
            Ok(built) => built,
            Err(outcome) => {
                pass.gave_up();
                return outcome;
            }
        };
        let answered = self.client.post(Request {
            target: &self.kind.target,
            headers,
            body,
            timeout: self.kind.timeout,
            max_answer: self.kind.max_answer,
        });
        let began = Instant::now();
        let answered = tokio::select! {
            biased;
            answered = answered => answered,
            // Whoever runs it again sends the same idempotency key.
            () = context.cancelled() => {
                pass.gave_up();
                return Outcome::Released;
            }
        };
        self.note(job, &answered, began.elapsed());
        self.pass(pass, &answered);
        answer::outcome(&self.kind.mode, answered, self.clock.now())
    }

    async fn callback(&self, context: &Context) -> Result<Option<Uuid>, Outcome> {
        let Mode::Async(call_back) = &self.kind.mode else {
            return Ok(None);
        };
        let mut new = context
            .callback(call_back.timeout)
            .resumable(call_back.resumable);
        if let Some(rules) = &call_back.rules {
            new = new.rules(rules.clone());
        }
        match new.register().await {
            Ok(Some(id)) => Ok(Some(id)),
            // The attempt has ended elsewhere, and nobody asks for its outcome.
            Ok(None) => Err(Outcome::Released),
            // They are read when the process starts, and are as wrong the next time.
            Err(RegisterError::Rules(error)) => Err(Outcome::failed(error.to_string())),
            Err(RegisterError::Engine(error)) => Err(Outcome::retry(error.to_string())),
        }
    }

    /// The log has the host and never the path or the query, in which a key may be.
    fn note(&self, job: &Job, answered: &Result<Answer, SendError>, took: Duration) {
        let (kind, host) = (&*self.kind.kind, self.kind.target.origin());
        metrics::answered(kind, answer::word(answered), took);
        if let Err(SendError::Address(refused)) = answered {
            let (address, what) = (refused.address, refused.what);
            tracing::warn!(kind, job = job.id, %host, %address, what, "function_address_refused");
        }
        tracing::debug!(
            kind,
            job = job.id,
            %host,
            answer = answer::word(answered),
            milliseconds = took.as_millis(),
            "function_answered"
        );
    }

    /// The host is up if it answers, whatever it thinks of the job.
    fn pass(&self, pass: Pass, answered: &Result<Answer, SendError>) {
        let host = self.kind.target.origin();
        let answers = answered
            .as_ref()
            .is_ok_and(|answer| !answer.status.is_server_error());
        if answers {
            if pass.succeeded() {
                metrics::down(host, false);
                tracing::info!(%host, "function_host_up");
            }
        } else if pass.failed() {
            metrics::down(host, true);
            tracing::warn!(%host, answer = answer::word(answered), "function_host_down");
        }
    }
}
