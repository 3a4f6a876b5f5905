//! The steps of a walk.

use rolegate_testkit::TestDatabase;
use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::model::{Attempt, Model, Modelled, Running, State};
use crate::random::Random;

const PRODUCERS: usize = 6;
const WORKERS: usize = 3;
const QUEUES: [&str; 2] = ["default", "other"];

/// Jobs of an open transaction, by savepoint.
type Open = Vec<Vec<(i64, Modelled)>>;

pub(crate) struct Walk {
    random: Random,
    now: usize,
    producers: Vec<Client>,
    open: Vec<Option<Open>>,
    /// As the worker's and maintenance's own logins.
    worker: Client,
    maintenance: Client,
    operator: Client,
    superuser: Client,
    workers: Vec<(i64, Vec<i32>)>,
    model: Model,
}

impl Walk {
    pub(crate) async fn begin(
        db: &TestDatabase,
        producer: &str,
        operator: &str,
        random: Random,
    ) -> Self {
        let superuser = db.superuser().await;
        superuser
            .batch_execute(
                "truncate rolegate.job, rolegate.job_claim, rolegate.job_outcome, rolegate.job_deferred, \
                     rolegate.job_ended, rolegate.job_worker, rolegate.job_declaration, \
                     rolegate.job_turn, rolegate.job_tombstone; \
                 insert into rolegate.job_turn (segment) values (0); \
                 update rolegate.job_setting set completed_retention = '0'",
            )
            .await
            .unwrap();
        let mut producers = Vec::new();
        for _ in 0..PRODUCERS {
            producers.push(db.connect_as(producer).await);
        }
        let mut walk = Self {
            random,
            now: 0,
            open: vec![None; PRODUCERS],
            producers,
            worker: db.connect_as("rolegate_worker").await,
            maintenance: db.connect_as("rolegate_maintenance").await,
            operator: db.connect_as(operator).await,
            superuser,
            workers: Vec::new(),
            model: Model::default(),
        };
        for _ in 0..WORKERS {
            let worker = walk.register().await;
            walk.workers.push(worker);
        }
        walk
    }

    async fn register(&self) -> (i64, Vec<i32>) {
        let sql = "select * from rolegate.register_worker('walk', '', $1)";
        let queues: &[&str] = &QUEUES;
        let row = self.worker.query_one(sql, &[&queues]).await.unwrap();
        (row.get(0), row.get(1))
    }

    pub(crate) async fn step(&mut self) {
        self.now += 1;
        match self.random.below(100) {
            0..35 => self.produce().await,
            35..45 => self.end_transaction().await,
            45..65 => self.claim().await,
            65..85 => self.finish().await,
            85..88 => self.lose_a_worker().await,
            88..91 => self.promote().await,
            91..94 => self.pulse().await,
            94..96 => self.cancel().await,
            _ => {
                self.turn_the_ring().await;
            }
        }
    }

    async fn produce(&mut self) {
        let nth = self.random.below(PRODUCERS);
        if self.open[nth].is_none() {
            self.producers[nth].batch_execute("begin").await.unwrap();
            self.open[nth] = Some(vec![Vec::new()]);
            if self.random.percent(30) {
                let early = "select pg_current_xact_id()";
                self.producers[nth].execute(early, &[]).await.unwrap();
            }
        } else if self.random.percent(20) {
            self.savepoint(nth).await;
        }
        for _ in 0..self.random.one_of(&[1, 1, 5, 20]) {
            let job = self.enqueue(nth).await;
            let open = self.open[nth].as_mut().unwrap();
            open.last_mut().unwrap().push(job);
        }
    }

