//! What is never run, or never gives what it was made to give.

use rolegate_server::config::Mode;
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::Setting;
use crate::harness::Options;

/// Refused to everybody, as text: none of them gets to a table.
const REFUSED: &[&str] = &[
    "delete from open",
    "insert into open values (9, 'x')",
    "with d as (delete from open returning id) select id from d",
    "with d as (insert into open values (9, 'x') returning id) select id from d",
    "select id from open for update",
    "select id from (select id from open for share) x",
    "select id into other from open",
    "(select id into other from open)",
    "select 1 as a; drop table open",
    "select 1 as a) q; drop table api.open; --",
    "select 1 as a) q, (select 1 as b",
    "select 1 as a) q limit 0; --",
    "select set_config('role', 'postgres', true) as a",
    "select \"set_config\"('role', 'postgres', true) as a",
    "select pg_catalog . set_config('role', 'postgres', true) as a",
    "select a from set_config('role', 'postgres', true) a",
    "select 1 as a where set_config('request.jwt.claims', '{}', true) <> ''",
    "values (set_config('role', 'postgres', true))",
    "select id from open limit length(set_config('role', 'postgres', true))",
    "select count(*) over (rows length(pg_read_file('x')) preceding) as a from open",
    "select pg_read_file('/etc/passwd') as a",
    "select pg_ls_dir('/') as a",
    "select ts_stat('select to_tsvector(secret) from api.closed') as a",
    "select a from ts_stat('select to_tsvector(secret) from api.closed') a",
    "select query_to_xml('select * from api.closed', true, true, '') as a",
    "select table_to_xml('api.closed', true, true, '') as a",
    "select schema_to_xml('api', true, true, '') as a",
    "select pg_sleep(100) as a",
    "select pg_notify('a', 'b') as a",
    "select pg_advisory_lock(1) as a",
    "select pg_try_advisory_lock_shared(1) as a",
    "select pg_logical_emit_message(false, 'a', 'b') as a",
    "select lo_create(0) as a",
    "select pg_terminate_backend(pg_backend_pid()) as a",
    "select nextval('api.s') as a",
    "select dblink('host=/tmp', 'select 1') as a",
    "select relname from pg_class",
    "select relname from pg_catalog.pg_class",
    "select relname from \"pg_class\"",
    "select table_name from information_schema.tables",
    "table pg_roles",
    "select U&'\\0061' as a",
    "select 1 as a, 2 as a",
    "select from open",
    "explain analyze select 1",
    "copy open to stdout",
    "show all",
    "begin",
    "",
];

#[tokio::test]
async fn none_of_these_runs() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
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
                // What anonymous callers can't even look up is private to them.
                let private = (status, &*code) == (401, "query_private") && who == "anonymous";
                let denied = (status, &*code) == (403, "permission_denied");
                let refused = (status, &*code) == (422, "query_refused");
                assert!(
                    private || refused || denied,
                    "{who}: {sql}: {status} {body}"
                );
                assert!(
                    !body.contains("treasure") && !body.contains("root:"),
                    "{body}"
                );
            }
        }
        let rows = setting
            .rows(&json!({"sql": "select count(*) from open"}))
            .await;
        assert_eq!(rows, json!([{"count": 2}]));
        let last: bool = owner
            .query_one("select is_called from api.s", &[])
            .await
            .expect("a row")
            .get(0);
        assert!(!last, "no effect");
    })
    .await;
}

