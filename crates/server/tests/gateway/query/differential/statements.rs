//! Random definitions, writes and queries.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::random::Random;

const NAMES: [&str; 4] = ["t0", "t1", "t2", "t3"];
const IDS: usize = 12;

/// Tables of a small application.
pub(super) struct Tables {
    /// Who can be given rights.
    grantees: Vec<String>,
}

/// A query with its parameters.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
    ordered: bool,
}

impl Query {
    /// With its parameters as constants.
    pub(super) fn with_literals(&self) -> String {
        let params = self.params.iter().enumerate();
        params.fold(self.sql.clone(), |sql, (index, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            sql.replace(
                &format!("${}", index + 1),
                &format!("'{}'", text.replace('\'', "''")),
            )
        })
    }

    /// Rows whose order says nothing, in some order.
    pub(super) fn sorted(&self, mut rows: Vec<Value>) -> Vec<Value> {
        if !self.ordered {
            rows.sort_by_key(Value::to_string);
        }
        rows
    }
}

impl Tables {
    pub(super) fn new(grantees: Vec<String>) -> Self {
        Self { grantees }
    }

    pub(super) fn lay(&self, random: &mut Random) -> String {
        let mut sql = String::from("grant usage on schema api to public;");
        for name in NAMES {
            let key = if name == "t3" { "" } else { "primary key" };
            let (first, second) = (&self.grantees[1], &self.grantees[2]);
            let _ = write!(
                sql,
                "create table api.{name} (id int {key}, a int, b text, owner text);
                 insert into api.{name} select g, g % 4, 'b' || g % 3, case g % 3 when 0 then '{first}' when 1 then '{second}' end
                 from generate_series(1, 8) g;
                 grant select on api.{name} to public;",
            );
        }
        sql += "alter table api.t1 replica identity full;
            create view api.v0 as select id, a, b from api.t0 where a > 0;
            create view api.v1 as select x.id, y.b from api.t0 x join api.t2 y on y.id = x.a;
            grant select on api.v0, api.v1 to public;";
        if random.percent(50) {
            sql += "create index on api.t0 (a);";
        }
        sql
    }

    pub(super) fn definition(&self, random: &mut Random) -> String {
        let table = random.one_of(&NAMES);
        let grantee = &self.grantees[random.below(self.grantees.len())];
        match random.below(16) {
            0 => format!("revoke select on api.{table} from \"{grantee}\"")
                .replace("\"public\"", "public"),
            1..=3 => format!("grant select on api.{table} to \"{grantee}\"")
                .replace("\"public\"", "public"),
            4 => format!("grant select (id, b) on api.{table} to \"{grantee}\"")
                .replace("\"public\"", "public"),
            5 => format!("alter table api.{table} enable row level security"),
            6 | 7 => format!("alter table api.{table} disable row level security"),
            8 => format!("create policy own on api.{table} using (owner = current_user)"),
            9 => format!(
                "create policy some on api.{table} using (a in (select x.a from api.t1 x where x.b = 'b1'))"
            ),
            10 => format!("drop policy own on api.{table}"),
            11 => format!("alter table api.{table} add column c int default 7"),
            12 => format!("alter table api.{table} drop column c"),
            13 => format!(
                "create or replace view api.v0 as select id, a, b from api.t0 where a > {}",
                random.below(3)
            ),
            14 => format!(
                "alter table api.t2 replica identity {}",
                random.one_of(&["full", "default"])
            ),
            _ => format!("alter table api.{table} alter column b type text using b || ''"),
        }
    }

    pub(super) fn write(&self, random: &mut Random) -> String {
        let one = |random: &mut Random| {
            let (table, id) = (random.one_of(&NAMES), random.below(IDS));
            let (a, b) = (random.below(4), random.below(3));
            let owner = &self.grantees[1 + random.below(2)];
            match random.below(12) {
                0..=2 => format!("insert into api.{table} values ({id}, {a}, 'b{b}', '{owner}')"),
                3 | 4 => format!("update api.{table} set a = {a} where id = {id}"),
                5 => format!("update api.{table} set b = 'b{b}', owner = '{owner}' where a = {a}"),
                6 => format!(
                    "update api.{table} set id = {} where id = {id}",
                    random.below(IDS)
                ),
                7 | 8 => format!("delete from api.{table} where id = {id}"),
                9 => format!("update api.{table} set a = a where id = {id}"),
                10 => format!("delete from api.{table} where a = {a} and id > 3"),
                _ if random.percent(20) => format!("truncate api.{table}"),
                _ => format!(
                    "insert into api.{table} select g, {a}, 'b{b}', '{owner}' from generate_series(20, 24) g \
                              on conflict do nothing"
                ),
            }
        };
        match random.below(10) {
            0 => format!("begin; {}; {}; commit", one(random), one(random)),
            1 => format!("begin; {}; rollback", one(random)),
            2 => format!(
                "begin; {}; savepoint s; {}; rollback to s; {}; commit",
                one(random),
                one(random),
                one(random)
            ),
            _ => one(random),
        }
    }
}

/// One that somebody could ask.
pub(super) fn query(random: &mut Random) -> Query {
    let table = random.one_of(&["t0", "t1", "t2", "t3", "v0"]);
    let other = random.one_of(&NAMES);
    let (id, a, b) = (random.below(IDS), random.below(4), random.below(3));
    let plain = |sql: String| Query {
        sql,
        params: Vec::new(),
        ordered: false,
    };
    match random.below(16) {
        0 | 1 => plain(format!("select id, a, b from {table} where id = {id}")),
        2 => Query {
            sql: format!("select id, a, b from api.{table} where id = $1"),
            params: vec![if random.percent(50) {
                json!(id)
            } else {
                json!(id.to_string())
            }],
            ordered: false,
        },
        3 => plain(format!(
            "select count(*) as n, sum(a) as s from {table} where b = 'b{b}'"
        )),
        4 => Query {
            sql: format!("select id, b from {table} order by b desc, id, a limit 5"),
            params: Vec::new(),
            ordered: true,
        },
        5 => plain(format!(
            "select x.id, y.b from {table} x join {other} y on y.id = x.a where x.id = {id}"
        )),
        6 => plain(format!(
            "select x.id from {table} x where x.id = {id} and exists (select 1 from {other} y where y.a = x.a)"
        )),
        7 => plain(format!(
            "with {other} as (select 1 as one) select y.id, y.a from api.{other} y where y.a = {a}"
        )),
        8 => plain(format!(
            "select id from {table} where a = {a} union select id from {other} where id = {id}"
        )),
        9 => plain(format!("select id, b from v1 where id = {id}")),
        10 => plain(format!("table {table}")),
        11 => plain(format!("select id, c from {table} where id = {id}")),
        12 => plain(format!("select a, count(*) as n from {table} group by a")),
        13 => plain(format!("select id from {table} where false")),
        14 => plain(format!(
            "select (select count(*) from {other}) as n, id from {table} where id = {id}"
        )),
        _ => Query {
            sql: format!("select id, b from {table} where b = $1 and a = $2"),
            params: vec![json!(format!("b{b}")), json!(a)],
            ordered: false,
        },
    }
}
