//! What is left and what was written down, counted after the storm.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::fleet::Fleet;
use crate::place::Place;
use crate::producers::Producers;
use crate::weather::{Weather, ended};

/// Executions so shortly before the server was killed that their claim, or their end, may not have
/// reached the disk.
const BEFORE_A_CRASH: &str = "3 seconds";

const ENDING: &str = include_str!("ending.sql");

/// Nothing of this may be left. A worker says that it has nothing open with its next sign of life.
const LEFT_OVER: &str = "select concat_ws(', ', \
    nullif((select count(*) from rolegate.job), 0) || ' in the ring', \
    nullif((select count(*) from rolegate.job_outcome), 0) || ' outcomes', \
    nullif((select count(*) from rolegate.job_deferred), 0) || ' deferred', \
    nullif((select count(*) from rolegate.job_tombstone), 0) || ' tombstones', \
    nullif((select count(*) from rolegate.job_unique), 0) || ' unique keys', \
    nullif((select count(*) from rolegate.job_parked), 0) || ' parked', \
    nullif((select count(*) from rolegate.job_worker where open_from is not null), 0) || ' open workers')";

#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) sent: HashSet<u64>,
    /// From the end of the storm until every job had ended, and until nothing was left.
    pub(crate) all_ended: Duration,
    pub(crate) all_empty: Duration,
    pub(crate) completed: i64,
    pub(crate) failed: i64,
    pub(crate) executions: i64,
    /// Executions beyond the first of each job, by what explains them.
    pub(crate) after_loss: i64,
    pub(crate) around_crash: i64,
    pub(crate) unexplained: i64,
    /// Attempts that ended as lost, tried again, or given back.
    pub(crate) lost: i64,
    pub(crate) retried: i64,
    pub(crate) released: i64,
    /// The longest time from a claim until it was taken from a worker that had died.
    pub(crate) longest_hold: f64,
    /// Of each outage: seconds from the kill until the first job completed after it.
    pub(crate) back_after: Vec<f64>,
    wrong: Vec<String>,
}

