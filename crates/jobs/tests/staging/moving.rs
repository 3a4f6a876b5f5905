//! Every staged row becomes one job, or a dead letter that says why.

use std::time::Duration;

use rolegate_testkit::for_each_version;
use tokio_postgres::Client;

use super::stage::{Stage, pause};

const SILENCE: Duration = Duration::from_secs(30);

/// Moved, existing, refused, put off.
async fn move_part(client: &Client, most: i32) -> [i32; 4] {
    let sql = "select moved, existing, refused, put_off from rolegate.move_staged_jobs($1)";
    let row = client.query_one(sql, &[&most]).await.unwrap();
    [0, 1, 2, 3].map(|column| row.get(column))
}

#[tokio::test]
async fn one_row_that_cannot_be_moved_keeps_none_of_ten_thousand_from_it() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        // Nothing that a producer can say gets past the constraints, so they are taken away.
        stage
            .run(
                "alter table rolegate.job_staging drop constraint \"max_attempts is 1 to 1000\", \
                 alter max_attempts type integer",
            )
            .await;
        stage
            .producer
            .batch_execute(
                "insert into rolegate.job_staging (kind, args, max_attempts, tags) \
                 select 'x', to_jsonb(n), case n when 4321 then 100000 else 3 end, '{t}' \
                 from generate_series(1, 10000) n",
            )
            .await
            .unwrap();
        let report = stage.tick(SILENCE).await;
        assert_eq!((report.staged, report.staged_refused), (9999, 1));
        let disorder = "select count(*) from ( \
            select args::int as n, lag(args::int) over (order by id) as before from rolegate.job) x \
            where before >= n";
        assert_eq!(stage.number(disorder).await, 0);
        assert_eq!(stage.number("select count(*) from rolegate.job").await, 9999);
        // Its producer finds it, and so do people.
        let sql = "select d.reason, d.error, (select j.args from rolegate.job(d.id) j) \
                   from rolegate.dead_letters() d";
        let letter = stage.producer.query_one(sql, &[]).await.unwrap();
        assert_eq!(letter.get::<_, &str>(0), "not_enqueued");
        let error: serde_json::Value = letter.get(1);
        assert_eq!(error["message"], "smallint out of range");
        assert_eq!(error["staged"]["max_attempts"], 100_000);
        assert_eq!(error["staged"]["tags"], serde_json::json!(["t"]));
        assert_eq!(error["staged"].get("role_name"), None);
        assert_eq!(letter.get::<_, serde_json::Value>(2), 4321);
        // Retried by an operator it is a job of its producer.
        stage.run("select rolegate.retry(id) from rolegate.dead_letters()").await;
        let owners = "select count(distinct p.role_name) from rolegate.job j \
                      join rolegate.job_principal p on p.id = j.principal";
        assert_eq!(stage.number(owners).await, 1);
    })
    .await;
}

/// What the server can't do may be its own trouble or the row's: that one is tried again, and all others are jobs.
#[tokio::test]
async fn one_row_that_is_too_much_for_the_server_holds_up_none_of_the_others() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run(
                "create function public.too_much() returns trigger language plpgsql as $$ begin \
                    if new.kind = 'much' then raise exception using errcode = tg_argv[0]; end if; \
                    return new; end $$; \
                 create trigger too_much before insert on rolegate.job for each row \
                    execute function public.too_much('XX000')",
            )
            .await;
        let rows = "insert into rolegate.job_staging (kind) \
            select case n when 5 then 'much' else 'x' end from generate_series(1, 9) n";
        stage.producer.batch_execute(rows).await.unwrap();
        let maintenance = db.connect_as("rolegate_maintenance").await;
        assert_eq!(move_part(&maintenance, 100).await, [8, 0, 0, 1]);
        assert_eq!(move_part(&maintenance, 100).await, [0; 4]);
        assert_eq!(
            stage
                .number("select count(*) from rolegate.job_ended")
                .await,
            0
        );
        // Where it is the server's it is not for the rows to wait an hour.
        stage
            .run(
                "drop trigger too_much on rolegate.job; \
                 create trigger too_much before insert on rolegate.job for each row \
                    execute function public.too_much('53100'); \
                 update rolegate.job_staging set put_off_until = null",
            )
            .await;
        let sql = "select rolegate.move_staged_jobs(100)";
        let full = maintenance.query_one(sql, &[]).await.unwrap_err();
        assert_eq!(full.code().unwrap().code(), "53100");
    })
    .await;
}

