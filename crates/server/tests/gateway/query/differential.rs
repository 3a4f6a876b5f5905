//! A random walk: tables, rights, policies, rows and queries change, and every answer has to be what PostgreSQL gives
//! that role at that moment. `ROLEGATE_DIFFERENTIAL_STEPS` sets the number of steps (default 600), and
//! `ROLEGATE_DIFFERENTIAL_SEED` where to begin.

mod random;
mod statements;
mod watching;

use std::collections::HashMap;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::{Value, json};
use tokio_postgres::Client as Connection;

use crate::harness::{Gateway, Options, api, publish};
use random::Random;
use statements::{Query, Tables};
use watching::Watching;

#[expect(clippy::disallowed_methods, reason = "how long to walk")]
fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect(name))
}

#[tokio::test]
async fn every_answer_is_what_the_database_gives_that_role() {
    let steps = number("ROLEGATE_DIFFERENTIAL_STEPS", 600);
    let seed = number("ROLEGATE_DIFFERENTIAL_SEED", 1);
    for_each_version(async |db| {
        let mut walk = Walk::begin(db, Random::new(seed)).await;
        for _ in 0..steps {
            walk.step().await;
        }
        println!("{steps} steps from seed {seed}: {:?}", walk.counts);
        walk.has_seen_enough(steps);
    })
    .await;
}

/// Who asks.
struct Role {
    name: String,
    token: Option<String>,
    connection: Connection,
}

struct Walk {
    random: Random,
    gateway: Gateway,
    client: Client,
    owner: Connection,
    roles: Vec<Role>,
    tables: Tables,
    /// Queries that are watched, and by whom.
    watchers: Vec<Watching>,
    /// Bodies by their addresses.
    bodies: HashMap<String, String>,
    places: Vec<String>,
    counts: Counts,
    said: Vec<String>,
    db_steps: usize,
}

#[derive(Debug, Default)]
struct Counts {
    /// Statements that change rows, and those that change tables, rights or policies.
    writes: u64,
    definitions: u64,
    /// Answers that were what the database gives: from an address, public without one, private.
    kept: u64,
    once: u64,
    private: u64,
    /// By us and by the database.
    refused: u64,
    /// Addresses that were visited again: with the same bytes, or gone.
    old_places: u64,
    gone: u64,
    /// Answers that were older, as they said.
    behind: u64,
    /// Live queries: begun, found to have the rows of the database, ended.
    watched: u64,
    compared: u64,
    ended: u64,
}

struct Answer {
    status: u16,
    body: String,
    place: Option<String>,
    lsn: Option<u64>,
    code: String,
}

impl Walk {
    async fn begin(db: &TestDatabase, mut random: Random) -> Self {
        let first = db.create_role_with("first", "login", Admitted::Login).await;
        let second = db
            .create_role_with("second", "login", Admitted::Login)
            .await;
        let tables = Tables::new(vec!["public".into(), first.clone(), second.clone()]);
        let definitions = tables.lay(&mut random);
        api(db, &[&first, &second], &definitions).await;
        publish(db).await;
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let gateway = Gateway::start_with(db, options).await;
        let client = Client::builder().no_proxy().redirect(Policy::none());
        let mut roles = Vec::new();
        for (name, is_anonymous) in [
            ("rolegate_anonymous".to_owned(), true),
            (first, false),
            (second, false),
        ] {
            let token = if is_anonymous {
                None
            } else {
                Some(gateway.token(&name).await)
            };
            let (connection, io) = db
                .config(&name)
                .connect(tokio_postgres::NoTls)
                .await
                .expect("logged in");
            tokio::spawn(io);
            connection
                .batch_execute("set search_path = api, pg_temp")
                .await
                .expect("set");
            roles.push(Role {
                name,
                token,
                connection,
            });
        }
        Self {
            random,
            gateway,
            client: client.build().expect("a client"),
            owner: db.superuser().await,
            roles,
            tables,
            watchers: Vec::new(),
            bodies: HashMap::new(),
            places: Vec::new(),
            counts: Counts::default(),
            said: Vec::new(),
            db_steps: 0,
        }
    }

    async fn step(&mut self) {
        self.db_steps += 1;
        match self.random.below(100) {
            0..=1 => {
                let sql = self.tables.definition(&mut self.random);
                self.counts.definitions += 1;
                self.run(&sql).await;
            }
            2..=34 => {
                let sql = self.tables.write(&mut self.random);
                self.counts.writes += 1;
                self.run(&sql).await;
            }
            35..=38 => self.visit_old_place().await,
            39..=40 => self.watch().await,
            41..=42 => self.compare_watched().await,
            _ => self.ask().await,
        }
    }

