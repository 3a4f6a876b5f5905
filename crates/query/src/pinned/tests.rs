use super::PinnedValue;
use crate::Text;

fn pins(sql: &str) -> Option<Vec<(String, PinnedValue)>> {
    let one = Text::read(sql).expect("a query").one_table?;
    assert_eq!(one.table, "t", "{sql}");
    Some(
        one.pinned
            .into_iter()
            .map(|pin| (pin.column, pin.value))
            .collect(),
    )
}

#[test]
fn a_value_for_a_column_is_found() {
    let number = |text: &str| PinnedValue::Number(text.to_owned());
    let text = |value: &str| PinnedValue::Text(value.to_owned());
    for (sql, expected) in [
        ("select * from t where id = 7", vec![("id", number("7"))]),
        (
            " /* a */ select a, b as c from s.t x where x.id= -7 limit 1",
            vec![("id", number("-7"))],
        ),
        (
            "select count(*) from \"t\" as x where id = 'a' and n > 3 group by a order by 1",
            vec![("id", text("a"))],
        ),
        (
            "select lower(a) from t where t.\"A\" = $2 and b = true and c <= $1",
            vec![("A", PinnedValue::Parameter(2)), ("b", text("true"))],
        ),
        (
            "select a from t where id = 007",
            vec![("id", number("007"))],
        ),
    ] {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        assert_eq!(pins(sql), Some(expected), "{sql}");
    }
}

#[test]
fn whatever_else_there_is_depends_on_every_row() {
    for sql in [
        "select * from t",
        "select * from t where id > 7",
        "select * from t where id <> 7",
        "select * from t where id = 7 or true",
        "select * from t where not id = 7",
        "select * from t where id = 7 is null",
        "select * from t where id = 7 + 1",
        "select * from t where id = 7::text",
        "select * from t where id = - 7",
        "select * from t where id =-7",
        "select * from t where a between 1 and id = 7",
        "select * from t where case when a and id = 7 and b then true end",
        "select * from t where (id = 7)",
        "select * from t where id = any ('{7}')",
        "select * from t where id = (select 7)",
        "select * from t where id = 7 union all select * from t",
        "select (select max(id) from t) from t where id = 7",
        "select * from t where id = 7 and exists (select 1 from t)",
        "select * from t, u where id = 7",
        "select * from t cross join u where id = 7",
        "select * from t a b where id = 7",
        "select * from t where u.id = 7",
        "select * from t x where t.id = 7",
        "select * from t where id = 'it''s'",
        "select * from t where id = E'7'",
        "select * from t where id = 'a'\n'b'",
        "select * from t where id = U.x",
        "select * from t where id operator(x.=) 7",
        "select * from t where id = = 7",
        "select * from t where id === 7",
        "select * from t where id =@ 7",
        "select (5, 1) in (table t) as x from t where id = 7",
        "select array(table t) from t where id = 7",
        "select * from t where id = 7 limit (TABLE/**/t limit 1)",
        "select 1 in (values (1)) from t where id = 7",
        "select * from f(7) where id = 7",
        "select * from only t where id = 7",
        "select * from t tablesample system (1) where id = 7",
        "table t",
        "values (7)",
        "with t as (select 1 as id) select * from t where id = 7",
        "select * from (t) where id = 7",
        "select * from t where id = 7 and",
        "select * from t where",
        "select extract(year from a) from t where id = 7",
    ] {
        assert_eq!(pins(sql), None, "{sql}");
    }
}
