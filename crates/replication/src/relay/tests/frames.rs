//! Bytes that are no message, and messages that are too long.

use proptest::prelude::*;

use super::super::message::{Question, Told};
use super::*;

fn bytes_of(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(frame::write(&mut bytes, answer));
    bytes
}

fn read(mut bytes: &[u8], most: usize) -> Result<Answer, Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(frame::read(&mut bytes, most))
}

fn told(number: u64) -> Answer {
    Answer::Commit {
        next: number,
        commit: Told::from(&commit(number)),
    }
}

#[test]
fn a_message_comes_out_as_it_went_in() {
    for answer in [
        told(6),
        Answer::Welcome {
            resumed: true,
            place: Place {
                feed: "x".to_owned(),
                next: u64::MAX,
            },
            epoch: "e".to_owned(),
            passed: Lsn(u64::MAX),
        },
        Answer::Passed { lsn: Lsn(3) },
        Answer::Alive {
            lag: u64::MAX,
            behind: 1,
        },
    ] {
        let bytes = bytes_of(&answer);
        assert_eq!(read(&bytes, ANSWER_BYTES).expect("a message"), answer);
        // All of it or nothing.
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end], ANSWER_BYTES).is_err());
        }
        assert!(matches!(read(&bytes, bytes.len() - 5), Err(Ended::TooLong)));
    }
}

#[test]
fn what_is_too_long_is_told_as_everything() {
    let mut long = commit(1);
    long.messages = vec!["\u{1}".repeat(2 * 1024 * 1024).into()];
    let mut bytes = Vec::new();
    let answer = Answer::Commit {
        next: 1,
        commit: Told::from(&long),
    };
    assert!(!frame::write(&mut bytes, &answer));
    assert!(bytes.is_empty());
    let commit = Commit::from(Told::of_everything(&long));
    assert!(commit.everything && commit.relations.is_empty());
    assert_eq!((commit.end_lsn, commit.xid), (long.end_lsn, long.xid));
}

#[test]
fn another_question_is_none() {
    for text in [
        "{}",
        "[]",
        "\"hello\"",
        r#"{"hello":{"protocol":1,"secret":"","resume":null,"more":1}}"#,
        r#"{"ask":{"lsn":1}}"#,
        r#"{"ask":{"lsn":"0/1"},"alive":null}"#,
    ] {
        assert!(serde_json::from_str::<Question>(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn damage_is_refused_or_harmless(place in 0_usize..600, bit in 0_u8..8, number in 1_u64..9) {
        let mut bytes = bytes_of(&told(number));
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        // Never a panic, and never more than is there.
        let _ = read(&bytes, ANSWER_BYTES);
        prop_assert!(read(&bytes, 16).is_err());
    }

    #[test]
    fn noise_is_no_message(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes, ANSWER_BYTES).is_err());
    }
}