    async fn enqueue(&mut self, nth: usize) -> (i64, Modelled) {
        let max_attempts = self.random.one_of(&[1, 2, 3, 25]);
        let priority = self.random.one_of(&[1, 2, 2, 2, 4]);
        let later = self.random.percent(10);
        let queue = self.random.below(QUEUES.len());
        let sql = "select rolegate.enqueue('walk', max_attempts => $1::int, priority => $2::int, \
             run_at => case when $3 then clock_timestamp() + interval '1 hour' end, queue => $4)";
        let max = i32::from(max_attempts);
        let row = self.producers[nth]
            .query_one(sql, &[&max, &priority, &later, &QUEUES[queue]])
            .await
            .unwrap();
        let job = Modelled {
            state: if later {
                State::Deferred
            } else {
                State::Available
            },
            attempt: 0,
            max_attempts,
            lane: (queue, priority),
            enqueued: self.now,
            committed: 0,
            // It is not compared with those that were not deferred.
            started: later.then_some(0),
        };
        (row.get(0), job)
    }

    async fn savepoint(&mut self, nth: usize) {
        let open = self.open[nth].as_mut().unwrap();
        let depth = open.len();
        if depth > 1 && self.random.percent(50) {
            let undone = format!("rollback to s{0}; release s{0}", depth - 1);
            self.producers[nth].batch_execute(&undone).await.unwrap();
            open.pop();
        } else {
            let sql = format!("savepoint s{depth}");
            self.producers[nth].batch_execute(&sql).await.unwrap();
            open.push(Vec::new());
        }
    }

    async fn end_transaction(&mut self) {
        let nth = self.random.below(PRODUCERS);
        let commit = self.random.percent(85);
        self.end_transaction_of(nth, commit).await;
    }

    async fn end_transaction_of(&mut self, nth: usize, commit: bool) {
        let Some(open) = self.open[nth].take() else {
            return;
        };
        let sql = if commit { "commit" } else { "rollback" };
        self.producers[nth].batch_execute(sql).await.unwrap();
        if commit {
            for (id, mut job) in open.into_iter().flatten() {
                job.committed = self.now;
                self.model.jobs.insert(id, job);
            }
        }
    }

    async fn claim(&mut self) {
        let nth = self.random.below(WORKERS);
        let most = self.random.one_of(&[1, 3, 10, 60]);
        self.claim_for(nth, most).await;
    }

    /// How many it got.
    async fn claim_for(&mut self, nth: usize, most: i32) -> usize {
        let (worker, queues) = &self.workers[nth];
        let sql = "select claim, ordinal, root, claimed_at, attempt, flags \
             from rolegate.claim_jobs($1, $2, $3)";
        let rows = self
            .worker
            .query(sql, &[worker, queues, &most])
            .await
            .unwrap();
        assert!(rows.len() <= usize::try_from(most).unwrap());
        for row in &rows {
            let attempt = Attempt {
                claim: row.get::<_, Option<i64>>(0).expect("nobody else claims"),
                ordinal: row.get(1),
            };
            let running = Running {
                root: row.get(2),
                worker: *worker,
                flags: row.get(5),
                claimed_at: row.get(3),
            };
            self.model.claimed(attempt, running, row.get(4));
        }
        rows.len()
    }

    async fn finish(&mut self) {
        let nth = self.random.below(WORKERS);
        let worker = self.workers[nth].0;
        let mut attempts = self.model.of_worker(worker);
        attempts.truncate(self.random.one_of(&[1, 5, 50]));
        if attempts.is_empty() {
            return;
        }
        let mut states = Vec::new();
        let mut details: Vec<Option<Value>> = Vec::new();
        for _ in &attempts {
            let state = self.random.one_of(b"cccccrrfsxb");
            states.push(state);
            details.push(match state {
                b'r' => Some(json!({"error": "e", "delay": self.random.one_of(&[0, 3600])})),
                b'f' => Some(json!({"error": "e"})),
                b's' => Some(json!({"delay": 0})),
                b'x' => Some(json!({"reason": "no"})),
                _ => None,
            });
        }
        assert!(
            self.refused(worker, &attempts, &states, &details)
                .await
                .is_empty()
        );
        // Once is once, and other workers have no say.
        let all: Vec<i32> = (1..=i32::try_from(attempts.len()).unwrap()).collect();
        let again = self.refused(worker, &attempts, &states, &details).await;
        assert_eq!(again, all);
        for (n, attempt) in attempts.iter().enumerate() {
            let deferred = details[n].as_ref().is_some_and(|d| d["delay"] == 3600);
            self.model.ended(*attempt, states[n], deferred);
        }
    }