/// Whoever holds a key, and has put thousands of rows with it in front, holds up his own.
#[tokio::test]
async fn rows_that_are_put_off_again_and_again_leave_room_for_others() {
    for_each_version(async |db| {
        let mut stage = Stage::new(db).await;
        let holding = stage.producer.transaction().await.unwrap();
        let key = "select rolegate.enqueue('u', unique_key => 'k')";
        holding.query(key, &[]).await.unwrap();
        let producer = db.superuser().await;
        let rows = "insert into rolegate.job_staging (kind, unique_key) \
                select 'u', 'k' from generate_series(1, 100); \
            insert into rolegate.job_staging (kind) select 'plain' from generate_series(1, 100)";
        producer.batch_execute(rows).await.unwrap();
        let maintenance = db.connect_as("rolegate_maintenance").await;
        // As if each took so long that those that were put off are due again.
        let due =
            "update rolegate.job_staging set put_off_until = now() where put_off_until is not null";
        for _ in 0..12 {
            move_part(&maintenance, 20).await;
            producer.batch_execute(due).await.unwrap();
        }
        let plain = "select count(*) from rolegate.job where kind = 'plain'";
        assert_eq!(stage_number(&producer, plain).await, 100);
        holding.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn rows_that_are_refused_have_one_principal() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run(
                "alter table rolegate.job_staging drop constraint \"max_attempts is 1 to 1000\", \
                 alter max_attempts type integer",
            )
            .await;
        let rows = "insert into rolegate.job_staging (kind, max_attempts) \
            select 'x', 100000 from generate_series(1, 20)";
        stage.producer.batch_execute(rows).await.unwrap();
        assert_eq!(stage.tick(SILENCE).await.staged_refused, 20);
        let principals = "select count(*) from rolegate.job_principal";
        assert_eq!(stage.number(principals).await, 1);
    })
    .await;
}

#[tokio::test]
async fn of_jobs_with_one_unique_key_there_is_one() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let sql = "select rolegate.enqueue('u', unique_key => 'taken')";
        let holder: i64 = stage.producer.query_one(sql, &[]).await.unwrap().get(0);
        stage
            .producer
            .batch_execute(
                "insert into rolegate.job_staging (kind, unique_key, on_conflict, args) values \
                 ('u', 'taken', 'error', '1'), ('u', 'taken', 'existing', '2'), \
                 ('u', 'free', 'error', '3'), ('u', 'free', 'error', '4'), \
                 ('u', 'free', 'existing', '5'), ('other', 'taken', 'error', '6'), ('u', null, 'error', '7')",
            )
            .await
            .unwrap();
        let maintenance = db.connect_as("rolegate_maintenance").await;
        assert_eq!(move_part(&maintenance, 1000).await, [3, 2, 2, 0]);
        let sql = "select args::text, id from rolegate.job where id <> $1 order by id";
        let rows = stage.superuser.query(sql, &[&holder]).await.unwrap();
        let args: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(args, ["3", "6", "7"]);
        let sql = "select args::text, reason, error #>> '{}', dead_letter from rolegate.job_ended order by root";
        let letters = stage.superuser.query(sql, &[]).await.unwrap();
        for (letter, (args, id)) in letters
            .iter()
            .zip([("1", holder), ("4", rows[0].get::<_, i64>(1))])
        {
            assert_eq!(letter.get::<_, &str>(0), args);
            assert_eq!(letter.get::<_, &str>(1), "unique_key_taken");
            assert_eq!(
                letter.get::<_, String>(2),
                format!("job {id} has this unique key")
            );
            assert!(letter.get::<_, bool>(3));
        }
        assert_eq!(letters.len(), 2);
        // What it did not get it does not give back when it is tried again and ends.
        stage.run("select rolegate.retry(root) from rolegate.job_ended").await;
        stage.run("select rolegate.cancel(id) from rolegate.list_jobs(only_kind => 'u') where id > 1").await;
        let kept = "select count(*) from rolegate.job_unique where not ended";
        assert_eq!(stage.number(kept).await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_producer_who_holds_a_unique_key_holds_up_nobody_else() {
    for_each_version(async |db| {
        let mut stage = Stage::new(db).await;
        let keys = "select rolegate.enqueue('u', unique_key => 'k' || n) from generate_series(1, 50) n";
        let holding = stage.producer.transaction().await.unwrap();
        holding.query(keys, &[]).await.unwrap();
        let producer = db.superuser().await;
        producer
            .batch_execute(
                "insert into rolegate.job_staging (kind, unique_key) \
                 select 'u', 'k' || n from generate_series(1, 60) n; \
                 insert into rolegate.job_staging (kind) select 'plain' from generate_series(1, 1000)",
            )
            .await
            .unwrap();
        let maintenance = db.connect_as("rolegate_maintenance").await;
        // All of the first part wait for somebody; those behind are next.
        assert_eq!(move_part(&maintenance, 40).await, [0, 0, 0, 40]);
        let [moved, existing, refused, _] = move_part(&maintenance, 2000).await;
        assert_eq!((moved >= 1000, existing, refused), (true, 0, 0), "{moved}");
        let plain = "select count(*) from rolegate.job where kind = 'plain'";
        assert_eq!(stage_number(&producer, plain).await, 1000);
        // Whoever looks sees that they wait.
        let waiting = "select put_off from rolegate.staging()";
        assert!(stage_number(&producer, waiting).await >= 50);
        holding.rollback().await.unwrap();
        let mut rounds = 0;
        while stage_number(&producer, "select waiting from rolegate.staging()").await > 0 {
            move_part(&maintenance, 2000).await;
            pause(100).await;
            rounds += 1;
            assert!(rounds < 100);
        }
        let unique = "select count(*) from rolegate.job where kind = 'u'";
        assert_eq!(stage_number(&producer, unique).await, 60);
        assert_eq!(stage.number("select count(*) from rolegate.job_ended").await, 0);
    })
    .await;
}

async fn stage_number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn who_moves_may_die_in_the_middle() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .producer
            .batch_execute(
                "insert into rolegate.job_staging (kind, args) \
                 select 'x', to_jsonb(n) from generate_series(1, 3000) n",
            )
            .await
            .unwrap();
        let dies = db.connect_as("rolegate_maintenance").await;
        let pid: i32 = dies
            .query_one("select pg_backend_pid()", &[])
            .await
            .unwrap()
            .get(0);
        dies.batch_execute("begin").await.unwrap();
        assert_eq!(move_part(&dies, 1000).await, [1000, 0, 0, 0]);
        // Meanwhile another one does not wait, and takes nothing out of its turn.
        let other = db.connect_as("rolegate_maintenance").await;
        assert_eq!(move_part(&other, 1000).await, [0; 4]);
        let end = "select pg_terminate_backend($1)";
        stage.superuser.query(end, &[&pid]).await.unwrap();
        let gone = format!("select not exists (select from pg_stat_activity where pid = {pid})");
        super::stage::eventually(&stage.superuser, &gone).await;
        assert_eq!(stage.tick(SILENCE).await.staged, 3000);
        let once = "select count(distinct args) - count(*) + 3000 from rolegate.job";
        assert_eq!(stage.number(once).await, 3000);
    })
    .await;
}

