//! Bytes that no server sends.

use proptest::prelude::*;
use rolegate_replication::pgoutput::{Head, Message, Old, Tuple};
use rolegate_replication::{Assembler, Bounds, Keys, Xid};

use super::recorded::recordings;

/// Bounds so small that every one of them is met.
const SMALL: Bounds = Bounds {
    keys: 2,
    key_bytes: 8,
    bytes: 200,
    relations: 2,
    shapes: 3,
};

/// Reads everything that can be read of a message, and puts it together.
fn swallow(assembler: &mut Assembler, bytes: &[u8], bounds: &Bounds) {
    let _ = Head(bytes).subject();
    let Ok(message) = Message::decode(bytes) else {
        return;
    };
    let walk = |tuple: &Tuple<'_>| assert_eq!(tuple.values().count(), tuple.len());
    match &message {
        Message::Insert { new, .. } => walk(new),
        Message::Update { old, new, .. } => {
            walk(new);
            if let Some(Old::Key(row) | Old::Row(row)) = old {
                walk(row);
            }
        }
        Message::Relation(relation) => drop(relation.columns().count()),
        _ => {}
    }
    let Ok(Some(commit)) = assembler.take(&message) else {
        return;
    };
    assert!(commit.relations.len() <= bounds.relations);
    let mut kept = commit.messages.iter().map(|text| text.len()).sum::<usize>();
    for touched in commit.relations.values() {
        if let Keys::Exactly(keys) = &touched.keys {
            assert!(keys.len() <= bounds.keys);
            kept += keys
                .iter()
                .flat_map(|key| key.0.iter().flatten())
                .map(|v| v.len())
                .sum::<usize>();
        }
    }
    assert!(kept <= bounds.bytes, "{kept} bytes");
}

fn assembler(bounds: Bounds) -> Assembler {
    Assembler::new(Xid(700), "rolegate", bounds)
}

#[test]
fn every_beginning_of_a_message_is_refused() {
    for message in recordings().iter().flatten() {
        for end in 0..message.len() {
            assert!(Message::decode(&message[..end]).is_err());
            let _ = Head(&message[..end]).subject();
        }
        let more = [message.as_slice(), &[0]].concat();
        assert!(Message::decode(&more).is_err());
    }
}

#[test]
fn lengths_that_lie_cost_nothing() {
    for bytes in [
        // A value, a message and a list of relations of 2 GB, and of less than nothing.
        b"I\0\0\0\x01N\0\x01t\x7F\xFF\xFF\xFF".as_slice(),
        b"I\0\0\0\x01N\0\x01t\xFF\xFF\xFF\xFF",
        b"M\x01\0\0\0\0\0\0\0\0x\0\x7F\xFF\xFF\xFF",
        b"M\x01\0\0\0\0\0\0\0\0x\0\xFF\xFF\xFF\xFF",
        b"T\x7F\xFF\xFF\xFF\0",
        b"T\xFF\xFF\xFF\xFF\0",
        // 65,535 columns.
        b"R\0\0\0\x01s\0n\0d\xFF\xFF",
        b"I\0\0\0\x01N\xFF\xFF",
    ] {
        assert!(Message::decode(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn small_bounds_hold_for_the_recorded_streams() {
    for recording in recordings() {
        let mut assembler = assembler(SMALL);
        for message in &recording {
            swallow(&mut assembler, message, &SMALL);
        }
    }
}

/// A change of a recorded stream.
#[derive(Debug, Clone)]
enum Damage {
    Byte {
        message: usize,
        place: usize,
        to: u8,
    },
    Cut {
        message: usize,
        at: usize,
    },
    Swap(usize, usize),
    Remove(usize),
    Twice(usize),
    Splice {
        message: usize,
        at: usize,
        bytes: Vec<u8>,
    },
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<usize>;
    prop_oneof![
        (place(), place(), any::<u8>()).prop_map(|(message, place, to)| Damage::Byte {
            message,
            place,
            to
        }),
        (place(), place()).prop_map(|(message, at)| Damage::Cut { message, at }),
        (place(), place()).prop_map(|(a, b)| Damage::Swap(a, b)),
        place().prop_map(Damage::Remove),
        place().prop_map(Damage::Twice),
        (
            place(),
            place(),
            proptest::collection::vec(any::<u8>(), 1..8)
        )
            .prop_map(|(message, at, bytes)| Damage::Splice { message, at, bytes }),
    ]
}

fn apply(stream: &mut Vec<Vec<u8>>, damage: &Damage) {
    let number = stream.len();
    if number == 0 {
        return;
    }
    match damage {
        Damage::Byte { message, place, to } => {
            let message = &mut stream[message % number];
            let length = message.len();
            if length > 0 {
                message[place % length] = *to;
            }
        }
        Damage::Cut { message, at } => {
            let message = &mut stream[message % number];
            message.truncate(at % (message.len() + 1));
        }
        Damage::Swap(a, b) => stream.swap(a % number, b % number),
        Damage::Remove(message) => drop(stream.remove(message % number)),
        Damage::Twice(message) => {
            let again = stream[message % number].clone();
            stream.insert(message % number, again);
        }
        Damage::Splice { message, at, bytes } => {
            let message = &mut stream[message % number];
            let at = at % (message.len() + 1);
            message.splice(at..at, bytes.iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_streams_are_refused_or_stay_in_bounds(
        newer in any::<bool>(),
        damages in proptest::collection::vec(damage(), 1..12),
    ) {
        let mut stream = recordings()[usize::from(newer)].clone();
        for damage in &damages {
            apply(&mut stream, damage);
        }
        let mut assembler = assembler(SMALL);
        for message in &stream {
            swallow(&mut assembler, message, &SMALL);
        }
    }

    #[test]
    fn noise_is_refused_or_stays_in_bounds(
        kind in prop::sample::select(b"BCORYIUDTM".to_vec()),
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut assembler = assembler(SMALL);
        swallow(&mut assembler, &rest, &SMALL);
        let bytes = [&[kind], rest.as_slice()].concat();
        swallow(&mut assembler, &bytes, &SMALL);
    }
}