/// Questions whether there is something: for what is there, and for what is not.
const LOOKED_UP: &[[&str; 2]] = &[
    ["select secret from closed", "select secret from nowhere"],
    ["select nothing from closed", "select nothing from nowhere"],
    [
        "select to_regclass('api.closed') as a",
        "select to_regclass('api.nowhere') as a",
    ],
    [
        "select 'api.closed'::regclass as a",
        "select 'api.nowhere'::regclass as a",
    ],
    [
        "select cast('closed' as regclass) as a",
        "select cast('nowhere' as regclass) as a",
    ],
    [
        "select regclass 'closed' as a",
        "select regclass 'nowhere' as a",
    ],
    [
        "select (null::closed).secret as a",
        "select (null::nowhere).secret as a",
    ],
    [
        "select (null::api.\"closed\").secret as a",
        "select (null::closed).nothing as a",
    ],
    [
        "select (cast(null as api.closed)).secret as a",
        "select (cast(null as api.x)).secret as a",
    ],
    [
        "select (closed('(1,x)')).secret as a",
        "select (nowhere('(1,x)')).secret as a",
    ],
    [
        "select (a).secret from json_to_record('{}') as x(a closed)",
        "select (a).secret from json_to_record('{}') as x(a nowhere)",
    ],
    [
        "select (null::setof closed).secret as a",
        "select (null::setof nowhere).secret as a",
    ],
    [
        "select (('(1,x)'::text).closed).secret as a",
        "select (('(1,x)'::text).nowhere).secret as a",
    ],
    [
        "select (u.closed).secret as a from unnest(array['(1,x)']) u",
        "select (u.nowhere).secret as a from unnest(array['(1,x)']) u",
    ],
    [
        "select ('closed'::text).to_regclass::text as a",
        "select ('nowhere'::text).to_regclass::text as a",
    ],
    [
        "select ('closed').regclass::text as a",
        "select ('nowhere').regclass::text as a",
    ],
    [
        "select regtype('closed')::text as a",
        "select regtype('nowhere')::text as a",
    ],
    [
        "select regnamespace('back')::text as a",
        "select regnamespace('nothing')::text as a",
    ],
    [
        "select '{closed}'::_regclass::text as a",
        "select '{nowhere}'::_regclass::text as a",
    ],
    [
        "select (json_populate_record(null::pg_type, '{\"typinput\":\"secret_of\"}')).typinput::text as a",
        "select (json_populate_record(null::pg_type, '{\"typinput\":\"nowhere\"}')).typinput::text as a",
    ],
    [
        "select (closed '(1,x)').secret as a",
        "select (nowhere '(1,x)').secret as a",
    ],
    [
        "select has_table_privilege('closed', 'select') as a",
        "select has_table_privilege('nowhere', 'select') as a",
    ],
    ["select id from back.granted", "select id from back.nothing"],
    [
        "select id from back.granted",
        "select id from nowhere.at_all",
    ],
    [
        "select secret_of(o) from open o",
        "select nothing_of(o) from open o",
    ],
    [
        "select o.secret_of from open o",
        "select o.nothing_of from open o",
    ],
];

/// Whoever has no token does not learn which tables and columns there are.
#[tokio::test]
async fn nobody_learns_what_there_is_without_a_token() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        for [there, not_there] in LOOKED_UP {
            let (there, not_there) = (
                setting.anonymous(there).await,
                setting.anonymous(not_there).await,
            );
            let shown = |body: &str| -> serde_json::Value {
                let mut problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
                problem
                    .as_object_mut()
                    .expect("a problem")
                    .remove("request_id");
                problem
            };
            assert!(there.0 >= 400, "{there:?}");
            assert_eq!(there.0, not_there.0, "{there:?} {not_there:?}");
            assert_eq!(shown(&there.2), shown(&not_there.2));
        }
        // With a token they are questions like others.
        let rows = setting
            .rows(&json!({"sql": "select to_regclass('api.closed')::text as a"}))
            .await;
        assert_eq!(rows, json!([{"a": "closed"}]));
    })
    .await;
}

/// Errors that would carry a value out.
#[tokio::test]
async fn no_message_has_a_value() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        for sql in [
            "select secret::int from closed",
            "select (c.secret)::int, o.id from closed c, open o",
            "select cast(secret as date) from through",
            "select 1 / (id - 1) from open where name::int > 0",
            "select id from open where (select secret from closed)::int = 1",
        ] {
            for (status, _, body) in [setting.anonymous(sql).await, setting.member(sql).await] {
                assert!(status >= 400, "{sql}: {body}");
                assert!(
                    !body.contains("treasure") && !body.contains("one"),
                    "{sql}: {body}"
                );
            }
        }
    })
    .await;
}

/// A function behind a point, and functions that no name shows.
#[tokio::test]
async fn functions_are_found_however_they_are_called() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        for sql in [
            "select (o).secret_of from open o",
            "select o.secret_of from open o",
            "select secret_of(o) from open o",
        ] {
            let (status, _, body) = setting.anonymous(sql).await;
            assert_eq!(status, 401, "{sql}: {body}");
            let (status, _, body) = setting.member(sql).await;
            assert_eq!(status, 403, "{sql}: {body}");
        }
    })
    .await;
}

