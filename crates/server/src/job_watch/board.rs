//! The last state of every queue, and when it became so.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

/// What changes without anything having happened.
const BY_ITSELF: &str = "lag_seconds";

/// The queues as they were when somebody looked last.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    /// Numbers of another process mean nothing here.
    name: Uuid,
    /// How many looks have shown something new.
    number: u64,
    /// Somebody looks.
    live: bool,
    queues: BTreeMap<String, Queue>,
}

#[derive(Debug, Clone)]
struct Queue {
    row: Value,
    /// Since which number it is so.
    since: u64,
}

/// What a client has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    name: Uuid,
    number: u64,
}

impl Seen {
    /// As it stands in an event's id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, number) = text.split_once('.')?;
        Some(Self {
            name: Uuid::try_parse(name).ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name.simple(), self.number)
    }
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            name: Uuid::new_v4(),
            number: 0,
            live: false,
            queues: BTreeMap::new(),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Whoever has been sent everything there is.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            name: self.name,
            number: self.number,
        }
    }

    /// Nobody looks any more. What is known stays, for who comes back.
    pub(crate) fn rest(&self) -> Option<Self> {
        self.live.then(|| Self {
            live: false,
            ..self.clone()
        })
    }

    /// After a look: `None` if it has shown what was known.
    pub(crate) fn note(&self, rows: Option<Vec<Value>>) -> Option<Self> {
        let mut next = self.clone();
        next.live = true;
        if let Some(rows) = rows {
            let number = self.number + 1;
            let mut queues = BTreeMap::new();
            for row in rows {
                let Some(name) = row["queue"].as_str() else {
                    continue;
                };
                let name = name.to_owned();
                let known = self.queues.get(&name);
                let since = match known {
                    Some(known) if same(&known.row, &row) => known.since,
                    _ => number,
                };
                if since == number {
                    next.number = number;
                }
                queues.insert(name, Queue { row, since });
            }
            next.queues = queues;
        }
        (next.number != self.number || next.live != self.live).then_some(next)
    }

    /// What a client that has seen this needs to know; `None`: nothing.
    pub(crate) fn since(&self, seen: Option<Seen>) -> Option<Value> {
        let known = seen.filter(|seen| seen.name == self.name && seen.number <= self.number);
        let after = known.map_or(0, |seen| seen.number);
        let rows: Vec<&Value> = self
            .queues
            .values()
            .filter(|queue| known.is_none() || queue.since > after)
            .map(|queue| &queue.row)
            .collect();
        if known.is_some() && rows.is_empty() {
            return None;
        }
        Some(json!({"all": known.is_none(), "queues": rows}))
    }
}

fn same(one: &Value, other: &Value) -> bool {
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        return one == other;
    };
    one.len() == other.len()
        && one
            .iter()
            .all(|(name, value)| name == BY_ITSELF || other.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, available: u64, lag: f64) -> Value {
        json!({"queue": name, "available": available, "lag_seconds": lag})
    }

    #[test]
    fn a_client_is_told_what_it_has_not_seen() {
        let board = Board::new();
        assert!(!board.is_live());
        let first = board
            .note(Some(vec![row("a", 1, 0.0), row("b", 1, 0.0)]))
            .expect("something new");
        let all = first.since(None).expect("all of it");
        assert_eq!(
            (&all["all"], all["queues"].as_array().map(Vec::len)),
            (&json!(true), Some(2))
        );
        assert_eq!(first.since(Some(first.seen())), None);

        // Time alone is no change.
        assert!(
            first
                .note(Some(vec![row("a", 1, 9.0), row("b", 1, 9.0)]))
                .is_none()
        );
        assert!(first.note(None).is_none());
        let second = first
            .note(Some(vec![row("a", 1, 9.0), row("b", 2, 9.0)]))
            .expect("something new");
        let some = second.since(Some(first.seen())).expect("one of them");
        assert_eq!(some, json!({"all": false, "queues": [row("b", 2, 9.0)]}));

        // Of another process, of the future, or nothing of ours: all of it.
        for other in [
            Some(Board::new().seen()),
            Seen::parse(&format!("{}.99", second.name)),
            Seen::parse("7"),
        ] {
            assert_eq!(second.since(other).expect("all of it")["all"], true);
        }
    }

    #[test]
    fn what_was_known_stays_known_while_nobody_looks() {
        let board = Board::new()
            .note(Some(vec![row("a", 1, 0.0)]))
            .expect("new");
        let seen = Seen::parse(&board.seen().to_string());
        let resting = board.rest().expect("it looked");
        assert!(!resting.is_live() && resting.rest().is_none());
        let again = resting
            .note(Some(vec![row("a", 1, 5.0)]))
            .expect("live again");
        assert_eq!(again.since(seen), None);
    }
}
