use super::*;

fn read(sql: &str) -> Text {
    Text::read(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))
}

#[test]
fn one_query_is_taken_without_what_is_around_it() {
    for (sql, taken) in [
        ("select 1", "select 1"),
        (" select 1 ; ; ", "select 1"),
        ("-- a\n(select 1) -- b", "(select 1)"),
        ("/* ; */ table t;/* ; */", "table t"),
        ("values (1), (';')", "values (1), (';')"),
        (
            "WITH x AS (select 1) table x",
            "WITH x AS (select 1) table x",
        ),
    ] {
        assert_eq!(&*read(sql).sql, taken, "{sql}");
    }
}

#[test]
fn anything_else_is_refused() {
    for (sql, refusal) in [
        ("", Refusal::Empty),
        (" -- select 1", Refusal::Empty),
        (";;", Refusal::Empty),
        ("((", Refusal::Empty),
        (
            "insert into t values (1)",
            Refusal::NotAQuery("INSERT".into()),
        ),
        (
            "explain analyze select 1",
            Refusal::NotAQuery("EXPLAIN".into()),
        ),
        ("\"select\" 1", Refusal::NotAQuery("something else".into())),
        ("select 1; select 2", Refusal::SeveralStatements),
        ("select 1;;drop table t", Refusal::SeveralStatements),
        ("select '\0'", Refusal::NullCharacter),
    ] {
        assert_eq!(Text::read(sql), Err(refusal), "{sql}");
    }
    for sql in [
        "select U&'\\0061'",
        "select * from u&\"a\"",
        "select 'a\\' || now() -- '",
        "select /* /* */ 1",
        "select 'x",
        "select $a$ $b$",
    ] {
        assert!(
            matches!(Text::read(sql), Err(Refusal::Unreadable(_))),
            "{sql}"
        );
    }
    let long = format!("select '{}'", "x".repeat(MAX_BYTES));
    assert!(matches!(Text::read(&long), Err(Refusal::TooLong(..))));
}

#[test]
fn names_are_found_however_they_are_written() {
    let text = read(
        "select lower(a), \"now\"(), pg_catalog . upper ( b ), (t).secret, /* f() */ 'g()', x.\"H\" \
         from only public.t x where a operator(public.===) b",
    );
    let called: Vec<_> = text.called.iter().map(String::as_str).collect();
    assert_eq!(called, ["lower", "now", "operator", "upper"]);
    let attributes: Vec<_> = text.attributes.iter().map(String::as_str).collect();
    assert_eq!(attributes, ["H", "secret", "t"]);
    assert!(text.operators.contains("==="));
    assert!(!text.names.contains("f") && !text.names.contains("g"));
}

#[test]
fn what_stands_behind_a_value_is_told_from_what_stands_behind_a_row() {
    let behind_values = |sql| {
        let names = read(sql).attributes_of_values.into_iter();
        names.collect::<Vec<_>>()
    };
    for sql in [
        "select ('x'::text).f",
        "select ('x'::text).a.f from t",
        "select (array['x'])[1].f",
        "select $1.f",
        "select u.f from unnest(array['x']) u",
        "select u.f from unnest(array['x']) as u(a)",
        "select u.f from unnest(array['x']) u(f), (select u.f from unnest(array['x']) u(a)) x",
        "select unnest.f from unnest(array['x'])",
        "select u.f from rows from (unnest(array['x'])) u",
        "select u.f from unnest(array['x']) with ordinality u",
        "select u.f from t cross join lateral (values (1)) x, unnest(x) as u",
        "select u.f from unnest(values) u",
        "select u.f from current_user u",
        "select \"current_user\".f from current_user",
        "select btrim.f from trim('x')",
        "select t.f from cast('x' as s.t)",
        "select U . /* */ \"f\" from unnest($1) \"u\"",
    ] {
        assert!(behind_values(sql).contains(&"f".to_owned()), "{sql}");
    }
    for sql in [
        "select t.f from t",
        "select x.f from api.t x join s.f using (a)",
        "select x.f, s.x.f from (select 1 as f) x",
        "select x.f from (values (1)) as x(f)",
        "select x.f from (with y as (table t) table y) x",
        "select u.f from unnest(array['x']) u(f), json_to_record('{}') as u(a int, f int)",
    ] {
        assert!(!behind_values(sql).contains(&"f".to_owned()), "{sql}");
    }
}

#[test]
fn what_is_certainly_called_is_no_alias() {
    let called = |sql| read(sql).certainly_called.into_iter().collect::<Vec<_>>();
    for sql in [
        "select a from (values (1)) f(a)",
        "select a from t as f(a)",
        "with f(a) as (select 1), g(a) as not materialized (select 1) table f",
        "with recursive f(a) as materialized (select 1) table f",
    ] {
        assert!(
            called(sql).iter().all(|name| name != "f" && name != "g"),
            "{sql}"
        );
    }
    for sql in [
        "select f(a)",
        "select 1, f(a) as b from f(1)",
        "select a from t, f(1) as (a int, b int)",
    ] {
        assert!(
            called(sql).contains(&"f".to_owned()) || sql.contains(" as (a"),
            "{sql}"
        );
    }
}