#[tokio::test]
async fn many_copy_while_many_move() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let mut everybody: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        for producer in 0..4 {
            let role = db.create_role(&format!("p{producer}")).await;
            stage.run(&format!("grant rolegate_producer to {role}")).await;
            let client = db.connect_as(&role).await;
            everybody.push(Box::pin(async move {
                for turn in 0..40 {
                    let end = if turn % 7 == 3 { "rollback" } else { "commit" };
                    let rows = format!(
                        "begin; insert into rolegate.job_staging (kind, args, priority) \
                         select 'p{producer}', to_jsonb({turn} * 100 + n), 1 + n % 4 \
                         from generate_series(1, 50) n"
                    );
                    client.batch_execute(&rows).await.unwrap();
                    pause(turn % 5).await;
                    client.batch_execute(end).await.unwrap();
                }
            }));
        }
        for _ in 0..3 {
            let client = db.connect_as("rolegate_maintenance").await;
            everybody.push(Box::pin(async move {
                for _ in 0..60 {
                    move_part(&client, 77).await;
                    pause(3).await;
                }
            }));
        }
        futures_util::future::join_all(everybody).await;
        stage.tick(SILENCE).await;
        // 34 of the 40 turns were committed.
        let jobs = "select count(*) from rolegate.job";
        assert_eq!(stage.number(jobs).await, 4 * 34 * 50);
        let twice = "select count(*) - count(distinct (kind, args)) from rolegate.job";
        assert_eq!(stage.number(twice).await, 0);
        let disorder = "select count(*) from ( \
            select args::int as n, lag(args::int) over (partition by kind, lane order by id) as before \
            from rolegate.job) x where before >= n";
        assert_eq!(stage.number(disorder).await, 0);
        let theirs = "select count(*) from rolegate.job j join rolegate.job_principal p on p.id = j.principal \
                      where p.role_name not like '%' || j.kind || '%'";
        assert_eq!(stage.number(theirs).await, 0);
    })
    .await;
}
