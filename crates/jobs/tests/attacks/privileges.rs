//! Nobody touches more than the functions that are his.

use rolegate_testkit::for_each_version;

use super::stage::Stage;

/// Relations of the schema on which a role has any right, whoever gave it.
const TOUCHABLE: &str = "select coalesce(string_agg(c.relname, ' ' order by c.relname), '') \
    from pg_class c where c.relnamespace = 'rolegate'::regnamespace and case \
        when c.relkind in ('r', 'p', 'v', 'm', 'f') then \
            has_table_privilege(current_user, c.oid, 'select, insert, update, delete, truncate, references, trigger') \
            or has_any_column_privilege(current_user, c.oid, 'select, insert, update, references') \
        when c.relkind = 'S' then has_sequence_privilege(current_user, c.oid, 'usage, select, update') \
        else false end";

#[tokio::test]
async fn nobody_touches_a_table_or_a_sequence() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let operator = db.create_role("operator").await;
        let viewer = db.create_role("viewer").await;
        stage
            .run(&format!(
                "grant rolegate_operator to {operator}; grant rolegate_viewer to {viewer}"
            ))
            .await;
        let id = stage.enqueue("x", 1).await[0];
        let mut people = vec![db.connect_as(&operator).await, db.connect_as(&viewer).await];
        for login in ["worker", "maintenance", "receiver", "gateway"] {
            people.push(db.connect_as(&format!("rolegate_{login}")).await);
        }
        for client in people.iter().chain([&stage.producer]) {
            let touchable: String = client.query_one(TOUCHABLE, &[]).await.unwrap().get(0);
            let producer = "select pg_has_role('rolegate_producer', 'usage')";
            let producer: bool = client.query_one(producer, &[]).await.unwrap().get(0);
            // What there: `staging/forging.rs`.
            assert_eq!(touchable, if producer { "job_staging" } else { "" });
            for sql in [
                "select args from rolegate.job",
                "select from rolegate.job_0",
                "insert into rolegate.job (lane, segment, kind, principal, args) values (5, 0, 'x', 1, '1')",
                "delete from rolegate.job_claim",
                "truncate rolegate.job_outcome",
                "select nextval('rolegate.job_id')",
                "select last_value from rolegate.job_claim_id",
                "do $$ begin lock table rolegate.job in share mode; end $$",
                "create table rolegate.mine ()",
                "create trigger t after insert on rolegate.job execute function suppress_redundant_updates_trigger()",
            ] {
                let refused = client.batch_execute(sql).await.unwrap_err();
                let code = refused.code().unwrap().code().to_owned();
                assert_eq!(code, "42501", "{sql}: {refused:?}");
            }
        }
        assert_eq!(stage.number("select max(id) from rolegate.job").await, id);
    })
    .await;
}

/// What decides is who the request is, wherever in the application the call stands.
#[tokio::test]
async fn a_job_belongs_to_the_caller_also_inside_definer_functions() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let owner = db.create_role("owner").await;
        let clerk = db.create_role("clerk").await;
        let team = db.create_role("team").await;
        stage
            .run(&format!(
                "create schema app; grant usage on schema app to public; \
                 grant rolegate_producer to {owner}; grant {team} to {clerk}; \
                 create function app.later() returns bigint language sql security definer \
                    set search_path = pg_catalog, pg_temp as $$ select rolegate.enqueue('x') $$; \
                 create function app.deeper() returns bigint language sql security definer \
                    set search_path = pg_catalog, pg_temp as $$ select app.later() $$; \
                 alter function app.later() owner to {owner}"
            ))
            .await;
        let person = db.connect_as(&clerk).await;
        let refused = person.batch_execute("select rolegate.enqueue('x')").await;
        assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501");
        let mut wanted = Vec::new();
        for (before, call, who) in [
            ("reset role", "app.later()", &clerk),
            ("reset role", "app.deeper()", &clerk),
            (&*format!("set role {team}"), "app.later()", &team),
            ("set role none", "app.deeper()", &clerk),
        ] {
            person.batch_execute(before).await.unwrap();
            let sql = format!("select {call}");
            let id: i64 = person.query_one(&sql, &[]).await.unwrap().get(0);
            wanted.push((id, who.clone()));
        }
        let sql = "select j.id, p.role_name::text from rolegate.job j \
                   join rolegate.job_principal p on p.id = j.principal order by j.id";
        let rows = stage.superuser.query(sql, &[]).await.unwrap();
        let found: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(found, wanted);

        // Claims that nobody signed, and none of the job.
        person.batch_execute("reset role").await.unwrap();
        for forged in ["x", "v1|1|2|3|4|5|6|7", "|||||||||", "null"] {
            let set = format!("set rolegate.signed_claims = '{forged}'");
            person.batch_execute(&set).await.unwrap();
            let refused = person
                .batch_execute("select app.later()")
                .await
                .unwrap_err();
            assert_eq!(refused.code().unwrap().code(), "28000", "{forged}");
        }
        assert_eq!(stage.number("select count(*) from rolegate.job").await, 4);
    })
    .await;
}