    /// Errors are part of it: keys that are there already, columns that are not.
    async fn run(&mut self, sql: &str) {
        let outcome = self.owner.batch_execute(sql).await;
        if outcome.is_err() {
            self.owner
                .batch_execute("rollback")
                .await
                .expect("rolled back");
        }
        self.said.push(format!(
            "{} -- {}",
            sql,
            if outcome.is_ok() { "ok" } else { "failed" }
        ));
    }

    async fn lsn(&self) -> String {
        let row = self
            .owner
            .query_one("select pg_current_wal_insert_lsn()::text", &[])
            .await;
        row.expect("a position").get(0)
    }

    async fn ask(&mut self) {
        let query = statements::query(&mut self.random);
        let who = self.random.below(self.roles.len());
        let exact = self.random.percent(70);
        let now = self.lsn().await;
        let since = exact.then_some(&*now);
        let answer = self.fetch(&query, who, since).await;
        let truth = self.truth(&query, who).await;
        self.said.push(format!(
            "{} asks {} {:?} since {since:?}: {}",
            self.roles[who].name, query.sql, query.params, answer.status
        ));
        match (answer.status, &truth) {
            (200, Ok(rows)) => {
                let got = self.rows(&answer, &query);
                if got == *rows {
                    self.count(&answer);
                } else {
                    // Only an answer that says that it is older may be.
                    let is_behind = !exact && answer.lsn.is_some_and(|lsn| lsn < position(&now));
                    assert!(is_behind, "{}\n got {got:?}\n not {rows:?}", self.story());
                    self.counts.behind += 1;
                    let again = self.fetch(&query, who, Some(&now)).await;
                    assert_eq!(again.status, 200, "{}", self.story());
                    assert_eq!(self.rows(&again, &query), *rows, "{}", self.story());
                }
            }
            // What is not public: nothing is said.
            (401, _) if who == 0 && answer.code == "query_private" => self.counts.refused += 1,
            (403 | 422, Err(_)) if who != 0 => self.counts.refused += 1,
            (200, Err(code)) => {
                // It was answered from what was kept, before it was taken away.
                let is_behind = !exact && answer.lsn.is_some_and(|lsn| lsn < position(&now));
                assert!(
                    is_behind,
                    "{}\n got {} where PostgreSQL says {code}",
                    self.story(),
                    answer.body
                );
                self.counts.behind += 1;
            }
            _ => panic!(
                "{}\n{} {} where PostgreSQL says {truth:?}",
                self.story(),
                answer.status,
                answer.body
            ),
        }
    }

    fn count(&mut self, answer: &Answer) {
        match (&answer.place, answer.lsn) {
            (Some(_), _) => self.counts.kept += 1,
            (None, _) if answer.code == "public" => self.counts.once += 1,
            _ => self.counts.private += 1,
        }
    }

    /// What PostgreSQL gives the role itself.
    async fn truth(&self, query: &Query, who: usize) -> Result<Vec<Value>, String> {
        let sql = format!("select to_json(q)::text from ({}) q", query.with_literals());
        let rows = self.roles[who].connection.query(&sql, &[]).await;
        match rows {
            Ok(rows) => {
                let rows = rows
                    .iter()
                    .map(|row| serde_json::from_str(row.get(0)).expect("JSON"));
                Ok(query.sorted(rows.collect()))
            }
            Err(error) => Err(error
                .code()
                .map_or(error.to_string(), |code| code.code().to_owned())),
        }
    }

    fn rows(&self, answer: &Answer, query: &Query) -> Vec<Value> {
        let rows = serde_json::from_str(&answer.body);
        query.sorted(
            rows.unwrap_or_else(|error| panic!("{}\n{error}: {}", self.story(), answer.body)),
        )
    }

