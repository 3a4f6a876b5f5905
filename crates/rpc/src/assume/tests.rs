use super::*;
use crate::fixture::{self, With, function};

fn nothing(_: Option<&str>, _: &str) -> Callee {
    Callee::Unknown
}

fn plpgsql(body: &str) -> Result<(), Reason> {
    check_body("plpgsql", body, &nothing)
}

fn sql(body: &str) -> Result<(), Reason> {
    check_body("sql", body, &nothing)
}

#[test]
fn ordinary_bodies_pass() {
    for body in [
        "begin return a + b; end",
        "declare v numeric(12, 2) := coalesce($1, 0); r record; begin\n\
         for r in select * from app.orders o where o.id in (1, 2) loop v := v + r.total; end loop;\n\
         for i in 1..array_length(x, 1) loop null; end loop;\n\
         if exists (select 1 from t) then update t set (a, b) = (1, 2), c = upper('x') where id = 1;\n\
         elsif (a) then insert into app.t (a, b) values (1, 'reset role; execute') on conflict (a) do update set b = excluded.b;\n\
         else insert into t as x (a) select 1 on conflict do nothing; end if;\n\
         raise exception 'no: %', sqlerrm using errcode = 'P0001', hint = format('%s', x);\n\
         exception when others then raise; end",
        "begin perform pg_catalog.pg_notify('a', 'b'); -- execute 'x'\n /* reset role; /* nested */ execute */ return; end",
        "begin return query with recursive x(a) as (select 1 union all select a + 1 from x), y(b) as (select 2) select x.a, count(*) filter (where y.b > 0) over (partition by x.a) from x, y; end",
        "begin case when a then b := 1; else b := 2; end case; return case when (x) then 1 else (2) end; end",
        "begin return \"execute\" from \"set\" as \"reset\"; end",
        "begin select e'it\\'s; execute x', 'a\\\\b', $x$ execute $$ $x$ into y; end",
        "begin return a operator(pg_catalog.=) b; end",
        "begin return (select json_agg(t) from jsonb_to_recordset(p) as t(a int, b text)); end",
        "begin select t.a from (values (1)) t(a) join u using (a) where t.created_at::timestamp(3) > now(); end",
    ] {
        assert_eq!(plpgsql(body), Ok(()), "{body}");
    }
    assert_eq!(
        sql("select lower($1); update t set a = 1; with x as (select 1) select * from x"),
        Ok(())
    );
}

#[test]
fn other_languages_and_hidden_bodies_are_refused() {
    assert!(matches!(
        check_body("plpython3u", "1", &nothing),
        Err(Reason::Language(_))
    ));
    assert!(matches!(
        check_body("c", "f", &nothing),
        Err(Reason::Language(_))
    ));
    let mut hidden = function(1, "f");
    hidden.source = None;
    assert_eq!(check(&hidden, &nothing), Err(Reason::NoBody));
}

#[test]
fn dynamic_sql_is_refused_however_it_is_written() {
    for body in [
        "begin execute 'reset role'; end",
        "begin EXECUTE/**/'reset role'; end",
        "begin\n  ExEcUtE format('%s', x); end",
        "begin return query execute x; end",
        "begin for r in execute x loop end loop; end",
        "begin for r in/* */execute--\nx loop end loop; end",
        "begin open c for execute x; end",
        "begin a := 'x'/*'*/; execute x; --'\n end",
        "begin a := $$x$$; execute $y$reset role$y$; end",
        "begin a := $a$ $b$ $a$; execute x; /* $b$ */ end",
        "begin a := e'\\''; execute x; -- '\n end",
        "begin a := '\"'; execute x; -- \"\n end",
        "begin a := \"'\"; execute x; -- '\n end",
        "begin /* /* */ a; */ execute x; end",
        "begin prepare p as select 1; end",
    ] {
        assert!(
            matches!(plpgsql(body), Err(Reason::DynamicSql(_))),
            "{body}: {:?}",
            plpgsql(body)
        );
    }
}

