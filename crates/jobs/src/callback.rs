//! Callbacks that attempts register.

use std::time::Duration;

use rolegate_rules::{CallbackRules, RulesError};
use uuid::Uuid;

use crate::engine::EngineError;
use crate::handler::Context;

/// A callback that is about to be registered: see [`Context::callback`].
#[derive(Debug, Clone)]
#[must_use = "nothing is registered yet"]
pub struct NewCallback<'a> {
    context: &'a Context,
    timeout: Duration,
    resumable: bool,
    rules: Option<CallbackRules>,
}

/// Why a callback is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A rule is no expression; the database was not asked.
    #[error("the callback's rules: {0}")]
    Rules(#[from] RulesError),
    /// The database did not register it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl<'a> NewCallback<'a> {
    pub(crate) fn new(context: &'a Context, timeout: Duration) -> Self {
        Self {
            context,
            timeout,
            resumable: false,
            rules: None,
        }
    }

    /// Whether the answer may put the job back in its queue instead of ending it, with what it brought in
    /// [`crate::JobOptions::resume`].
    pub fn resumable(mut self, resumable: bool) -> Self {
        self.resumable = resumable;
        self
    }

    /// What answers mean. They are looked at when an answer comes, by the receiver.
    pub fn rules(mut self, rules: CallbackRules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Registers it: its id, for whoever will answer. `None` if the attempt has ended elsewhere.
    pub async fn register(self) -> Result<Option<Uuid>, RegisterError> {
        let rules = self.rules.as_ref();
        rules.map(CallbackRules::compile).transpose()?;
        let Context {
            engine, attempt, ..
        } = self.context;
        let registered = engine.register_callback(*attempt, self.timeout, self.resumable, rules);
        Ok(registered.await?)
    }
}
