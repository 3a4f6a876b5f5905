//! The little DER that certificates and public keys need: elements one after the other, lengths
//! checked.

/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `OBJECT IDENTIFIER`.
pub const OID: u8 = 0x06;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;

/// Reads one element with tag `tag` from the front of `input`: its content, and what follows it.
pub fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // Long form. Four length bytes are 4 GiB: more than anything read here.
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        (
            bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte)),
            rest,
        )
    };
    rest.split_at_checked(length)
}

/// The content of an element that must be all of `input`.
pub fn only(input: &[u8], tag: u8) -> Option<&[u8]> {
    let (content, rest) = element(input, tag)?;
    rest.is_empty().then_some(content)
}

/// An unsigned `INTEGER` without its leading zeros.
pub fn unsigned(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (content, rest) = element(input, INTEGER)?;
    if content.first()? & 0x80 != 0 {
        return None;
    }
    let zeros = content.iter().take_while(|byte| **byte == 0).count();
    Some((&content[zeros..], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_input_are_refused() {
        assert_eq!(element(&[0x30, 2, 1], SEQUENCE), None);
        assert_eq!(
            element(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1], SEQUENCE),
            None
        );
        assert_eq!(element(&[0x30, 0x85, 0, 0, 0, 0, 1, 1], SEQUENCE), None);
        assert_eq!(element(&[0x30, 0x80, 0, 0], SEQUENCE), None);
        assert_eq!(element(&[], SEQUENCE), None);
        assert_eq!(
            element(&[0x30, 0x81, 1, 7, 9], SEQUENCE),
            Some((&[7][..], &[9][..]))
        );
        assert_eq!(only(&[0x30, 1, 7, 9], SEQUENCE), None);
    }

    #[test]
    fn integers_are_unsigned() {
        assert_eq!(unsigned(&[2, 2, 0, 0x80]), Some((&[0x80][..], &[][..])));
        assert_eq!(unsigned(&[2, 1, 0x80]), None);
    }
}