    async fn fetch(&mut self, query: &Query, who: usize, since: Option<&str>) -> Answer {
        // While tables change an answer may ask to come back.
        for _ in 0..20 {
            let answer = self.try_fetch(query, who, since).await;
            if answer.status != 503 {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{}\nnever answered", self.story());
    }

    async fn try_fetch(&mut self, query: &Query, who: usize, since: Option<&str>) -> Answer {
        let how = self.random.below(3);
        let url = format!("http://{}/query", self.gateway.address);
        let params = Value::Array(query.params.clone());
        let request = if how == 0 {
            let mut url = reqwest::Url::parse(&url).expect("a URL");
            url.query_pairs_mut()
                .append_pair("sql", &query.sql)
                .append_pair("params", &params.to_string());
            self.client.get(url)
        } else {
            let body = json!({"sql": query.sql, "params": params}).to_string();
            let post = self
                .client
                .post(url)
                .header("content-type", "application/json")
                .body(body);
            if how == 1 {
                post.header("prefer", "return=representation")
            } else {
                post
            }
        };
        let request = match &self.roles[who].token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let request = match since {
            Some(lsn) => request.header("rolegate-min-lsn", lsn),
            None => request,
        };
        let first = request.send().await.expect("an answer");
        let lsn = header(&first, "rolegate-lsn").map(|lsn| position(&lsn));
        let scope = header(&first, "rolegate-scope").unwrap_or_default();
        if first.status() == StatusCode::SEE_OTHER {
            let place = header(&first, "location").expect("a place");
            let url = format!("http://{}{place}", self.gateway.address);
            let second = self.client.get(url).send().await.expect("an answer");
            if second.status() == StatusCode::GONE {
                return Answer {
                    status: 503,
                    body: String::new(),
                    place: None,
                    lsn: None,
                    code: scope,
                };
            }
            assert_eq!(second.status(), StatusCode::OK, "{}", self.story());
            let body = second.text().await.expect("text");
            self.remember(&place, &body);
            return Answer {
                status: 200,
                body,
                place: Some(place),
                lsn,
                code: scope,
            };
        }
        let status = first.status().as_u16();
        let place = header(&first, "content-location");
        let body = first.text().await.expect("text");
        if let Some(place) = &place {
            self.remember(place, &body);
        }
        let code = match serde_json::from_str::<Value>(&body) {
            Ok(Value::Object(problem)) => problem
                .get("code")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            _ => scope,
        };
        Answer {
            status,
            body,
            place,
            lsn,
            code,
        }
    }

    /// One address never has two bodies.
    fn remember(&mut self, place: &str, body: &str) {
        if let Some(known) = self.bodies.get(place) {
            assert_eq!(known, body, "{}\n{place}", self.story());
        } else {
            self.bodies.insert(place.to_owned(), body.to_owned());
            self.places.push(place.to_owned());
        }
    }

    async fn visit_old_place(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let recent = self.places.len().min(200);
        let place = self.places[self.places.len() - 1 - self.random.below(recent)].clone();
        let url = format!("http://{}{place}", self.gateway.address);
        let answer = self.client.get(url).send().await.expect("an answer");
        match answer.status().as_u16() {
            200 => {
                let body = answer.text().await.expect("text");
                self.remember(&place, &body);
                self.counts.old_places += 1;
            }
            410 => self.counts.gone += 1,
            503 => {}
            status => panic!("{}\n{place}: {status}", self.story()),
        }
    }

    /// The last steps, and definitions before them.
    fn story(&self) -> String {
        let from = self.said.len().saturating_sub(15);
        let earlier = self.said[..from].iter();
        let is_definition = |said: &&String| {
            ["alter ", "create ", "grant ", "revoke ", "drop "]
                .iter()
                .any(|word| said.starts_with(word))
                || said.contains(" watches ")
                || (said.contains("t1") && !said.contains(" asks "))
        };
        let mut told: Vec<&str> = earlier.filter(is_definition).map(String::as_str).collect();
        told.drain(..told.len().saturating_sub(40));
        told.push("...");
        told.extend(self.said[from..].iter().map(String::as_str));
        format!("step {}\n{}", self.db_steps, told.join("\n"))
    }

    /// A walk in which nothing happened proves nothing.
    fn has_seen_enough(&self, steps: u64) {
        let counts = &self.counts;
        for (what, seen, part) in [
            ("kept", counts.kept, 50),
            ("private", counts.private, 50),
            ("once", counts.once, 300),
            ("refused", counts.refused, 100),
            ("old places", counts.old_places, 200),
            ("compared", counts.compared, 100),
        ] {
            assert!(seen >= steps / part, "{what}: {seen} of {steps}");
        }
    }
}

fn header(answer: &Response, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?;
    Some(value.to_str().expect("text").to_owned())
}

fn position(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').expect("a position");
    let half = |text| u64::from_str_radix(text, 16).expect("a position");
    half(high) << 32 | half(low)
}
