//! What is held of an answer, and what is known when a connection breaks.

use bytes::{BufMut as _, BytesMut};
use tokio::time::Instant;

use super::*;
use crate::session::Limits;

const STEPS: [Step; 5] = [
    Step::Begin,
    Step::Settings,
    Step::Call(0),
    Step::Check,
    Step::End,
];

fn answer(max_bytes: u64, steps: &[Step]) -> Answer {
    let limits = Limits {
        deadline: Instant::now(),
        max_rows: u64::MAX,
        max_bytes,
    };
    let mut segment = Segment::default();
    segment.steps = steps.to_vec();
    let mut answer = Answer::new(limits, false);
    answer.expect(segment, 1);
    answer
}

fn message(tag: u8, body: &[u8]) -> Incoming {
    let mut bytes = BytesMut::new();
    bytes.put_u8(tag);
    bytes.put_u32(u32::try_from(body.len() + 4).expect("short"));
    bytes.put_slice(body);
    let parsed = Message::parse(&mut bytes).expect("a message");
    Incoming::Message(parsed.expect("a whole message"))
}

fn take(answer: &mut Answer, tag: u8, body: &[u8]) -> io::Result<Option<u8>> {
    answer.first_segment(message(tag, body), &mut Names::default(), None)
}

fn error(severity: &str, code: &str) -> Vec<u8> {
    format!("S{severity}\0V{severity}\0C{code}\0Mtext\0\0").into_bytes()
}

/// Bytes of the rows that are kept, the empty room for more among them.
fn held(answer: &Answer) -> u64 {
    let values = &answer.reply.results[0].values;
    let text: usize = values.iter().flatten().map(|text| 4 + text.len()).sum();
    let nulls = values.iter().filter(|value| value.is_none()).count();
    (text + 4 * nulls) as u64 + values.capacity() as u64 * VALUE_BYTES
}

/// A row of columns that are all the same.
fn row(columns: u16, value: Option<&str>) -> Vec<u8> {
    let mut row = columns.to_be_bytes().to_vec();
    for _ in 0..columns {
        match value {
            None => row.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                row.extend(i32::try_from(text.len()).expect("short").to_be_bytes());
                row.extend(text.as_bytes());
            }
        }
    }
    row
}

#[tokio::test]
async fn no_more_is_held_than_the_bound_allows() {
    const MOST: u64 = 100_000;
    let long = "x".repeat(1000);
    for (columns, values) in [
        (1, [None, None]),
        (7, [None, None]),
        (500, [None, None]),
        (1, [Some("12"), Some("12")]),
        // Many small ones make room for as many, and then there are large ones.
        (1, [None, Some(&*long)]),
    ] {
        let mut answer = answer(MOST, &[Step::Call(0)]);
        let mut rows = 0;
        while !answer.is_interrupted() {
            let value = values[usize::from(held(&answer) > MOST / 2)];
            take(&mut answer, b'D', &row(columns, value)).expect("a row");
            assert!(held(&answer) <= MOST, "{columns}: {} bytes", held(&answer));
            rows += 1;
            assert!(rows < 100_000, "no bound for {columns} columns");
        }
        // The bound is used: half of it would be a bound of another size.
        assert!(held(&answer) > MOST / 2, "{columns}: {}", held(&answer));
    }
}

#[tokio::test]
async fn a_session_that_was_ended_before_the_check_committed_nothing() {
    for (severity, code, done, certain) in [
        ("FATAL", "57P01", 1, true),
        ("FATAL", "57P01", 2, true),
        // The call is over, the check is not.
        ("FATAL", "57P01", 3, true),
        // The commit may have been written.
        ("FATAL", "57P01", 4, false),
        ("FATAL", "57P01", 5, false),
        ("FATAL", "25P04", 3, true),
        // A crash, and what a pooler says of a connection it lost.
        ("PANIC", "57P01", 2, false),
        ("FATAL", "08P01", 2, false),
        ("FATAL", "58000", 2, false),
    ] {
        let mut answer = answer(1000, &STEPS);
        for _ in 0..done {
            take(&mut answer, b'2', b"").expect("a bind");
            take(&mut answer, b'C', b"SELECT 1\0").expect("a completion");
        }
        let end = take(&mut answer, b'E', &error(severity, code)).expect_err("the end");
        let known = answer.broken(end);
        let what = format!("{severity} {code} after {done}: {known:?}");
        match known {
            SessionError::Ended { error } => assert!(certain && error.code == code, "{what}"),
            SessionError::Lost {
                nothing_ran: false, ..
            } => assert!(!certain, "{what}"),
            _ => panic!("{what}"),
        }
    }
}

#[tokio::test]
async fn before_the_last_statement_is_sent_there_is_nothing_to_commit() {
    // The calls are over and the check is not yet sent.
    let mut answer = answer(1000, &STEPS[..3]);
    for _ in 0..3 {
        take(&mut answer, b'C', b"SELECT 1\0").expect("a completion");
    }
    take(&mut answer, b'2', b"").expect("a bind");
    let end = take(&mut answer, b'E', &error("FATAL", "57P01")).expect_err("the end");
    let known = answer.broken(end);
    assert!(matches!(known, SessionError::Ended { .. }), "{known:?}");
}

#[tokio::test]
async fn what_failed_before_the_connection_broke_is_the_answer() {
    let broken = |severity: &str| {
        let mut answer = answer(1000, &STEPS);
        for _ in 0..2 {
            take(&mut answer, b'2', b"").expect("a bind");
            take(&mut answer, b'C', b"SELECT 1\0").expect("a completion");
        }
        take(&mut answer, b'E', &error(severity, "23505")).expect("an error");
        answer.broken(io::ErrorKind::UnexpectedEof.into())
    };
    let known = broken("ERROR");
    assert!(
        matches!(&known, SessionError::Database { statement: Some(0), error, .. }
            if error.code == "23505"),
        "{known:?}"
    );
    // Nothing that PostgreSQL says: somebody in between.
    let unknown = broken("");
    assert!(
        matches!(
            unknown,
            SessionError::Lost {
                nothing_ran: false,
                ..
            }
        ),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_cancelled_check_is_no_change_of_identity() {
    for (code, says) in [
        ("22P02", "identity"),
        ("22007", "25006"),
        ("57014", "57014"),
    ] {
        let mut answer = answer(1000, &[Step::Check]);
        take(&mut answer, b'E', &error("ERROR", code)).expect("an error that is understood");
        let said = match answer.outcome() {
            Err(SessionError::IdentityChanged) => "identity".to_owned(),
            Err(SessionError::Database { error, .. }) => error.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(said, says, "{code}");
    }
}