#[test]
fn commands_on_the_session_are_refused_where_a_statement_starts() {
    for body in [
        "begin set role none; end",
        "begin SET LOCAL role = 'bob'; end",
        "begin a := 1; set/**/role none; end",
        "begin if a then set role none; end if; end",
        "begin if a then null; else set role none; end if; end",
        "begin loop set role none; end loop; end",
        "begin <<update>> set role none; end",
        "begin exception when others then set role none; end",
        "begin update t set a = 1; set role none; end",
        "begin reset role; end",
        "begin do $$ begin reset role; end $$; end",
        "begin discard all; end",
        "begin listen x; end",
        "begin copy t from program 'x'; end",
        "begin create function pg_temp.f() returns int language sql as 'x'; end",
        "begin alter role x; end",
        "begin load 'x'; end",
    ] {
        assert!(
            matches!(plpgsql(body), Err(Reason::Command(_))),
            "{body}: {:?}",
            plpgsql(body)
        );
    }
    assert!(matches!(sql("set role none"), Err(Reason::Command(_))));
    assert!(matches!(
        sql("select 1; set role none"),
        Err(Reason::Command(_))
    ));
    assert!(matches!(
        sql("declare c cursor with hold for select 1"),
        Err(Reason::Command(_))
    ));
}

#[test]
fn functions_that_run_sql_or_change_settings_are_refused() {
    for body in [
        "select set_config('role', 'none', true)",
        "select pg_catalog.set_config('role', 'none', true)",
        "select \"set_config\" ('role', 'none', true)",
        "select pg_catalog . /* x */ \"set_config\"/**/('role', 'none', true)",
        "select SET_CONFIG('role', 'none', true)",
        "select query_to_xml($1, true, true, '')",
        "select query_to_xml_and_xmlschema($1, true, true, '')",
        "select table_to_xml('pg_authid', true, true, '')",
        "select cursor_to_xml($1, 1, true, true, '')",
        "select schema_to_xml('x', true, true, '')",
        "select database_to_xml(true, true, '')",
        "select * from ts_stat($1)",
        "select ts_rewrite('a', $1)",
        "select * from dblink($1, $2) as t(a int)",
        "select public.dblink_exec($1)",
        "select lo_import('/etc/passwd')",
        "select distinct on (a) set_config('role', 'none', true) from t",
        "select 1 where x in (1) or set_config('role', 'none', true) = ''",
        "select a, set_config('role', 'none', true) as b from t",
        "select * from ts_stat($1) as (a int)",
        "select t.set_config from t",
        "select ('select set_config(''role'', ''none'', true)'::text).ts_stat",
        "select treat('select 1' as ts_stat)",
        "select treat('x' as setof \"ts_stat\")",
        "select 1 operator(pg_catalog.+) treat('x' as pg_sleep)",
        "select * from u, lateral set_config('role', 'none', true) t(a)",
        "insert into t (a) values (set_config('role', 'none', true))",
    ] {
        assert!(
            matches!(sql(body), Err(Reason::DangerousFunction(_))),
            "{body}: {:?}",
            sql(body)
        );
    }
    let body = "begin for i in 1..set_config('role', 'none', true)::int loop end loop; end";
    assert!(matches!(plpgsql(body), Err(Reason::DangerousFunction(_))));
}

#[test]
fn functions_nobody_knows_are_refused() {
    for body in [
        "select app.helper()",
        "select helper(1)",
        "select pg_catalog.pg_relation_filepath('x')",
        "select pg_sleep(1)",
        "select distinct on (a) helper(b) from t",
        "select * from a, helper(1) as (x int)",
        "select * from a, helper(1) as (values int)",
        "select (x).y.helper(1)",
        "select db.app.helper(1)",
        "select app.upper('x')",
        "select 1::app.helper(3)",
        "select 1 operator(pg_catalog.+) helper(1)",
        "select ('TimeZone'::text).pg_sleep",
        "select (0.1).pg_sleep_for",
        "select u.\"pg_relation_size\" from unnest($1) u",
    ] {
        let verdict = sql(body);
        assert!(
            matches!(verdict, Err(Reason::UnknownFunction(_))),
            "{body}: {verdict:?}"
        );
    }
    assert!(matches!(
        sql("select a operator(app.=) b"),
        Err(Reason::Operator(_))
    ));
}

