//! What is killed, and when.

use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::Client;

use crate::fleet::Fleet;
use crate::place::Place;
use crate::producers::Producers;

/// Between two kills of workers: so many of the jobs, at most so many jobs, and these times.
const PART: u64 = 25;
const JOBS: u64 = 1000;
const LEAST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(4);
/// Between two looks at how far the jobs are.
const LOOK: Duration = Duration::from_millis(200);
/// When so many percent have ended nothing more is killed.
const OVER: u64 = 60;
/// Connections that somebody else wants, and for how long.
const CROWD: usize = 300;
const CROWDED: Duration = Duration::from_secs(3);

/// What happens when so many percent of the jobs have ended.
const EVENTS: [(u64, Event); 5] = [
    (5, Event::StopWorker),
    (12, Event::KillPostgres),
    (25, Event::KillLeader),
    (38, Event::Crowd),
    (50, Event::KillPostgres),
];

#[derive(Debug, Clone, Copy)]
enum Event {
    StopWorker,
    KillPostgres,
    KillLeader,
    Crowd,
}

/// A kill of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) killed: SystemTime,
    pub(crate) up: SystemTime,
}

#[derive(Debug)]
pub(crate) struct Weather {
    pub(crate) jobs: u64,
    pub(crate) began: Instant,
    pub(crate) worker_kills: usize,
    pub(crate) outages: Vec<Outage>,
    /// From the kill of the leader until another one led.
    pub(crate) leaderless: Vec<Duration>,
    pub(crate) let_in: usize,
    pub(crate) turned_away: usize,
    pub(crate) starts: u32,
    pub(crate) lasted: Duration,
}

impl Weather {
    pub(crate) fn new(jobs: u64) -> Self {
        Self {
            jobs,
            began: Instant::now(),
            worker_kills: 0,
            outages: Vec::new(),
            leaderless: Vec::new(),
            let_in: 0,
            turned_away: 0,
            starts: 0,
            lasted: Duration::ZERO,
        }
    }

    /// Until everything has happened, and most jobs have ended.
    pub(crate) async fn rage(
        &mut self,
        place: &mut Place,
        fleet: &mut Fleet,
        producers: &Producers,
    ) {
        self.began = Instant::now();
        let mut events = EVENTS.iter().peekable();
        let mut last_kill = (Instant::now(), 0);
        let mut superuser = place.superuser().await;
        loop {
            tokio::time::sleep(LOOK).await;
            fleet.tend();
            let Some(ended) = ended(&superuser).await else {
                superuser = place.superuser().await;
                continue;
            };
            producers.note_ended(ended);
            let (at, before) = last_kill;
            let part = (self.jobs / PART).min(JOBS);
            if (ended >= before + part && at.elapsed() >= LEAST) || at.elapsed() >= MOST {
                self.kill_worker(fleet).await;
                last_kill = (Instant::now(), ended);
            }
            match events.peek() {
                Some((percent, event)) if ended * 100 >= self.jobs * percent => {
                    self.happen(*event, place, fleet).await;
                    events.next();
                }
                None if ended * 100 >= self.jobs * OVER => break,
                _ => {}
            }
        }
        self.starts = fleet.starts();
        self.lasted = self.began.elapsed();
    }

    async fn happen(&mut self, event: Event, place: &mut Place, fleet: &mut Fleet) {
        println!("{:>5.1} s {event:?}", self.began.elapsed().as_secs_f64());
        match event {
            Event::StopWorker => fleet.stop_slow(),
            Event::KillPostgres => {
                let killed = SystemTime::now();
                place.kill_postgres().await;
                self.outages.push(Outage {
                    killed,
                    up: SystemTime::now(),
                });
            }
            Event::KillLeader => self.kill_leader(place, fleet).await,
            Event::Crowd => self.crowd(place, fleet).await,
        }
    }

    async fn kill_leader(&mut self, place: &Place, fleet: &mut Fleet) {
        let superuser = place.superuser().await;
        // It is named after its process.
        let sql = "select term, substring(name from '\\d+$')::bigint from rolegate.maintenance_leader() \
                   where leads";
        loop {
            let leader = superuser.query_opt(sql, &[]).await.unwrap();
            if let Some(row) = leader {
                let pid = u32::try_from(row.get::<_, i64>(1)).unwrap();
                assert!(fleet.kill_leader(pid).await, "{pid} is none of ours");
                let killed = Instant::now();
                let term: i64 = row.get(0);
                let next = format!("{sql} and term > {term}");
                while superuser.query_opt(&next, &[]).await.unwrap().is_none() {
                    fleet.tend();
                    assert!(killed.elapsed() < Duration::from_secs(20), "nobody leads");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                self.leaderless.push(killed.elapsed());
                return;
            }
            fleet.tend();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody else takes all connections, while a worker starts again.
    async fn crowd(&mut self, place: &Place, fleet: &mut Fleet) {
        let attempts = (0..CROWD).map(|_| place.try_connect(&place.clerk));
        let clients: Vec<Client> = futures_util::future::join_all(attempts)
            .await
            .into_iter()
            .flatten()
            .collect();
        self.let_in = clients.len();
        self.turned_away = CROWD - clients.len();
        assert!(self.turned_away > 0, "there was room for everybody");
        self.kill_worker(fleet).await;
        let began = Instant::now();
        while began.elapsed() < CROWDED {
            fleet.tend();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Each in its turn.
    async fn kill_worker(&mut self, fleet: &mut Fleet) {
        fleet.kill_worker(self.worker_kills).await;
        self.worker_kills += 1;
    }
}

/// Jobs that have ended, in whatever way. `None`: the connection is lost.
pub(crate) async fn ended(superuser: &Client) -> Option<u64> {
    let sql = "select (select coalesce(sum(completed), 0) from public.outcome)::bigint \
               + (select count(*) from rolegate.job_ended)";
    let row = superuser.query_one(sql, &[]).await.ok()?;
    u64::try_from(row.get::<_, i64>(0)).ok()
}
