//! Cron entries of a database: jobs by the clock that the file declares.

use std::collections::BTreeMap;

use anyhow::Context as _;
use rolegate_jobs::cron::CronEntry;
use rolegate_model::{Clock as _, SystemClock};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tree::Config;

/// What is said to whoever wrote an expression that can't be read.
const EXPRESSION_HINT: &str = "write MINUTE HOUR DAY MONTH WEEKDAY, with seconds in front if there are six, \
     or @daily and the like; see the guide's page on cron";

/// Jobs by the clock, under the entry's name. The leader of the maintenance applies all of them when it
/// begins to lead, and removes those that it applied before and that are not here any more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cron {
    /// When: `MINUTE HOUR DAY MONTH WEEKDAY`, seconds in front if there are six, or `@daily` and the like.
    expression: String,
    /// What kind of job; the name of a SQL function runs that function.
    kind: String,
    /// Role its jobs run as; an operator allows it once (`rolegate cron allow ROLE`).
    run_as: String,
    /// Time zone of the expression, by its IANA name.
    #[serde(default = "utc")]
    time_zone: String,
    /// Arguments of its jobs.
    #[serde(default)]
    args: BTreeMap<String, Value>,
    /// Queue of its jobs.
    #[serde(default = "default_queue")]
    queue: String,
    /// Priority of its jobs: 1 (first) to 4.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 1, max = 4), extend("x-unit" = "-"))]
    priority: u8,
    /// Attempts a job of it has; 1 to 1000.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "attempts"))]
    max_attempts: u16,
    /// Fire all times that passed while no maintenance ran, at most the last 1,000; otherwise the last one.
    #[serde(default)]
    catch_up: bool,
    /// Make no job while the one before has not ended.
    #[serde(default)]
    only_one: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn default_queue() -> String {
    "default".to_owned()
}

fn default_priority() -> u8 {
    2
}

fn default_attempts() -> u16 {
    25
}

/// The entries of each database.
pub(crate) fn crons(config: &Config) -> anyhow::Result<BTreeMap<String, Vec<CronEntry>>> {
    let of_database = |(database, section): (&String, &super::tree::Database)| {
        let entries = section.cron.iter().map(|(name, cron)| {
            cron.entry(name)
                .with_context(|| format!("databases.{database}.cron.{name}"))
        });
        Ok((database.clone(), entries.collect::<anyhow::Result<_>>()?))
    };
    config.databases.iter().map(of_database).collect()
}

impl Cron {
    fn entry(&self, name: &str) -> anyhow::Result<CronEntry> {
        for (key, text) in [
            ("its name", name),
            ("expression", &self.expression),
            ("kind", &self.kind),
            ("run_as", &self.run_as),
            ("queue", &self.queue),
        ] {
            let length = text.chars().count();
            anyhow::ensure!(
                (1..=200).contains(&length),
                "{key} has {length} characters; it must have 1 to 200"
            );
        }
        for (key, value, most) in [
            ("priority", u16::from(self.priority), 4),
            ("max_attempts", self.max_attempts, 1000),
        ] {
            anyhow::ensure!(
                (1..=most).contains(&value),
                "{key} is {value}; it must be between 1 and {most}"
            );
        }
        let args = self.args.clone().into_iter().collect();
        let mut entry = CronEntry::new(name, &self.expression, &self.kind, &self.run_as)
            .time_zone(&self.time_zone)
            .args(Value::Object(args))
            .queue(&self.queue)
            .priority(self.priority)
            .max_attempts(self.max_attempts);
        if self.catch_up {
            entry = entry.catch_up();
        }
        if self.only_one {
            entry = entry.only_one();
        }
        entry.check(SystemClock.now()).map_err(|problem| {
            use rolegate_jobs::cron::ScheduleError::TimeZone;
            let key = match problem {
                TimeZone(_) => return anyhow::anyhow!("time_zone: {problem}"),
                _ => "expression",
            };
            anyhow::anyhow!("{key}: {problem}; {EXPRESSION_HINT}")
        })?;
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use figment::providers::Format as _;

    use super::*;

    fn read(entry: &str) -> anyhow::Result<Vec<CronEntry>> {
        let text = format!("databases.app.url = \"postgresql:///app\"\n{entry}");
        let config = figment::Figment::from(figment::providers::Toml::string(&text)).extract()?;
        Ok(crons(&config)?.remove("app").unwrap_or_default())
    }

    #[test]
    fn everything_that_is_said_is_in_the_entry() {
        let short = "[databases.app.cron.nightly]\nexpression = \"@daily\"\nkind = \"api.clean\"\n\
                     run_as = \"janitor\"\n";
        assert_eq!(
            read(short).expect("valid"),
            [CronEntry::new("nightly", "@daily", "api.clean", "janitor")]
        );
        let long = format!(
            "{short}time_zone = \"Europe/Berlin\"\nargs = {{ days = 7, what = [\"a\"] }}\n\
             queue = \"slow\"\npriority = 4\nmax_attempts = 3\ncatch_up = true\nonly_one = true"
        );
        let expected = CronEntry::new("nightly", "@daily", "api.clean", "janitor")
            .time_zone("Europe/Berlin")
            .args(serde_json::json!({"days": 7, "what": ["a"]}))
            .queue("slow")
            .priority(4)
            .max_attempts(3)
            .catch_up()
            .only_one();
        assert_eq!(read(&long).expect("valid"), [expected]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_path_and_what_to_do() {
        let entry = |rest: &str| {
            let error = read(&format!("[databases.app.cron.c]\nrun_as = \"r\"\n{rest}"));
            format!("{:#}", error.expect_err(rest))
        };
        for (rest, expected) in [
            (
                "kind = \"k\"\nexpression = \"every day\"",
                ["databases.app.cron.c: expression: ", "MINUTE HOUR DAY"],
            ),
            (
                "kind = \"k\"\nexpression = \"0 0 30 2 *\"",
                ["databases.app.cron.c: expression: ", "no time that ever"],
            ),
            (
                "kind = \"k\"\nexpression = \"@daily\"\ntime_zone = \"Berlin\"",
                ["databases.app.cron.c: time_zone: ", "Europe/Berlin"],
            ),
            (
                "kind = \"k\"\nexpression = \"@daily\"\npriority = 5",
                ["databases.app.cron.c: priority is 5", "between 1 and 4"],
            ),
            (
                "kind = \"\"\nexpression = \"@daily\"",
                ["databases.app.cron.c: kind has 0", "1 to 200"],
            ),
            ("kind = \"k\"", ["databases.app.cron.c", "expression"]),
        ] {
            let error = entry(rest);
            for part in expected {
                assert!(error.contains(part), "{rest}: {error}");
            }
        }
    }
}
