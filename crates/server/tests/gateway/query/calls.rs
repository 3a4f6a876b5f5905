//! Functions without a parenthesis behind their name, and operators without a symbol.

use rolegate_server::config::Mode;
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::Setting;
use crate::harness::Options;

/// A function of one argument behind a point, or as the type of `treat`: PostgreSQL's own that have an effect or read
/// around the tables' rights.
const REFUSED: &[&str] = &[
    "select ('select to_tsvector(secret) from api.closed'::text).ts_stat",
    "select (('select to_tsvector(''simple'', relname::text) from pg_class'::text).ts_stat).word",
    "select ('select to_tsvector(set_config(''role'', ''postgres'', true))'::text).ts_stat as a",
    "select (array['select to_tsvector(secret) from api.closed'])[1] . /* */ \"ts_stat\"",
    "select u.ts_stat from unnest(array['select to_tsvector(secret) from api.closed']) u",
    "select unnest.ts_stat from unnest(array['select to_tsvector(secret) from api.closed'])",
    "select x.ts_stat from (select ('select 1'::text).length) x",
    "select (100.0).pg_sleep as a",
    "select ('api.s'::regclass).nextval as a",
    "select ('/etc/passwd'::text).pg_read_file as a",
    "select (1::bigint).pg_advisory_lock as a",
    "select treat('select to_tsvector(secret) from api.closed' as ts_stat)",
    "select treat('select to_tsvector(secret) from api.closed' as setof ts_stat)",
    "select TREAT/**/(('api.s') as pg_catalog.\"nextval\") as a",
    "select treat('/etc/passwd' as pg_read_file) as a",
    "select id from open order by treat(100.0 as pg_sleep)",
    "select (x).query_to_xml from (select 1) x",
];

#[tokio::test]
async fn what_has_an_effect_does_not_run_however_it_is_called() {
    for mode in [Mode::Login, Mode::Assume] {
        for_each_version(async |db| {
            let options = Options {
                mode,
                ..Options::default()
            };
            let setting = Setting::lay_with(db, options).await;
            let owner = db.superuser().await;
            owner
                .batch_execute("create sequence api.s; grant all on sequence api.s to public")
                .await
                .expect("made");
            for sql in REFUSED {
                for (who, (status, code, body)) in [
                    ("anonymous", setting.anonymous(sql).await),
                    ("member", setting.member(sql).await),
                ] {
                    // What anonymous callers may not call is private to them.
                    let private = (status, &*code) == (401, "query_private") && who == "anonymous";
                    let refused = (status, &*code) == (422, "query_refused");
                    assert!(private || refused, "{who}: {sql}: {status} {body}");
                }
            }
            let last: bool = owner
                .query_one("select is_called from api.s", &[])
                .await
                .expect("a row")
                .get(0);
            assert!(!last, "no effect");
        })
        .await;
    }
}

/// Tables and columns are called like functions.
#[tokio::test]
async fn usual_names_are_no_calls() {
    for mode in [Mode::Login, Mode::Assume] {
        for_each_version(async |db| {
            let options = Options {
                mode,
                ..Options::default()
            };
            let more = "
                create table api.entry (
                    id int, name text, type text, length int, user_id int, version int, date date, \"user\" text,
                    random int, now text, value int, position int, path text, count int, rank int, total int,
                    system text, timestamp text, closed int
                );
                insert into api.entry (id, total, now, closed) values (1, 2, 'x', 3);
                create table api.total as select 3 as sum;
                create table api.closed_by as select 3 as closed;
                create function api.total(int) returns int language sql immutable as 'select $1';
                create function api.entry(int) returns int language sql immutable as 'select $1';
                grant select on api.entry, api.total, api.closed_by to public;
            ";
            let setting = Setting::lay_more(db, options, more).await;
            for sql in [
                "select e.name, e.type, e.length, e.user_id, e.version, e.date, e.\"user\", e.random, e.now, e.value, \
                 e.position, e.path, e.count, e.rank, e.total, e.system, e.timestamp, e.closed from entry e",
                "select entry.id, total.sum from api.entry, api.total where entry.total in (1, 2)",
                "select x.total, x.closed from (select e.total, e.closed from api.entry as e) x join api.total t on true",
                "select api.entry.total, now from api.entry",
                "select v.closed, v.salaries from (values (1, 2)) v(closed, salaries) natural join closed_by",
                "select (e).now, (e).id from entry e",
                "select u.id, u.name from json_to_record('{}') u(id int, name text)",
                "select case id when 1 then nullif(name, 'x') end as a from entry where id between 1 and 2 and now like '%'",
            ] {
                for (status, _, body) in [setting.anonymous(sql).await, setting.member(sql).await] {
                    assert_eq!(status, 200, "{mode:?} {sql}: {body}");
                }
            }
        })
        .await;
    }
}

