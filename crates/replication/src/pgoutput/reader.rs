//! Reading big-endian numbers and strings out of bytes, never past their end.

/// Not a message of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends where more has to come.
    #[error("the message ends too early")]
    Short,
    /// Something comes where it has to end.
    #[error("the message has {0} bytes too many")]
    Long(usize),
    /// A kind, flag or number that the protocol does not have.
    #[error("unexpected byte {found:#04x} where {place} is expected")]
    Unexpected {
        /// What should be there.
        place: &'static str,
        /// What is.
        found: u8,
    },
    /// A length below zero.
    #[error("a negative length")]
    Negative,
}

/// The rest of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A length of 32 bits.
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        usize::try_from(self.i32()?).map_err(|_| DecodeError::Negative)
    }

    /// Up to a zero byte.
    pub(super) fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let end = self.0.iter().position(|&byte| byte == 0);
        let text = self.take(end.ok_or(DecodeError::Short)?)?;
        self.byte()?;
        Ok(text)
    }

    pub(super) fn end(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            more => Err(DecodeError::Long(more)),
        }
    }
}
