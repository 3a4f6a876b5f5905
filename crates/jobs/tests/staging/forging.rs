//! Whose a staged job is, a producer can't say, and he sees nothing of what others staged.

use std::time::Duration;

use rolegate_testkit::for_each_version;

use super::stage::Stage;

const SILENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_producer_names_nothing_but_what_is_to_be_done() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let other = db.create_role("other").await;
        stage
            .run(&format!("grant rolegate_producer to {other}"))
            .await;
        db.connect_as(&other)
            .await
            .batch_execute("insert into rolegate.job_staging (kind) values ('theirs')")
            .await
            .unwrap();
        for sql in [
            "insert into rolegate.job_staging (kind, role_name) values ('x', 'postgres')",
            "insert into rolegate.job_staging (kind, role_name) values ('x', default)",
            "insert into rolegate.job_staging (kind, role_oid) values ('x', 10)",
            "insert into rolegate.job_staging (kind, token_id) values ('x', 'y')",
            "insert into rolegate.job_staging (kind, claims) values ('x', '{}')",
            "insert into rolegate.job_staging (kind, staged_at) values ('x', '2000-01-01')",
            "insert into rolegate.job_staging (kind, put_off_until) values ('x', 'infinity')",
            "insert into rolegate.job_staging (id, kind) overriding system value values (1, 'x')",
            "insert into rolegate.job_staging values (default)",
            "insert into rolegate.job_staging (kind) values ('x') returning id",
            "insert into rolegate.job_staging (kind) values ('x') returning kind",
            "insert into rolegate.job_staging (kind) values ('x') on conflict (id) do update set kind = 'y'",
            "copy rolegate.job_staging (kind, role_name) from stdin",
            "copy rolegate.job_staging from stdin",
            "copy rolegate.job_staging (kind) to stdout",
            "select from rolegate.job_staging",
            "select kind from rolegate.job_staging",
            "table rolegate.job_staging",
            "update rolegate.job_staging set kind = 'mine'",
            "delete from rolegate.job_staging",
            "truncate rolegate.job_staging",
            "do $$ begin lock table rolegate.job_staging in access share mode; end $$",
            "do $$ begin lock table rolegate.job_staging in row exclusive mode; end $$",
            "do $$ begin lock table rolegate.job_staging in access exclusive mode; end $$",
            "create trigger t before insert on rolegate.job_staging for each row execute function suppress_redundant_updates_trigger()",
            "alter table rolegate.job_staging disable trigger job_staged",
            "select nextval('rolegate.job_staging_id_seq')",
            "select rolegate.move_staged_jobs(1)",
            "select rolegate.staging()",
        ] {
            let refused = stage.producer.batch_execute(sql).await.unwrap_err();
            let code = refused.code().unwrap().code().to_owned();
            assert_eq!(code, "42501", "{sql}: {refused:?}");
        }
        let seen = "select count(*) from pg_stats where tablename = 'job_staging'";
        stage.run("analyze rolegate.job_staging").await;
        let seen: i64 = stage.producer.query_one(seen, &[]).await.unwrap().get(0);
        assert_eq!(seen, 0);
        // A refusal shows nobody's row but one's own, and of that what one has said.
        let refused = stage
            .producer
            .batch_execute("insert into rolegate.job_staging (kind, priority) values ('x', 9)")
            .await
            .unwrap_err();
        let detail = refused.as_db_error().unwrap().detail().unwrap_or_default();
        assert_eq!(detail, "Failing row contains (kind, priority) = (x, 9).");
        let kinds = "select count(*) from rolegate.job_staging where kind <> 'theirs'";
        assert_eq!(stage.number(kinds).await, 0);
    })
    .await;
}

/// As with `rolegate.enqueue`: see `attacks/privileges.rs`.
#[tokio::test]
async fn it_is_the_callers_also_inside_definer_functions() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let owner = db.create_role("owner").await;
        let clerk = db.create_role("clerk").await;
        let team = db.create_role("team").await;
        let stranger = db.create_role("stranger").await;
        stage
            .run(&format!(
                "create schema app; grant usage on schema app to public; \
                 grant rolegate_producer to {owner}; grant {team} to {clerk}; \
                 create function app.later(n int) returns void language sql security definer \
                    set search_path = pg_catalog, pg_temp \
                    as $$ insert into rolegate.job_staging (kind, args) values ('x', to_jsonb(n)) $$; \
                 alter function app.later(int) owner to {owner}"
            ))
            .await;
        let person = db.connect_as(&clerk).await;
        let direct = "insert into rolegate.job_staging (kind) values ('x')";
        let refused = person.batch_execute(direct).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501");
        let mut wanted = Vec::new();
        for (n, (before, who)) in [
            ("reset role", &clerk),
            (&*format!("set role {team}"), &team),
            ("set role none", &clerk),
            (&*format!("select set_config('role', '{team}', false)"), &team),
        ]
        .into_iter()
        .enumerate()
        {
            person.batch_execute(before).await.unwrap();
            let sql = format!("select app.later({n})");
            person.batch_execute(&sql).await.unwrap();
            wanted.push(who.clone());
        }
        for sql in [
            format!("set role {stranger}"),
            format!("select set_config('role', '{stranger}', true)"),
            format!("set session authorization {stranger}"),
        ] {
            let refused = person.batch_execute(&sql).await.unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "42501", "{sql}");
        }
        // Claims that nobody signed, also when they are set in the middle of a row.
        person.batch_execute("reset role").await.unwrap();
        for forged in ["x", "v1|1|2|3|4|5|6|7", "|||||||||", "null"] {
            let set = format!("set rolegate.signed_claims = '{forged}'");
            person.batch_execute(&set).await.unwrap();
            let refused = person
                .batch_execute("select app.later(9)")
                .await
                .unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "28000", "{forged}");
        }
        // What a row says is read after whose it is.
        let producer = &stage.producer;
        let me: String = producer.query_one("select current_user::text", &[]).await.unwrap().get(0);
        producer
            .batch_execute(
                "insert into rolegate.job_staging (kind, args) \
                 values (set_config('rolegate.signed_claims', 'v1|1|2|3|4|5|token|{}', true), '\"set\"')",
            )
            .await
            .unwrap();
        wanted.push(me);
        assert_eq!(stage.tick(SILENCE).await.staged, 5);
        let sql = "select p.role_name::text, r.oid is not null and p.token_id is null and p.claims is null \
                   from rolegate.job j join rolegate.job_principal p on p.id = j.principal \
                   left join pg_roles r on r.oid = p.role_oid and r.rolname = p.role_name order by j.id";
        let rows = stage.superuser.query(sql, &[]).await.unwrap();
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(found, wanted);
        assert!(rows.iter().all(|row| row.get(1)));
        // The clerk sees his own, and the team's only while he has its rights.
        let count = "select count(*) from rolegate.list_jobs()";
        stage.run(&format!("grant rolegate_producer to {clerk}")).await;
        person.batch_execute("reset all").await.unwrap();
        let seen: i64 = person.query_one(count, &[]).await.unwrap().get(0);
        assert_eq!(seen, 4);
        stage.run(&format!("revoke {team} from {clerk}")).await;
        let seen: i64 = person.query_one(count, &[]).await.unwrap().get(0);
        assert_eq!(seen, 2);
    })
    .await;
}