/// In assume mode functions of users can be reached in ways that show no call.
#[tokio::test]
async fn in_assume_mode_nothing_of_users_is_reached_by_other_ways() {
    for_each_version(async |db| {
        let options = Options {
            mode: Mode::Assume,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let owner = db.superuser().await;
        let long = "l".repeat(63);
        owner
            .batch_execute(&format!(
                "create function api.become(text) returns text language plpgsql immutable as $$
                 begin perform set_config('role', $1, true); return 'done'; end $$;
                 create function api.{long}(text) returns text language sql immutable as 'select api.become($1)';
                 create domain api.checked as int check (api.become('postgres') <> '');
                 create table api.kept (a api.checked);
                 grant select on api.kept to public;",
            ))
            .await
            .expect("made");
        for sql in [
            "select ('postgres'::text).become as a from closed",
            "select u.become as a from closed, unnest(array['postgres']) u",
            "select u.\"become\" as a from closed, unnest(array['postgres']) with ordinality as u(u)",
            "select (array['postgres'])[1].become as a from closed",
            "select ('(1)'::text).kept as a from closed",
            &format!("select {long}('postgres') as a from closed"),
            &format!("select {long}l('postgres') as a from closed"),
            &format!("select \"{long}l\"('postgres') as a from closed"),
        ] {
            let (status, code, body) = setting.member(sql).await;
            assert_eq!((status, &*code), (422, "query_refused"), "{sql}: {body}");
        }
        // Operators without a symbol, and one that is written in two ways.
        let implied = [
            ("=", "select 'a'::text in (1) as a from closed"),
            ("=", "select case 'a'::text when 1 then 2 end as a from closed"),
            ("=", "select nullif('a'::text, 1) as a from closed"),
            ("=", "select 'a'::text is distinct from 1 as a from closed"),
            ("=", "select x.b from (values ('a'::text, 1)) x(a, b) join (values (1)) y(a) using (a), closed"),
            ("=", "select x.b from (values ('a'::text, 1)) x(a, b) natural join (values (1)) y(a), closed"),
            ("<>", "select 'a'::text not in (1) as a from closed"),
            ("<>", "select 'a'::text != 1 as a from closed"),
            (">=", "select 'a'::text between 1 and 2 as a from closed"),
            ("<", "select 'a'::text not between symmetric 1 and 2 as a from closed"),
            ("~~", "select 'a'::text like 1 as a from closed"),
            ("!~~*", "select 'a'::text not ilike 1 as a from closed"),
            ("~", "select 1 similar to 'a'::text as a from closed"),
        ];
        owner
            .batch_execute(
                "create function api.op(text, int) returns boolean language plpgsql as $$
                 begin perform set_config('role', 'postgres', true); return true; end $$;
                 create function api.op(int, text) returns boolean language sql as 'select api.op($2, $1)';",
            )
            .await
            .expect("made");
        for (operator, sql) in implied {
            let operators = format!(
                "create operator api.{operator} (leftarg = text, rightarg = int, function = api.op);
                 create operator api.{operator} (leftarg = int, rightarg = text, function = api.op);"
            );
            owner.batch_execute(&operators).await.expect("made");
            let (status, code, body) = setting.member(sql).await;
            assert_eq!((status, &*code), (422, "query_refused"), "{sql}: {body}");
            assert!(body.contains("assume mode"), "{sql}: {body}");
            let gone = format!("drop operator api.{operator} (text, int), api.{operator} (int, text)");
            owner.batch_execute(&gone).await.expect("dropped");
        }
        // A function of PostgreSQL under the name of an operator.
        owner
            .batch_execute("create operator api.@@@@ (leftarg = tsquery, rightarg = text, function = ts_rewrite)")
            .await
            .expect("made");
        let (status, _, body) = setting
            .member("select 'a'::tsquery @@@@ 'select set_config(''role'', ''postgres'', true)::tsquery, ''a''::tsquery' as a")
            .await;
        assert_eq!(status, 422, "{body}");
        assert_eq!(setting.rows(&json!({"sql": "select 'a' in ('a') as a from closed"})).await, json!([{"a": true}]));
    })
    .await;
}
