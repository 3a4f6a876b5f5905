//! Streams of real servers, recorded.

use super::description::describe;

const RECORDED_15: &str = include_str!("recorded/15.hex");
const RECORDED_18: &str = include_str!("recorded/18.hex");
/// What both mean.
const MEANING: &str = include_str!("recorded/meaning.txt");

/// The recorded messages of both versions.
pub(crate) fn recordings() -> [Vec<Vec<u8>>; 2] {
    [RECORDED_15, RECORDED_18].map(|text| text.lines().map(bytes).collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    pairs
        .iter()
        .map(|[high, low]| digit(*high) << 4 | digit(*low))
        .collect()
}

#[test]
fn recorded_streams_mean_what_the_statements_did() {
    for messages in recordings() {
        assert_eq!(describe(&messages), MEANING);
    }
}
