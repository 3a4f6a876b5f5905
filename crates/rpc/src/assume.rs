//! Whether a function may run in assume mode, where code could leave its role.
//!
//! In assume mode the session's user is the gateway's login, and whatever can run SQL text can
//! `reset role`. So a `SECURITY INVOKER` function runs there only if its body shows that it runs
//! no SQL but its own, or if an operator declared it safe. `SECURITY DEFINER` functions can't
//! change the role inside; they pass. Procedures with transaction control never run: the role is
//! set for one transaction.
//!
//! The check reads `sql` and `plpgsql` bodies. It is made to refuse what it can't be sure of:
//! words that start other commands, built-in functions that are not on the list
//! `sql/src/builtins.txt`, functions outside the exposed schemas, text whose meaning depends on
//! settings.
//!
//! What it does not follow are the parts of a database that run without being called by name:
//! triggers, rules, policies, views, defaults, casts, operators, and other `set` clauses than that of the
//! role. They are the same for every caller, no argument of a call becomes SQL in them unless
//! their author made it so, and `rolegate audit` looks at them.

use std::collections::HashMap;

use rolegate_pg::catalog::{Function, FunctionKind, Snapshot};
use rolegate_sql::{Callee, Reason, check_body, check_transactions};

/// Functions of our schema that are made for callers; all of them are `SECURITY DEFINER` and run
/// no text of anybody.
const ENGINE_FUNCTIONS: [&str; 3] = ["claim", "claims", "emit"];

/// The verdicts on all functions of a snapshot. They are computed once, when the snapshot is new.
#[derive(Debug, Clone, Default)]
pub struct Verdicts(HashMap<u32, Reason>);

impl Verdicts {
    /// Looks at every function. One that calls a refused function is refused too. What callers
    /// may use of our own schema, `engine_schema`, is known to be safe.
    pub fn of(snapshot: &Snapshot, engine_schema: &str) -> Self {
        let mut by_name: HashMap<&str, Vec<&Function>> = HashMap::new();
        for function in snapshot.functions() {
            by_name.entry(&function.name).or_default().push(function);
        }
        let mut refused: HashMap<u32, Reason> = HashMap::new();
        // Functions may call each other in circles, so all are taken for safe at first and the
        // refusals spread until nothing changes.
        loop {
            let before = refused.len();
            for function in snapshot.functions() {
                if refused.contains_key(&function.oid) {
                    continue;
                }
                let verdict = check(function, &|schema, name| {
                    if schema == Some(engine_schema) && ENGINE_FUNCTIONS.contains(&name) {
                        return Callee::Safe;
                    }
                    let mut callee = Callee::Unknown;
                    for found in by_name.get(name).into_iter().flatten() {
                        if schema.is_some_and(|schema| schema != found.schema) {
                            continue;
                        }
                        if refused.contains_key(&found.oid) {
                            return Callee::Unsafe;
                        }
                        callee = Callee::Safe;
                    }
                    callee
                });
                if let Err(reason) = verdict {
                    refused.insert(function.oid, reason);
                }
            }
            if refused.len() == before {
                return Self(refused);
            }
        }
    }

    /// Why a function is refused; `None` if it may run. Only for functions of the snapshot.
    pub fn refusal(&self, function: &Function) -> Option<&Reason> {
        self.0.get(&function.oid)
    }
}

/// The verdict on one function, given one on those it calls by name: `callees` gets the schema,
/// if the call names one, and the name.
pub fn check(
    function: &Function,
    callees: &dyn Fn(Option<&str>, &str) -> Callee,
) -> Result<(), Reason> {
    let source = function.source.as_deref();
    if function.kind == FunctionKind::Procedure {
        // A declaration does not help: the role would be gone after the commit.
        check_transactions(source.unwrap_or_default())?;
    }
    for setting in &function.settings {
        let name = setting
            .split('=')
            .next()
            .unwrap_or_default()
            .trim()
            .to_lowercase();
        if matches!(name.as_str(), "role" | "session_authorization") {
            return Err(Reason::SetClause(name));
        }
    }
    if function.security_definer || function.declared_safe {
        return Ok(());
    }
    match source {
        Some(source) => check_body(&function.language, source, callees),
        None => Err(Reason::NoBody),
    }
}

#[cfg(test)]
mod tests;
