use proptest::prelude::*;

use super::*;
use crate::select::{Column, ColumnText};
use rolegate_pg::session::Rows;

fn row(key: &str, json: &str) -> Row {
    Row {
        key: key.into(),
        json: Bytes::copy_from_slice(json.as_bytes()),
    }
}

/// What a client does with the changes of one commit where the order counts.
fn apply(old: &[Row], changes: &[Change]) -> Vec<Row> {
    let leaves = |row: &Row| {
        changes.iter().any(|change| {
            change.row.key == row.key && (change.op == Op::Delete || change.position.is_some())
        })
    };
    let mut list: Vec<Row> = old.iter().filter(|row| !leaves(row)).cloned().collect();
    for change in changes {
        if let Some(position) = change.position {
            list.insert(position, change.row.clone());
        }
    }
    list
}

/// And where it does not: what is known by its key.
fn apply_by_key(old: &[Row], changes: &[Change]) -> Vec<Row> {
    let mut list = old.to_vec();
    for change in changes {
        let place = list.iter().position(|row| row.key == change.row.key);
        match (change.op, place) {
            (Op::Insert, None) => list.push(change.row.clone()),
            (Op::Update, Some(place)) => list[place] = change.row.clone(),
            (Op::Delete, Some(place)) => {
                assert_eq!(list.remove(place), change.row, "it is told as it was");
            }
            (op, place) => panic!("{op:?} at {place:?}"),
        }
    }
    list
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// Lists of keys that differ, each with one of a few contents.
fn list() -> impl Strategy<Value = Vec<Row>> {
    let entries = proptest::collection::btree_map(0_u8..24, 0_u8..3, 0..20);
    let shuffled = entries.prop_map(|map| map.into_iter().collect::<Vec<_>>());
    shuffled.prop_shuffle().prop_map(|entries| {
        let rows = entries.into_iter();
        rows.map(|(key, value)| row(&key.to_string(), &value.to_string()))
            .collect()
    })
}

/// A list, and one that is like it but for a few moves: most lists that follow each other are.
fn list_and_a_few_moves() -> impl Strategy<Value = (Vec<Row>, Vec<Row>)> {
    let moves = proptest::collection::vec((0_usize..20, 0_usize..20), 0..3);
    (list(), moves).prop_map(|(old, moves)| {
        let mut new = old.clone();
        for (from, to) in moves {
            if from < new.len() && to < new.len() {
                let row = new.remove(from);
                new.insert(to, row);
            }
        }
        (old, new)
    })
}

proptest! {
    #[test]
    fn applied_to_the_old_list_they_give_the_new_one(old in list(), new in list()) {
        prop_assert_eq!(apply(&old, &changes(&old, &new, true)), new.clone());
        let by_key = apply_by_key(&old, &changes(&old, &new, false));
        prop_assert_eq!(sorted(by_key), sorted(new));
    }

    #[test]
    fn what_only_moved_is_told_once((old, new) in list_and_a_few_moves()) {
        let told = changes(&old, &new, true);
        prop_assert!(told.len() <= 2, "{:?}", told);
        prop_assert!(told.iter().all(|change| change.op == Op::Update));
        prop_assert_eq!(apply(&old, &told), new.clone());
        prop_assert_eq!(changes(&old, &new, false), vec![]);
    }

    #[test]
    fn equal_rows_are_counted(old in content(), new in content()) {
        let columns = [Column { name: "v".into(), text: ColumnText::Number, type_oid: 23 }];
        let (old, new) = (by_content(&columns, &rows(&old)), by_content(&columns, &rows(&new)));
        let told = changes(&old, &new, false);
        prop_assert!(told.iter().all(|change| change.op != Op::Update));
        prop_assert_eq!(sorted(apply_by_key(&old, &told)), sorted(new.clone()));
        prop_assert_eq!(apply(&old, &changes(&old, &new, true)), new);
    }
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0_u8..4, 0..12)
}

fn rows(values: &[u8]) -> Rows {
    Rows {
        columns: 1,
        rows: values.len(),
        values: values
            .iter()
            .map(|value| Some(Bytes::from(value.to_string())))
            .collect(),
        ..Rows::default()
    }
}

fn columns(names: &[&str]) -> Vec<Column> {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        text: ColumnText::String,
        type_oid: 25,
    };
    names.iter().map(column).collect()
}

fn texts(columns: usize, values: &[Option<&'static str>]) -> Rows {
    Rows {
        columns,
        rows: values.len() / columns,
        values: values
            .iter()
            .map(|value| value.map(|text| Bytes::from_static(text.as_bytes())))
            .collect(),
        ..Rows::default()
    }
}

#[test]
fn nothing_is_told_of_equal_lists() {
    let list = [row("1", "a"), row("2", "b")];
    assert_eq!(changes(&list, &list, true), []);
    assert_eq!(changes(&list, &list, false), []);
}

#[test]
fn a_key_is_the_value_or_a_list_of_them() {
    let rows = texts(2, &[Some("1"), Some("a"), Some("1"), Some("b\"")]);
    let columns = columns(&["id", "part"]);
    let keys = |key: &[usize]| {
        let named = by_columns(&columns, &rows, key)?;
        Some(
            named
                .iter()
                .map(|row| row.key.to_string())
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(keys(&[1]), Some(vec!["a".to_owned(), "b\"".to_owned()]));
    assert_eq!(
        keys(&[0, 1]),
        Some(vec![r#"["1","a"]"#.to_owned(), r#"["1","b\""]"#.to_owned()])
    );
    // Two rows have it.
    assert_eq!(keys(&[0]), None);
}

#[test]
fn a_row_without_a_value_has_no_key() {
    let rows = texts(1, &[None]);
    assert_eq!(by_columns(&columns(&["id"]), &rows, &[0]), None);
    let named = by_content(&columns(&["id"]), &rows);
    assert_eq!(named[0].json, "{\"id\":null}");
    assert!(named[0].key.ends_with("#1"), "{}", named[0].key);
}
