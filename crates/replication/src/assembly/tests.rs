//! Messages made by hand.

use super::*;
use crate::commit::{Key, Keys};

/// Writes messages as a server does.
#[derive(Default)]
struct Stream {
    lsn: u64,
    assembler: Option<Assembler>,
}

const RELATION: u32 = 20_000;

impl Stream {
    fn new(bounds: Bounds) -> Self {
        let mut stream = Self {
            lsn: 100,
            assembler: Some(Assembler::new(Xid(0x3_0000_0000), "rolegate", bounds)),
        };
        stream.relation(RELATION, &[("id", true), ("name", false)]);
        stream
    }

    fn send(&mut self, bytes: &[u8]) -> Result<Option<Commit>, AssemblyError> {
        let message = Message::decode(bytes).expect("a message");
        self.assembler.as_mut().expect("there").take(&message)
    }

    fn begin(&mut self, xid: u32) -> Result<Option<Commit>, AssemblyError> {
        self.lsn += 100;
        let mut bytes = vec![b'B'];
        bytes.extend(self.lsn.to_be_bytes());
        bytes.extend(0_i64.to_be_bytes());
        bytes.extend(xid.to_be_bytes());
        self.send(&bytes)
    }

    fn commit(&mut self) -> Result<Option<Commit>, AssemblyError> {
        let mut bytes = vec![b'C', 0];
        bytes.extend(self.lsn.to_be_bytes());
        bytes.extend((self.lsn + 40).to_be_bytes());
        bytes.extend(0_i64.to_be_bytes());
        self.send(&bytes)
    }

    fn ended(&mut self) -> Commit {
        self.commit().expect("in order").expect("an end")
    }

    fn relation(&mut self, oid: u32, columns: &[(&str, bool)]) {
        let mut bytes = vec![b'R'];
        bytes.extend(oid.to_be_bytes());
        bytes.extend(b"app\0t\0d");
        bytes.extend(u16::try_from(columns.len()).expect("few").to_be_bytes());
        for (name, key) in columns {
            bytes.push(u8::from(*key));
            bytes.extend(name.as_bytes());
            bytes.extend(b"\0\0\0\0\x19\xFF\xFF\xFF\xFF");
        }
        self.send(&bytes).expect("anywhere");
    }

    fn insert(&mut self, oid: u32, values: &[&str]) -> Result<Option<Commit>, AssemblyError> {
        let mut bytes = vec![b'I'];
        bytes.extend(oid.to_be_bytes());
        bytes.push(b'N');
        bytes.extend(u16::try_from(values.len()).expect("few").to_be_bytes());
        for value in values {
            bytes.push(b't');
            bytes.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
            bytes.extend(value.as_bytes());
        }
        self.send(&bytes)
    }

    fn message(&mut self, content: &str) {
        let mut bytes = vec![b'M', 1];
        bytes.extend(7_u64.to_be_bytes());
        bytes.extend(b"rolegate\0");
        bytes.extend(u32::try_from(content.len()).expect("short").to_be_bytes());
        bytes.extend(content.as_bytes());
        self.send(&bytes).expect("in a transaction");
    }

    fn head(&mut self, bytes: &[u8]) -> Result<(), AssemblyError> {
        self.assembler
            .as_mut()
            .expect("there")
            .take_head(Head(bytes))
    }
}

fn keys(commit: &Commit, relation: u32) -> Option<Vec<&str>> {
    let one = |Key(values): &'_ Key| values[0].is_some();
    match &commit.relations[&relation].keys {
        Keys::Exactly(keys) => {
            assert!(keys.iter().all(one));
            Some(keys.iter().filter_map(|key| key.0[0].as_deref()).collect())
        }
        Keys::All => None,
    }
}

#[test]
fn a_commit_says_who_and_what() {
    let mut stream = Stream::new(Bounds::default());
    stream.begin(0xFFFF_FFF0).expect("first");
    stream.insert(RELATION, &["1", "a"]).expect("inside");
    stream.insert(RELATION, &["1", "b"]).expect("inside");
    stream.message("a word");
    stream.message("waiter 5");
    let commit = stream.ended();
    // Nearer to the id that is known than the same lower half above it.
    assert_eq!(commit.xid, Xid(0x2_FFFF_FFF0));
    assert_eq!(commit.at.to_string(), "2000-01-01T00:00:00Z");
    assert_eq!(keys(&commit, RELATION), Some(vec!["1"]));
    assert_eq!(commit.relations[&RELATION].inserts, 2);
    assert_eq!(commit.messages, ["a word".into()]);
    assert!(!commit.is_empty());
    stream.begin(3).expect("after it");
    stream.message("waiter 6");
    let commit = stream.ended();
    assert_eq!(commit.xid, Xid(0x3_0000_0003));
    assert!(commit.is_empty());
}

#[test]
fn what_is_out_of_order_is_refused() {
    let mut stream = Stream::new(Bounds::default());
    assert_eq!(stream.commit(), Err(AssemblyError::Outside));
    assert_eq!(
        stream.insert(RELATION, &["1", "a"]),
        Err(AssemblyError::Outside)
    );
    stream.begin(1).expect("first");
    assert_eq!(stream.begin(2), Err(AssemblyError::Nested));
    assert!(matches!(
        stream.commit(),
        Err(AssemblyError::OtherCommit { .. })
    ));
    // Back to where it was: the same transaction a second time.
    stream.lsn -= 200;
    assert!(matches!(stream.begin(1), Err(AssemblyError::Order { .. })));
}

