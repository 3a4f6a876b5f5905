use std::collections::BTreeMap;
use std::sync::Arc;

use rolegate_replication::{Identity, Key, KeyColumn, Lsn, Shape, Xid};

use super::*;
use crate::plan::Plan;

const TABLE: u32 = 20_000;

fn relation(comparable: &[(&str, u32)]) -> Relation {
    Relation {
        oid: TABLE,
        schema: "api".into(),
        name: "t".into(),
        kind: 'r',
        row_security: false,
        system: false,
        published: true,
        view: None,
        comparable: comparable
            .iter()
            .map(|(name, oid)| ((*name).to_owned(), *oid))
            .collect(),
        open: true,
    }
}

fn touch(sql: &str, params: &[&str], comparable: &[(&str, u32)]) -> Touch {
    let analysis = Analysis {
        columns: Vec::new(),
        read_set: vec![relation(comparable)],
        unkept: Vec::new(),
        plan: Plan::default(),
        only_builtins: true,
    };
    let text = Text::read(sql).expect("a query");
    let params: Vec<_> = params
        .iter()
        .map(|value| Some(Bytes::copy_from_slice(value.as_bytes())))
        .collect();
    Touch::of(&analysis, &text, &params)
}

fn commit(relation: u32, touched: Touched) -> Commit {
    Commit {
        commit_lsn: Lsn(1),
        end_lsn: Lsn(2),
        xid: Xid(3),
        at: jiff::Timestamp::UNIX_EPOCH,
        relations: BTreeMap::from([(relation, touched)]),
        everything: false,
        messages: Vec::new(),
    }
}

fn changed(columns: &[&str], keys: &[&[&str]]) -> Touched {
    let key = columns.iter().map(|name| KeyColumn {
        name: (*name).into(),
        type_oid: 23,
        modifier: -1,
    });
    let keys = keys
        .iter()
        .map(|values| Key(values.iter().map(|value| Some((*value).into())).collect()));
    Touched {
        shape: Some(Arc::new(Shape::new(
            "api",
            "t",
            Identity::Default,
            key.collect(),
        ))),
        updates: 1,
        keys: Keys::Exactly(keys.collect()),
        ..Touched::default()
    }
}

#[test]
fn a_commit_to_another_row_does_not_matter() {
    let one = touch("select * from t where id = 7", &[], &[("id", 23)]);
    let is = |touched| one.is_touched_by(&commit(TABLE, touched));
    assert!(is(changed(&["id"], &[&["7"]])));
    assert!(is(changed(&["id"], &[&["8"], &["7"]])));
    assert!(!is(changed(&["id"], &[&["8"], &["77"]])));
    assert!(!is(changed(&["id"], &[])));
    // Parts of a key, and keys that tell nothing of the column.
    assert!(is(changed(&["tenant", "id"], &[&["1", "7"]])));
    assert!(!is(changed(&["tenant", "id"], &[&["7", "1"]])));
    assert!(is(changed(&["other"], &[&["1"]])));
    for whole in [
        Touched {
            truncated: true,
            ..changed(&["id"], &[])
        },
        Touched {
            redefined: true,
            ..changed(&["id"], &[])
        },
        Touched {
            keys: Keys::All,
            ..changed(&["id"], &[])
        },
        Touched {
            shape: None,
            ..changed(&["id"], &[&["8"]])
        },
    ] {
        assert!(is(whole));
    }
    assert!(!one.is_touched_by(&commit(TABLE + 1, changed(&["id"], &[&["7"]]))));
    let everything = Commit {
        everything: true,
        ..commit(TABLE + 1, Touched::default())
    };
    assert!(one.is_touched_by(&everything));
}

#[test]
fn both_columns_have_to_be_those() {
    let both = touch(
        "select * from t where a = $1 and b = 'x'",
        &["1"],
        &[("a", 20), ("b", 25)],
    );
    let is = |key: &[&str]| both.is_touched_by(&commit(TABLE, changed(&["a", "b"], &[key])));
    assert!(is(&["1", "x"]));
    assert!(!is(&["1", "y"]) && !is(&["2", "x"]));
}

#[test]
fn a_value_that_can_be_written_otherwise_tells_nothing() {
    let narrow = |value: &str, oid| {
        touch("select * from t where id = $1", &[value], &[("id", oid)]).is_narrow()
    };
    for (value, oid) in [
        ("007", 23),
        ("7.0", 23),
        ("+7", 23),
        (" 7", 23),
        ("-0", 23),
        ("", 23),
        ("0x7", 20),
        ("1_000", 20),
        ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", 2950),
        ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", 2950),
        ("a0eebc999c0b4ef8bb6d6bb9bd380a11", 2950),
        ("2026-1-1", 1082),
        ("today", 1082),
        ("yes", 16),
        ("7", 1700),
        ("a", 1042),
        ("2026-01-01", 1114),
    ] {
        assert!(!narrow(value, oid), "{value} {oid}");
    }
    for (value, oid) in [
        ("0", 23),
        ("-7", 21),
        ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", 2950),
        ("2026-01-01", 1082),
        ("t", 16),
        (" A'b", 25),
    ] {
        assert!(narrow(value, oid), "{value} {oid}");
    }
    let literal = |sql: &str| touch(sql, &[], &[("id", 23), ("b", 16)]).is_narrow();
    assert!(literal("select * from t where id = '7'") && literal("select * from t where b = true"));
    assert!(
        !literal("select * from t where id = 007") && !literal("select * from t where id = 7e0")
    );
    assert!(!literal("select * from t where b = 'yes'"));
    assert!(!literal("select * from u where id = 7"));
}