    async fn refused(
        &self,
        worker: i64,
        attempts: &[Attempt],
        states: &[u8],
        details: &[Option<Value>],
    ) -> Vec<i32> {
        let of = |attempt: &Attempt| self.model.running[attempt];
        let claims: Vec<i64> = attempts.iter().map(|a| a.claim).collect();
        let ordinals: Vec<i16> = attempts.iter().map(|a| a.ordinal).collect();
        let claimed_at: Vec<_> = attempts.iter().map(|a| of(a).claimed_at).collect();
        let flags: Vec<i16> = attempts.iter().map(|a| of(a).flags).collect();
        let states: Vec<i8> = states.iter().map(|state| state.cast_signed()).collect();
        let sql = "select rolegate.finish_jobs($1, $2, $3, $4, $5, $6, $7)";
        self.worker
            .query_one(
                sql,
                &[
                    &worker,
                    &claims,
                    &ordinals,
                    &claimed_at,
                    &states,
                    &details,
                    &flags,
                ],
            )
            .await
            .unwrap()
            .get(0)
    }

    async fn lose_a_worker(&mut self) {
        let nth = self.random.below(WORKERS);
        self.lose(nth).await;
        self.workers[nth] = self.register().await;
    }

    async fn lose(&mut self, nth: usize) {
        let worker = self.workers[nth].0;
        let sql = "select rolegate.unregister_worker($1)";
        let row = self.worker.query_one(sql, &[&worker]).await.unwrap();
        let lost = self.model.of_worker(worker);
        assert_eq!(usize::try_from(row.get::<_, i32>(0)), Ok(lost.len()));
        for attempt in lost {
            self.model.ended(attempt, b'l', false);
        }
    }

    async fn promote(&mut self) {
        let due = "update rolegate.job_deferred set run_at = now() - interval '1 second' \
             where random() < 0.5 returning root";
        let due = self.superuser.query(due, &[]).await.unwrap();
        let sql = "select promoted from rolegate.promote_jobs(10000)";
        let row = self.maintenance.query_one(sql, &[]).await.unwrap();
        assert_eq!(usize::try_from(row.get::<_, i32>(0)), Ok(due.len()));
        for row in due {
            let job = self.model.jobs.get_mut(&row.get(0)).unwrap();
            assert_eq!(job.state, State::Deferred);
            job.state = State::Available;
        }
    }

    /// Somebody cancels some jobs, in whatever state they are.
    async fn cancel(&mut self) {
        for _ in 0..self.random.one_of(&[1, 5, 30]) {
            if self.model.jobs.is_empty() {
                return;
            }
            let nth = self.random.below(self.model.jobs.len());
            let id = *self.model.jobs.keys().nth(nth).unwrap();
            let sql = "select rolegate.cancel($1, 'enough')";
            let row = self.operator.query_one(sql, &[&id]).await.unwrap();
            assert_eq!(row.get::<_, bool>(0), self.model.cancelled(id), "job {id}");
        }
    }