impl Audit {
    pub(crate) async fn wait_for_calm(
        place: &Place,
        fleet: &mut Fleet,
        producers: &Producers,
        weather: &Weather,
        patience: Duration,
    ) -> Self {
        let superuser = place.superuser().await;
        let since = Instant::now();
        let mut all_ended = None;
        let all_empty = loop {
            fleet.tend();
            let done = ended(&superuser).await.unwrap();
            producers.note_ended(done);
            if done >= weather.jobs && all_ended.is_none() {
                all_ended = Some(since.elapsed());
            }
            let left: String = one(&superuser, LEFT_OVER).await;
            if left.is_empty()
                && fleet.is_complete()
                && let Some(all_ended) = all_ended
            {
                break (all_ended, since.elapsed());
            }
            assert!(
                since.elapsed() < patience,
                "{done} of {} jobs have ended after {patience:?}; left over: {left}; workers: {}",
                weather.jobs,
                one::<String>(
                    &superuser,
                    "select coalesce(jsonb_agg(w), '[]')::text from rolegate.job_worker w"
                )
                .await
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        Self::count(&superuser, weather, all_empty).await
    }

    async fn count(
        superuser: &Client,
        weather: &Weather,
        (all_ended, all_empty): (Duration, Duration),
    ) -> Self {
        superuser.batch_execute(ENDING).await.unwrap();
        let sent: Vec<i64> = one(superuser, "select array_agg(n) from public.sent").await;
        let number = async |sql: &str| one::<i64>(superuser, sql).await;
        let of_state = async |state: &str| {
            number(&format!(
                "select count(*) from public.ending where state = '{state}'"
            ))
            .await
        };
        let crashes: Vec<String> = weather
            .outages
            .iter()
            .map(|outage| {
                let at = outage.killed.duration_since(std::time::UNIX_EPOCH).unwrap();
                format!("to_timestamp({})", at.as_secs_f64())
            })
            .collect();
        let again = format!(
            "select n, count(*) - 1 as more, \
                exists (select from public.ending e where e.n = r.n and e.state in ('l', 'b')) as lost, \
                exists (select from unnest(array[{}]::timestamptz[]) k (at) \
                    where k.at between min(r.at) and max(r.at) and exists ( \
                        select from public.run x where x.n = r.n \
                            and x.at between k.at - interval '{BEFORE_A_CRASH}' and k.at)) as crash \
             from public.run r group by n having count(*) > 1",
            crashes.join(", ")
        );
        let more = async |filter: &str| {
            number(&format!(
                "select coalesce(sum(more), 0)::bigint from ({again}) a where {filter}"
            ))
            .await
        };
        let mut back_after = Vec::new();
        for outage in &weather.outages {
            let sql = "select extract(epoch from min(at) - $1)::float8 from public.ending \
                       where state = 'c' and at > $2";
            let row = superuser
                .query_one(sql, &[&outage.killed, &outage.up])
                .await
                .unwrap();
            back_after.push(row.get(0));
        }
        Self {
            sent: sent
                .into_iter()
                .map(|n| u64::try_from(n).unwrap())
                .collect(),
            all_ended,
            all_empty,
            completed: of_state("c").await,
            failed: number("select count(*) from rolegate.job_ended where state = 'failed'").await,
            executions: number("select count(*) from public.run").await,
            after_loss: more("lost").await,
            around_crash: more("crash and not lost").await,
            unexplained: more("not crash and not lost").await,
            lost: of_state("l").await,
            retried: of_state("r").await,
            released: of_state("b").await,
            longest_hold: one(
                superuser,
                "select coalesce(max(extract(epoch from at - claimed_at)), 0)::float8 \
                 from public.ending where state = 'l'",
            )
            .await,
            back_after,
            wrong: wrong(superuser).await,
        }
    }

    /// Everything that was promised.
    pub(crate) fn check(&self, weather: &Weather) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        let ended = u64::try_from(self.completed + self.failed).unwrap();
        assert_eq!(ended, weather.jobs);
        assert_eq!(
            self.unexplained, 0,
            "jobs ran again for no reason: {self:#?}"
        );
        assert!(weather.worker_kills > 3, "there was no storm: {weather:?}");
        assert_eq!(weather.outages.len(), 2);
        assert!(self.lost > 0, "no kill hit anything");
    }
}

/// What must not be, with an example of each.
async fn wrong(superuser: &Client) -> Vec<String> {
    let rules = [
        (
            "not exactly one end that is the last",
            "select s.n from public.sent s \
             where (select count(*) from public.ending e where e.n = s.n and e.state = 'c') \
                + (select count(*) from rolegate.job_ended j where (j.args ->> 'n')::bigint = s.n) <> 1",
        ),
        (
            "completed without having run",
            "select s.n from public.sent s where s.n % 50 <> 8 \
                and not exists (select from public.run r where r.n = s.n)",
        ),
        (
            "failed for good, or not, against its nature",
            "select (j.args ->> 'n')::bigint from rolegate.job_ended j \
             where (j.args ->> 'n')::bigint % 50 <> 8 \
             union all select n from public.ending where state = 'c' and n % 50 = 8",
        ),
        (
            "an attempt that ended twice",
            "select min(n) from public.ending group by claim, ordinal, claimed_at having count(*) > 1",
        ),
        (
            "an end of something that was not handed out",
            "select e.claim from public.ending e where e.n is null",
        ),
        (
            "handed out twice at the same place",
            "select min(c.claim) from public.claimed c, unnest(c.jobs) j (id) \
             group by j.id having count(*) > 1",
        ),
        (
            "something that nobody sent",
            "select n from public.ending where n not in (select n from public.sent) \
             union all select n from public.placed where n not in (select n from public.sent) \
             union all select n from public.run where n not in (select n from public.sent)",
        ),
        (
            "an end after the last one",
            "select e.n from public.ending e \
             join public.ending c on c.n = e.n and c.state = 'c' and e.at > c.at",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, sql) in rules {
        let sql = format!(
            "select coalesce(array_agg(n), '{{}}') from (select * from ({sql}) w (n) limit 5) w"
        );
        let examples: Vec<i64> = one(superuser, &sql).await;
        if !examples.is_empty() {
            wrong.push(format!("{what}: {examples:?}"));
        }
    }
    wrong
}

async fn one<T>(client: &Client, sql: &str) -> T
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    match client.query_one(sql, &[]).await {
        Ok(row) => row.get(0),
        Err(error) => panic!("{sql}: {error:?}"),
    }
}