#[test]
fn a_million_rows_take_what_a_few_do() {
    let bounds = Bounds::default();
    let mut stream = Stream::new(bounds);
    stream.begin(1).expect("first");
    let mut most = 0;
    for number in 0..1_000_000_u32 {
        let id = number.to_string();
        stream.insert(RELATION, &[&id, "x"]).expect("inside");
        let open = stream.assembler.as_ref().expect("there").open.as_ref();
        most = most.max(open.expect("open").gathering.bytes());
    }
    let commit = stream.ended();
    assert_eq!(commit.relations[&RELATION].inserts, 1_000_000);
    assert_eq!(commit.relations[&RELATION].keys, Keys::All);
    assert!(most <= bounds.bytes, "{most} bytes");
    // As many as are told exactly.
    stream.begin(2).expect("after it");
    for number in 0..bounds.keys {
        stream
            .insert(RELATION, &[&number.to_string(), "x"])
            .expect("inside");
    }
    assert_eq!(
        keys(&stream.ended(), RELATION).map(|keys| keys.len()),
        Some(bounds.keys)
    );
}

#[test]
fn long_keys_and_many_relations_are_not_told_one_by_one() {
    let bounds = Bounds {
        relations: 3,
        key_bytes: 10,
        bytes: 1000,
        ..Bounds::default()
    };
    let mut stream = Stream::new(bounds);
    stream.begin(1).expect("first");
    stream
        .insert(RELATION, &["12345678901", "x"])
        .expect("inside");
    assert_eq!(keys(&stream.ended(), RELATION), None);
    // All keys together.
    stream.begin(2).expect("after it");
    stream.relation(RELATION + 1, &[("id", true)]);
    for number in 0..50 {
        stream
            .insert(
                RELATION + number % 2,
                &[&format!("{number:010}"), "x"][..(2 - number as usize % 2)],
            )
            .expect("inside");
    }
    let commit = stream.ended();
    assert!(commit.weight() < 2000);
    assert!(
        commit
            .relations
            .values()
            .any(|touched| touched.keys == Keys::All)
    );
    // More relations than are named.
    stream.begin(3).expect("after it");
    for number in 0..4 {
        stream
            .insert(RELATION + number, &["1", "x"])
            .expect("inside");
    }
    let commit = stream.ended();
    assert!(commit.everything);
    assert_eq!(commit.relations.len(), 3);
    // Our own messages.
    stream.begin(4).expect("after it");
    stream.message(&"x".repeat(2000));
    let commit = stream.ended();
    assert!(commit.everything && commit.messages.is_empty());
}

#[test]
fn a_relation_that_looks_different_is_redefined() {
    let mut stream = Stream::new(Bounds::default());
    stream.begin(1).expect("first");
    stream.insert(RELATION, &["1", "a"]).expect("inside");
    // Said again, as after any look at the catalog.
    stream.relation(RELATION, &[("id", true), ("name", false)]);
    stream.insert(RELATION, &["2", "b"]).expect("inside");
    let commit = stream.ended();
    assert!(!commit.relations[&RELATION].redefined);
    assert_eq!(keys(&commit, RELATION), Some(vec!["1", "2"]));
    stream.begin(2).expect("after it");
    stream.relation(RELATION, &[("id", true), ("name", false), ("more", false)]);
    stream.insert(RELATION, &["3", "c", "d"]).expect("inside");
    let commit = stream.ended();
    assert!(commit.relations[&RELATION].redefined);
    assert_eq!(keys(&commit, RELATION), None);
    // A row with fewer columns than its relation has no key.
    stream.begin(3).expect("after it");
    stream.insert(RELATION, &[]).expect("inside");
    assert_eq!(keys(&stream.ended(), RELATION), None);
}

#[test]
fn definitions_and_messages_of_ours() {
    let mut stream = Stream::new(Bounds::default());
    stream.begin(1).expect("first");
    stream.message("ddl 5 6");
    let commit = stream.ended();
    assert!(commit.relations[&5].redefined && commit.relations[&6].redefined);
    assert!(!commit.everything && commit.messages.is_empty());
    for text in ["ddl *", "ddl 5 x", "ddl 5 99999999999"] {
        stream.begin(2).expect("after it");
        stream.message(text);
        assert!(stream.ended().everything, "{text}");
    }
}

#[test]
fn of_what_is_too_long_the_relation_is_known() {
    let mut stream = Stream::new(Bounds::default());
    assert_eq!(stream.head(b"I\0\0\0\x05N"), Err(AssemblyError::Outside));
    stream.begin(1).expect("first");
    stream.head(b"U\0\0\0\x05N").expect("a row");
    stream
        .head(b"M\x01\0\0\0\0\0\0\0\0foreign\0")
        .expect("of somebody else");
    stream
        .head(b"M\0\0\0\0\0\0\0\0\0rolegate\0")
        .expect("outside of the transaction");
    let commit = stream.ended();
    assert_eq!(keys(&commit, 5), None);
    assert!(!commit.everything);
    for head in [b"T\0".as_slice(), b"M\x01\0\0\0\0\0\0\0\0rolegate\0"] {
        stream.begin(2).expect("after it");
        stream.head(head).expect("known");
        assert!(stream.ended().everything);
    }
    for head in [b"R\0\0\0\x05".as_slice(), b"", b"?", b"I\0\0", b"M\x01\0"] {
        assert_eq!(stream.head(head), Err(AssemblyError::TooLong));
    }
}
