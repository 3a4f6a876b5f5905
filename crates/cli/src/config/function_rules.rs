//! What the call of a function means.

use rolegate_jobs::{CallbackRules, DefaultAction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Expressions in CEL; the only variable is `payload`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FunctionRules {
    /// Whether the call is meant for this wait; if not it is ignored, and the job waits on.
    pub(crate) filter: Option<String>,
    /// Whether it means that the attempt failed.
    pub(crate) on_fail: Option<String>,
    /// Whether it counts.
    pub(crate) on_complete: Option<String>,
    /// What is kept of its payload.
    pub(crate) transform: Option<String>,
    /// What happens if neither of them holds; absent: it counts if there is no `on_complete`, and is
    /// ignored if there is one.
    pub(crate) default: Option<FunctionDefault>,
    /// Whether a failure is final: no further attempts.
    pub(crate) terminal: bool,
}

/// What becomes of a call that no expression decides about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FunctionDefault {
    /// It counts.
    Complete,
    /// The attempt failed.
    Fail,
    /// Nothing; the job waits on.
    Ignore,
}

impl FunctionRules {
    /// As the worker registers them; every expression has been read.
    pub(crate) fn rules(&self) -> anyhow::Result<CallbackRules> {
        let rules = CallbackRules {
            filter: self.filter.clone(),
            on_fail: self.on_fail.clone(),
            on_complete: self.on_complete.clone(),
            transform: self.transform.clone(),
            default: self.default.map(|action| match action {
                FunctionDefault::Complete => DefaultAction::Complete,
                FunctionDefault::Fail => DefaultAction::Fail,
                FunctionDefault::Ignore => DefaultAction::Ignore,
            }),
            terminal: self.terminal,
        };
        rules.compile()?;
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format as _, Serialized, Toml};
    use rolegate_server::http_jobs::Mode;

    use super::*;
    use crate::config::functions::functions;
    use crate::config::tree::Config;

    fn of(mode: &str, rules: &str) -> anyhow::Result<Option<CallbackRules>> {
        let text = format!(
            "worker.callback_base_url = \"https://a.example\"\n[worker.http.pay]\n\
             url = \"https://functions.example/pay\"\nmode = \"{mode}\"\ncallback_rules = {rules}"
        );
        let figment = Figment::from(Serialized::defaults(Config::default()));
        let config: Config = figment.merge(Toml::string(&text)).extract()?;
        let functions = functions(&config)?;
        match &functions.kinds[0].mode {
            Mode::Async(to) => Ok(to.rules.clone()),
            Mode::Sync => Ok(None),
        }
    }

    #[test]
    fn rules_are_read_with_the_configuration() {
        let rules = of(
            "async",
            "{ filter = \"payload.order == 17\", default = \"fail\", terminal = true }",
        );
        let expected = CallbackRules::new()
            .filter("payload.order == 17")
            .otherwise(DefaultAction::Fail)
            .terminal();
        assert_eq!(rules.expect("valid"), Some(expected));
        let refused = |mode: &str, rules: &str| format!("{:#}", of(mode, rules).expect_err(rules));
        assert_eq!(
            refused("async", "{ on_fail = \"payload.status = 'x'\" }"),
            "worker.http.pay: callback_rules: `on_fail`, line 1, column 16: `=` means nothing here"
        );
        assert!(refused("async", "{ on_error = \"true\" }").contains("on_error"));
        assert!(refused("async", "{ default = \"retry\" }").contains("retry"));
        assert!(refused("sync", "{ filter = \"true\" }").contains("not \"async\""));
    }
}