    /// A worker says which claim is its lowest open one.
    async fn pulse(&mut self) {
        let nth = self.random.below(WORKERS);
        let worker = self.workers[nth].0;
        let first = self.model.of_worker(worker).first().map(|a| a.claim);
        let sql = "select rolegate.worker_alive($1, $2)";
        let row = self
            .worker
            .query_one(sql, &[&worker, &first])
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0));
    }

    /// One pass of maintenance, as if an hour had gone by. Whether a segment was emptied.
    async fn turn_the_ring(&mut self) -> bool {
        let later = "update rolegate.job_turn set started_at = started_at - interval '1 hour'";
        self.superuser.execute(later, &[]).await.unwrap();
        for step in ["rotate_jobs", "close_turns", "carry_cursors"] {
            let sql = format!("select rolegate.{step}()");
            self.maintenance.execute(&sql, &[]).await.unwrap();
        }
        match self
            .maintenance
            .query_one("select rolegate.empty_segment()", &[])
            .await
        {
            Ok(row) => row.get(0),
            // Some producer holds a lock on it.
            Err(error) => {
                assert_eq!(
                    error.code(),
                    Some(&SqlState::LOCK_NOT_AVAILABLE),
                    "{error:?}"
                );
                false
            }
        }
    }

    /// What can be counted in tables is what the model says.
    pub(crate) async fn compare_counts(&self) {
        let sql = "select \
             (select count(*) from rolegate.job_deferred), \
             (select count(*) from rolegate.job_ended where state = 'failed'), \
             (select count(*) from rolegate.job_ended where state = 'cancelled')";
        let row = self.superuser.query_one(sql, &[]).await.unwrap();
        let states = [State::Deferred, State::Failed, State::Cancelled];
        for (n, state) in states.into_iter().enumerate() {
            assert_eq!(row.get::<_, i64>(n), self.model.count(state), "{state:?}");
        }
        // And what operators are shown of each queue.
        let sql = "select q.available, q.running, q.scheduled + q.retryable \
                   from rolegate.queues() q where q.queue = $1";
        for (nth, queue) in QUEUES.iter().enumerate() {
            let row = self.operator.query_one(sql, &[queue]).await.unwrap();
            let states = [State::Available, State::Running, State::Deferred];
            for (n, state) in states.into_iter().enumerate() {
                let counted: i64 = row.get(n);
                assert_eq!(
                    counted,
                    self.model.count_in(nth, state),
                    "{queue} {state:?}"
                );
            }
        }
    }

    /// Everything that is left runs and completes.
    pub(crate) async fn drain(&mut self) {
        for nth in 0..PRODUCERS {
            self.end_transaction_of(nth, true).await;
        }
        while self.model.count(State::Deferred) > 0 {
            self.promote().await;
        }
        for nth in 0..WORKERS {
            self.lose_a_worker_for_good(nth).await;
        }
        while self.claim_for(0, 97).await > 0 {
            let worker = self.workers[0].0;
            let attempts = self.model.of_worker(worker);
            let states = vec![b'c'; attempts.len()];
            let details = vec![None; attempts.len()];
            assert!(
                self.refused(worker, &attempts, &states, &details)
                    .await
                    .is_empty()
            );
            for attempt in attempts {
                self.model.ended(attempt, b'c', false);
            }
        }
        let ended = [State::Completed, State::Failed, State::Cancelled];
        let left = self
            .model
            .jobs
            .iter()
            .filter(|(_, job)| !ended.contains(&job.state));
        assert_eq!(left.count(), 0);
        self.compare_counts().await;
    }

    async fn lose_a_worker_for_good(&mut self, nth: usize) {
        self.lose(nth).await;
        self.workers[nth] = self.register().await;
    }

    /// Nothing is open, so all segments can be emptied.
    pub(crate) async fn empty_the_ring(&mut self) {
        for nth in 0..WORKERS {
            let sql = "select rolegate.worker_alive($1, null)";
            self.worker
                .query_one(sql, &[&self.workers[nth].0])
                .await
                .unwrap();
        }
        let mut idle = 0;
        while idle < 3 {
            idle = if self.turn_the_ring().await {
                0
            } else {
                idle + 1
            };
        }
        let sql = "select (select count(*) from rolegate.job) + \
             (select count(*) from rolegate.job_outcome)";
        let row = self.superuser.query_one(sql, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "rows that nobody can reach");
    }

    /// In a lane, a job that was committed before another was enqueued was started before it.
    pub(crate) fn check_order(&self) {
        let lanes =
            (0..QUEUES.len()).flat_map(|queue| (1..=4).map(move |priority| (queue, priority)));
        for lane in lanes {
            let mut started: Vec<&Modelled> = self
                .model
                .jobs
                .values()
                .filter(|job| job.lane == lane && job.started.is_some_and(|nth| nth > 0))
                .collect();
            started.sort_by_key(|job| job.started);
            let mut earliest_commit = usize::MAX;
            for job in started.into_iter().rev() {
                assert!(
                    earliest_commit >= job.enqueued,
                    "one that started later was committed at {earliest_commit}, before {job:?}"
                );
                earliest_commit = earliest_commit.min(job.committed);
            }
        }
    }
}
