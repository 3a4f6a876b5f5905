//! The functions that the list of harmless names stands for, on each version: a new overload, or one that has become
//! volatile, has to be read by somebody before it may run in assume mode.

use std::collections::HashSet;

use rolegate_testkit::for_each_version;

const NAMES: &str = include_str!("../../../../sql/src/builtins.txt");
const UNARY: &str = include_str!("../../../../sql/src/unary.txt");

/// By major version. 16 and 17 are compared where a run has such a server for the oldest one.
const REVIEWED: [(&str, &str); 4] = [
    ("15", include_str!("builtins/15.txt")),
    ("16", include_str!("builtins/16.txt")),
    ("17", include_str!("builtins/17.txt")),
    ("18", include_str!("builtins/18.txt")),
];

/// Name, arguments, volatility, and in what it is written.
const FUNCTIONS: &str = "
    select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ') '
        || p.provolatile::text || ' ' || l.lanname::text
    from pg_proc p
    join pg_language l on l.oid = p.prolang
    where p.oid < 16384 and p.pronamespace = 'pg_catalog'::regnamespace and p.proname = any ($1)
    order by p.proname collate \"C\", p.oid";

#[tokio::test]
async fn every_function_of_a_harmless_name_was_read() {
    for_each_version(async |db| {
        let names: Vec<&str> = NAMES.lines().collect();
        let rows = db.superuser().await.query(FUNCTIONS, &[&names]).await;
        let rows = rows.expect("functions");
        let found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let number = db.superuser().await.query_one("show server_version_num", &[]).await;
        let number: String = number.expect("a row").get(0);
        // Of a version that nobody has looked at yet.
        let Some((_, reviewed)) = REVIEWED.iter().find(|(major, _)| number.starts_with(major)) else {
            return;
        };
        let new: Vec<&String> = found.iter().filter(|line| !reviewed.lines().any(|known| known == *line)).collect();
        assert!(
            new.is_empty(),
            "on {number} these were not read; do they keep the role, read nothing, and have no effect?\n{new:#?}"
        );
        assert!(found.len() > 500, "{}", found.len());
    })
    .await;
}

/// What only 16 or 17 have would be read by nobody: people look at the oldest and the newest version.
#[test]
fn versions_in_between_have_nothing_of_their_own() {
    let [(_, oldest), between @ .., (_, newest)] = REVIEWED;
    let known: HashSet<&str> = oldest.lines().chain(newest.lines()).collect();
    for (major, functions) in between {
        let own: Vec<&str> = functions
            .lines()
            .filter(|line| !known.contains(line))
            .collect();
        assert!(own.is_empty(), "only in {major}: {own:#?}");
        assert!(
            functions.lines().count() > oldest.lines().count(),
            "{major}"
        );
    }
}

/// In bodies of functions, which are judged without a look at the catalog, a point is enough to call these.
#[tokio::test]
async fn every_function_that_takes_one_value_is_known() {
    for_each_version(async |db| {
        let sql = "
            select distinct p.proname::text from pg_proc p
            where p.oid < 16384 and p.pronamespace = 'pg_catalog'::regnamespace and p.prokind <> 'p'
                and p.pronargs >= 1 and p.pronargs - p.pronargdefaults <= 1
                and p.proargtypes[0] <> 'internal'::regtype";
        let rows = db
            .superuser()
            .await
            .query(sql, &[])
            .await
            .expect("functions");
        let found = rows.iter().map(|row| row.get::<_, String>(0));
        let new: Vec<String> = found
            .filter(|name| {
                !NAMES
                    .lines()
                    .chain(UNARY.lines())
                    .any(|known| known == name)
            })
            .collect();
        assert!(
            new.is_empty(),
            "in neither builtins.txt nor unary.txt: {new:#?}"
        );
        assert!(rows.len() > 800, "{}", rows.len());
    })
    .await;
}