#[test]
fn treat_and_names_that_would_be_cut_are_refused() {
    let refused = Err(Refusal::Function("treat".into()));
    assert_eq!(Text::read("select treat('x' as f)"), refused);
    assert_eq!(Text::read("select TREAT/**/('x' as setof f)"), refused);
    assert!(Text::read("select treat, t.treat from t").is_ok());
    for name in ["a".repeat(64), "ä".repeat(32)] {
        let sql = format!("select {name}(1)");
        assert!(
            matches!(Text::read(&sql), Err(Refusal::Unreadable(_))),
            "{sql}"
        );
    }
    assert!(Text::read(&format!("select {}", "a".repeat(63))).is_ok());
    assert!(read("select Änd(1)").called.contains("änd"));
}

#[test]
fn words_bring_operators() {
    for (sql, operators) in [
        ("select a in (1)", "<> ="),
        ("select case a when 1 then 2 end", "="),
        ("select nullif(a, b)", "="),
        ("select a is not distinct from b", "="),
        ("select a from t join u using (a)", "="),
        ("select a from t natural join u", "="),
        ("select a between 1 and 2", "< <= > >="),
        ("select a not like b", "!~~ ~~"),
        ("select a ILIKE b", "!~~* ~~*"),
        ("select a similar to b", "!~ ~"),
        ("select a != b", "! != <> ="),
        ("select \"in\", 'like' from \"between\"", ""),
    ] {
        let found: Vec<_> = read(sql).operators.into_iter().collect();
        assert_eq!(found.join(" "), operators, "{sql}");
    }
}

#[test]
fn words_of_the_session_are_those_without_quotes() {
    let words = |sql| read(sql).session_words;
    assert_eq!(words("select CURRENT_DATE").len(), 1);
    assert_eq!(words("select current_timestamp(3), user").len(), 2);
    assert!(words("select \"user\", t.user from t").is_empty());
}

#[test]
fn moments_are_found_in_constants() {
    let found = |sql| read(sql).moment.is_some();
    for sql in [
        "select 'now'::timestamptz",
        "select date 'Today'",
        "select $$ yesterday 10:00$$::timestamp",
        "select '{tomorrow}'::date[]",
        "select e'n\\157w'::timestamptz",
        "select 'today10:00'::timestamp",
        "select ('no' || 'w')::timestamptz",
        "select ('no' || 'w')::timestamp with time zone",
        "select cast(concat('to', 'day') as pg_catalog.date)",
        "select date(reverse('won'))",
        "select ('no' || 'w'::text).timestamptz",
        "select x.a::date from (select 'no' || 'w' as a) x",
        "select timestamp 'no'\n'w'",
        "select ('{no' || 'w}')::date[]",
        "select ('{no' || 'w}')::_date",
        "select a from json_to_record(replace('{\"a\":\"xow\"}', 'x', 'n')::json) as x(a date)",
        "select api.word()::date",
    ] {
        assert!(found(sql), "{sql}");
    }
    for sql in [
        "select 'know', 'nowhere', '2026-01-01', now from t",
        "select at::date, count(*) from t where at > '2026-01-01'::date group by 1",
        "select date_trunc('day', at)::date, $1::timestamptz from t",
        "select name || ' ' || lower(first) from t where at > $1",
    ] {
        assert!(!found(sql), "{sql}");
    }
}

#[test]
fn types_are_found_where_they_can_stand() {
    let types = |sql| read(sql).types.into_iter().collect::<Vec<_>>();
    assert_eq!(
        types("select 'x'::regclass, cast(1 as api.\"T\")"),
        ["T", "api", "regclass"]
    );
    assert_eq!(
        types("select (null :: api . t).a, date '2026-01-01'"),
        ["api", "date", "t"]
    );
    assert!(types("select 1 as t, (select 2 as u) as v from w as x").is_empty());
    assert_eq!(types("select 1::int as t"), ["int"]);
    assert!(types("select cast((select 1 as t) as int)").contains(&"int".to_owned()));
    for sql in [
        "select a from json_to_record('{}') as x(a s.t)",
        "select null::setof s.t",
        "select cast(null as setof t)",
        "select a from json_to_record('{}') x(b int, a t)",
        "select a from rows from (json_to_record('{}') as (a \"t\"[])) x",
        "select a from json_table('{}', '$' columns (a t path '$'))",
        "select a from xmltable('a' passing x columns b int, a t)",
        "select json_serialize(x returning t)",
        "select xmlserialize(content x as t)",
    ] {
        assert!(types(sql).contains(&"t".to_owned()), "{sql}");
    }
    for sql in [
        "with x as (select a t from u t) select a from x t",
        "select count(*) filter (where a) t, sum(a) over (order by a) t from u",
        "select a from (select a t from u) x(t) join lateral f(1) t(a, b) on true",
    ] {
        assert!(!types(sql).contains(&"t".to_owned()), "{sql}");
    }
}

#[test]
fn the_highest_parameter_counts() {
    assert_eq!(read("select $2, $10, '$12', $1x").parameters, 10);
    assert_eq!(read(" select 1").parameters, 0);
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_it(sql in ".{0,200}") {
        let _ = Text::read(&sql);
        let _ = Text::read(&format!("select {sql}"));
    }

    /// What is taken, put between parentheses, is closed where it was opened.
    #[test]
    fn what_is_taken_is_read_the_same_again(sql in "[-a-z0-9 ;'\"$/*().\n]{0,60}") {
        if let Ok(text) = Text::read(&format!("select {sql}")) {
            let again = Text::read(&text.sql).expect("read before");
            proptest::prop_assert_eq!(text, again);
        }
    }
}
