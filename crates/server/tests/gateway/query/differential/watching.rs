//! Live queries of a random walk.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Walk;
use super::statements::{self, Query};
use crate::query::live::stage::Watcher;

/// Streams at the same time.
const MOST_WATCHED: usize = 6;
/// Longer than a change takes to arrive.
const LONG: Duration = Duration::from_secs(15);

/// A query that is watched.
pub(super) struct Watching {
    query: Query,
    who: usize,
    stream: Watcher,
}

impl Watching {
    /// Reads until it has these rows. False if it ends.
    async fn becomes(&mut self, truth: &Result<Vec<Value>, String>) -> bool {
        loop {
            // What is there already first: a change may be on its way that comes to the same.
            let quiet = Duration::from_millis(20);
            while let Ok(event) = tokio::time::timeout(quiet, self.stream.next()).await {
                match event {
                    Some(event) if event.name != "error" => {}
                    _ => return false,
                }
            }
            if truth.as_ref().is_ok_and(|rows| *rows == self.rows()) {
                return true;
            }
        }
    }

    fn rows(&self) -> Vec<Value> {
        let rows = self.stream.rows.iter().map(|(_, row)| row.clone());
        self.query.sorted(rows.collect())
    }
}

impl Walk {
    pub(super) async fn watch(&mut self) {
        let query = statements::query(&mut self.random);
        let who = self.random.below(self.roles.len());
        let body = json!({"sql": query.sql, "params": query.params}).to_string();
        let url = format!("http://{}/query?live=true", self.gateway.address);
        let post = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(body);
        let post = match &self.roles[who].token {
            Some(token) => post.bearer_auth(token),
            None => post,
        };
        let answer = post.send().await.expect("an answer");
        self.said.push(format!(
            "{} watches {} {:?}: {}",
            self.roles[who].name,
            query.sql,
            query.params,
            answer.status()
        ));
        if answer.status() != StatusCode::OK {
            assert!(
                answer.status().as_u16() < 500 || answer.status() == 503,
                "{}",
                self.story()
            );
            return;
        }
        self.counts.watched += 1;
        if self.watchers.len() == MOST_WATCHED {
            self.watchers.remove(0);
        }
        let stream = Watcher::new(answer);
        self.watchers.push(Watching { query, who, stream });
    }

    /// Nothing changes now, so what is watched has to become what the database gives.
    pub(super) async fn compare_watched(&mut self) {
        let mut watchers = std::mem::take(&mut self.watchers);
        let mut left = Vec::new();
        while let Some(mut watching) = watchers.pop() {
            let truth = self.truth(&watching.query, watching.who).await;
            let settled = tokio::time::timeout(LONG, watching.becomes(&truth)).await;
            match settled {
                Ok(true) => {
                    self.counts.compared += 1;
                    left.push(watching);
                }
                Ok(false) => self.counts.ended += 1,
                Err(elapsed) => panic!(
                    "{elapsed}: {}\n{} watches {} {:?}\n has {:?}\n not {truth:?}",
                    self.story(),
                    self.roles[watching.who].name,
                    watching.query.sql,
                    watching.query.params,
                    watching.rows()
                ),
            }
        }
        left.reverse();
        self.watchers = left;
    }
}
