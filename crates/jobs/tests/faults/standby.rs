//! The server is killed while a worker, a leader and a producer are at it, and its standby is promoted. Each
//! commit is on both before it is told, so nothing that was told may be lost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::Version;
use rolegate_testkit::own_server::OwnServer;
use rolegate_testkit::standby::Standby;

use super::stage::{Stage, eventually, pause};

/// Jobs that are told to be enqueued before the server is killed, and after.
const BEFORE: usize = 150;
const AFTER: usize = 50;

/// Ids of jobs that were told to be enqueued.
type Told = Arc<Mutex<Vec<i64>>>;

/// One statement a job; what is told is noted. Every third waits for its time first.
async fn produce(by: Arc<Standby>, role: String, database: String, noted: Told) {
    let mut n = 0_i64;
    loop {
        let Ok(client) = by.connect(&role, &database).await else {
            pause(20).await;
            continue;
        };
        let sql = "select rolegate.enqueue('runs', to_jsonb($1::int8), run_at => case \
                   when $1 % 3 = 0 then now() + interval '300 ms' end)";
        loop {
            n += 1;
            // What was not told may be there or not.
            let Ok(row) = client.query_one(sql, &[&n]).await else {
                break;
            };
            let mut told = noted.lock().unwrap();
            told.push(row.get(0));
            if told.len() >= BEFORE + AFTER {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_standby_that_is_promoted_has_every_job_and_ends_none_twice() {
    for version in Version::ALL {
        let mut server = OwnServer::new(version).await;
        let standby = {
            let directory = server.directory().to_owned();
            Standby::of(&mut server, &directory).await
        };
        let endpoint = standby.endpoint(&server);
        let database = server.db.name().to_owned();
        let producer = server.db.create_role("teller").await;
        let stage = Stage::new(&server.db).await;
        stage
            .run(&format!("grant rolegate_producer to {producer}"))
            .await;

        let leader = stage.lead_with(|config| config.connect.endpoint = endpoint.clone());
        let led = "select leads from rolegate.maintenance_leader()";
        eventually(&stage.superuser, led).await;
        let term = stage
            .number("select term from rolegate.maintenance_leader()")
            .await;
        let ran: Arc<Mutex<BTreeSet<i64>>> = Arc::default();
        let runs = Arc::clone(&ran);
        let handlers = Handlers::default().function("runs", move |n: i64, _| {
            runs.lock().unwrap().insert(n);
            async {
                pause(20).await;
                Outcome::Completed(None)
            }
        });
        let config = WorkerConfig {
            concurrency: 4,
            direct: Some(endpoint.clone()),
            pulse: Duration::from_millis(200),
            ..WorkerConfig::default()
        };
        let sql = EngineSql::new("rolegate");
        let login = Login::peer("rolegate_worker");
        let worker = Worker::start(&endpoint, &login, &sql, handlers, config)
            .await
            .unwrap();

        let (told, stand) = (Told::default(), Arc::new(standby));
        let producing = tokio::spawn(produce(
            Arc::clone(&stand),
            producer,
            database,
            Arc::clone(&told),
        ));
        while told.lock().unwrap().len() < BEFORE {
            pause(5).await;
        }
        server.provisioned.cluster.kill().await.unwrap();
        drop(stage);
        stand.promote().await;
        tokio::time::timeout(Duration::from_mins(1), producing)
            .await
            .expect("it goes on")
            .unwrap();

        let superuser = stand.connect("postgres", server.db.name()).await.unwrap();
        let told = told.lock().unwrap().clone();
        let list: Vec<String> = told.iter().map(i64::to_string).collect();
        let completed = format!(
            "select count(*) = {} from unnest(array[{}]::int8[]) i, rolegate.job(i) j \
             where j.state = 'completed'",
            told.len(),
            list.join(",")
        );
        eventually(&superuser, &completed).await;
        eventually(
            &superuser,
            &format!("select leads and term > {term} from rolegate.maintenance_leader()"),
        )
        .await;
        let twice = "select count(*) from (\
                select coalesce(j.root, j.id) from rolegate.job_outcome o \
                join rolegate.job_claim k on k.id = o.claim, \
                unnest(o.ordinals, o.states) x (ordinal, state), rolegate.job j \
                where j.lane = k.lane and j.id = k.jobs[x.ordinal] and coalesce(x.state, 'c') = 'c' \
                group by 1 having count(*) > 1) t";
        let row = superuser.query_one(twice, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0, "completed twice");
        assert!(ran.lock().unwrap().len() >= told.len());
        assert!(worker.stop().await);
        assert!(leader.stop().await);
        drop(superuser);
        // The old server comes back to be removed, and waits for nobody.
        drop(stand);
        server.provisioned.cluster.restart().await.unwrap();
        server.set("synchronous_standby_names", "").await;
        server.stop().await;
    }
}