/// In assume mode only what is known to keep the role runs, and it is judged before anything is planned:
/// planning would execute what is declared immutable.
#[tokio::test]
async fn in_assume_mode_nothing_of_users_runs_unless_declared_safe() {
    for_each_version(async |db| {
        let options = Options {
            mode: Mode::Assume,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let owner = db.superuser().await;
        owner
            .batch_execute(
                "create function api.become(text) returns text language plpgsql immutable as $$
                 begin perform set_config('role', $1, true); return 'done'; end $$;
                 create function api.lower(int) returns text language sql immutable as 'select ''x''';
                 create schema evil; grant usage on schema evil to public;
                 create function evil.op(int, int) returns text language plpgsql immutable as $$
                 begin perform set_config('role', 'postgres', true); return current_user; end $$;
                 create operator evil.=== (leftarg = int, rightarg = int, function = evil.op);
                 create operator api.@@@@ (leftarg = int, rightarg = int, function = evil.op);
                 create function evil.positive(int) returns boolean language plpgsql as $$
                 begin perform set_config('role', 'postgres', true); return true; end $$;
                 create domain evil.checked as int check (evil.positive(value));
                 create type evil.pair as (a int);
                 create function evil.to_text(evil.pair) returns text language plpgsql as $$
                 begin return set_config('role', 'postgres', true); end $$;
                 create cast (evil.pair as text) with function evil.to_text(evil.pair);
                 create domain evil.again as evil.checked;
                 create type evil.holder as (a evil.again);
                 create type evil.range as range (subtype = evil.checked);
                 create table evil.kept (a evil.checked);
                 grant select on evil.kept to public;
                 insert into evil.kept values (null);
                 create type api.mood as enum ('good', 'bad');
                 create view evil.inner as select evil.positive(1) as a;
                 create view evil.outer as select a from evil.inner;
                 create view evil.limited as select 1 as a limit evil.op(1, 2)::int;
                 grant select on evil.inner, evil.outer, evil.limited to public;",
            )
            .await
            .expect("made");
        for sql in [
            "select become('postgres') as a",
            "select api.become('postgres') as a, secret from closed",
            "select plain(1) as a from closed",
            "select lower(secret) as a from closed",
            "select pg_get_userbyid(10) as a from closed",
            "select 1 operator(evil.===) 2 as a from closed",
            "select 1 @@@@ 2 as a from closed",
            "select 1::evil.checked as a from closed",
            "select cast(1 as evil.\"checked\") as a from closed",
            "select row(1)::evil.pair::text as a from closed",
            "select '{1}'::evil._checked as a from closed",
            "select '{1}'::evil.checked[] as a from closed",
            "select array[1]::evil.\"again\"[] as a from closed",
            "select 1::evil.again as a from closed",
            "select row(1)::evil.holder as a from closed",
            "select evil.holder '(1)' as a from closed",
            "select evil.holder('(1)') as a from closed",
            "select '[1,2]'::evil.range as a from closed",
            "select '{[1,2]}'::evil.multirange as a from closed",
            "select row(1)::evil.kept as a from closed",
            "select '{(1)}'::evil.kept[] as a from closed",
            "select a from json_to_record('{\"a\": 1}') as x(a evil.checked), closed",
            "select a from json_to_record('{\"a\": {\"a\": 1}}') as x(a evil.kept), closed",
            "select (json_populate_record(null::evil.kept, '{\"a\": 1}')).a from closed",
            "select (json_populate_record(k, '{\"a\": 1}')).a from evil.kept k, closed",
            "select (jsonb_populate_recordset(k, '[{\"a\": 1}]')).a from evil.kept k, closed",
            "select a from evil.inner, closed",
            "select a from evil.outer, closed",
            "select a from evil.\"limited\", closed",
        ] {
            let (status, code, body) = setting.member(sql).await;
            assert_eq!((status, &*code), (422, "query_refused"), "{sql}: {body}");
            assert!(body.contains("assume mode"), "{sql}: {body}");
        }
        let body = json!({"sql": "select upper(secret) as a, count(*) over () from closed"});
        assert_eq!(setting.rows(&body).await[0]["a"], "HIDDEN TREASURE");
        let body = json!({"sql": "select 'good'::mood as a, '{bad}'::api.mood[] as b, k.a as c from evil.kept k"});
        assert_eq!(setting.rows(&body).await, json!([{"a": "good", "b": ["bad"], "c": null}]));
        owner
            .batch_execute("select rolegate.declare_safe('api.plain(int)')")
            .await
            .expect("declared");
        let body = json!({"sql": "select plain(1) as a from closed"});
        for _ in 0..500 {
            if setting.ask(Some(&setting.token), &body).send().await.expect("an answer").status().is_success() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("never");
    })
    .await;
}

/// Many at once, each with its own rows.
#[tokio::test]
async fn everybody_gets_his_own_answer() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..8 {
            let requests: Vec<_> = (0..40)
                .map(|n| {
                    let id = client * 1000 + n;
                    let sql = format!("select {id} as id, count(*) from open");
                    let with = json!({"sql": sql});
                    let parameter =
                        json!({"sql": "select $1::int as id, count(*) from open", "params": [id]});
                    let token = (n % 2 == 0).then_some(setting.token.as_str());
                    [
                        (id, setting.ask(token, &with)),
                        (id, setting.ask(token, &parameter)),
                    ]
                })
                .collect();
            clients.spawn(async move {
                for (id, request) in requests.into_iter().flatten() {
                    let answer = request.send().await.expect("an answer");
                    let rows: serde_json::Value = answer.json().await.expect("JSON");
                    assert_eq!(rows[0]["id"], id, "{rows}");
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("all of them");
        }
    })
    .await;
}