#[test]
fn text_that_depends_on_settings_or_hides_names_is_refused() {
    for body in [
        "select U&\"\\0073et_config\"('role', 'none', true)",
        "select u&\"set!005fconfig\" uescape '!' ('role', 'none', true)",
        "select U&'\\0027'",
        "select 'a\\', set_config('role', 'none', true), '",
        "select e'a'\n'\\', set_config(''role''...",
        "select 'open",
        "select \"open",
        "select $x$ open $y$",
        "select /* open /* */",
    ] {
        assert!(
            matches!(sql(body), Err(Reason::Unreadable(_))),
            "{body}: {:?}",
            sql(body)
        );
    }
    for quote in ["\"", ""] {
        let called = |name: String| sql(&format!("select {quote}{name}{quote}(1)"));
        assert!(matches!(called("a".repeat(64)), Err(Reason::Unreadable(_))));
        assert!(matches!(called("ä".repeat(32)), Err(Reason::Unreadable(_))));
        assert!(matches!(
            called("a".repeat(63)),
            Err(Reason::UnknownFunction(_))
        ));
    }
}

#[test]
fn procedures_that_end_transactions_are_refused_even_if_declared_safe() {
    let mut procedure = function(1, "p")
        .procedure()
        .body("plpgsql", "begin commit; end");
    procedure.declared_safe = true;
    assert_eq!(
        check(&procedure, &nothing),
        Err(Reason::TransactionControl("commit".into()))
    );
    procedure.source = Some("begin Roll/**/back; ROLLBACK; end".into());
    assert!(matches!(
        check(&procedure, &nothing),
        Err(Reason::TransactionControl(_))
    ));
    procedure.source = Some("begin perform 'commit'; end".into());
    assert_eq!(check(&procedure, &nothing), Ok(()));
}

#[test]
fn definer_functions_and_declared_ones_pass() {
    let dynamic = || function(1, "f").body("plpgsql", "begin execute x; end");
    assert!(check(&dynamic(), &nothing).is_err());
    let mut definer = dynamic();
    definer.security_definer = true;
    assert_eq!(check(&definer, &nothing), Ok(()));
    let mut declared = dynamic();
    declared.declared_safe = true;
    assert_eq!(check(&declared, &nothing), Ok(()));
}

#[test]
fn functions_of_our_own_schema_are_known_and_a_set_role_clause_is_refused() {
    let mut switching = function(3, "switching").body("sql", "select 1");
    switching.settings = vec!["work_mem=1MB".into(), "role=bob".into()];
    let snapshot = fixture::snapshot(vec![
        function(1, "a").body("sql", "select rolegate.claim('sub')"),
        function(2, "b").body("sql", "select rolegate.find_api_token('x')"),
        switching,
    ]);
    let verdicts = Verdicts::of(&snapshot, "rolegate");
    let refused: Vec<bool> = snapshot
        .functions()
        .iter()
        .map(|function| verdicts.refusal(function).is_some())
        .collect();
    assert_eq!(refused, [false, true, true]);
}

#[test]
fn refusals_spread_to_callers_also_through_circles() {
    let snapshot = fixture::snapshot(vec![
        function(1, "a").body("sql", "select b(1)"),
        function(2, "b").body("sql", "select api.c(1), a()"),
        function(3, "c").body("plpgsql", "begin execute x; end"),
        function(4, "d").body("sql", "select e()"),
        function(5, "e").body("sql", "select d()"),
        function(6, "f").body("sql", "select t.c from t"),
        function(7, "upper").body("plpgsql", "begin execute x; end"),
        function(8, "g").body("sql", "select upper('x')"),
        function(9, "h").body("sql", "select pg_catalog.upper('x')"),
        function(10, "query").body("plpgsql", "begin execute x; end"),
        function(11, "i").body("sql", "select query (1)"),
    ]);
    let verdicts = Verdicts::of(&snapshot, "rolegate");
    let refused: Vec<&str> = snapshot
        .functions()
        .iter()
        .filter(|function| verdicts.refusal(function).is_some())
        .map(|function| function.name.as_str())
        .collect();
    assert_eq!(refused, ["a", "b", "c", "f", "upper", "g", "query", "i"]);
    insta::assert_snapshot!(
        verdicts.refusal(&snapshot.functions()[0]).expect("refused"),
        @"it uses the function `b`, which may not run in assume mode itself"
    );
}
