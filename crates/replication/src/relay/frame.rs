//! Messages as bytes: four of their length, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{ANSWER_BYTES, Ended};

/// Appends a message. False: it is longer than anybody takes, and was left out.
pub(super) fn write<T: Serialize>(into: &mut Vec<u8>, message: &T) -> bool {
    let start = into.len();
    into.extend([0; 4]);
    // Nothing in a message has keys that are no text, and a Vec takes everything.
    let written = serde_json::to_writer(&mut *into, message).is_ok();
    let length = into.len() - start - 4;
    match u32::try_from(length) {
        Ok(bytes) if written && length <= ANSWER_BYTES => {
            into[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
            true
        }
        _ => {
            into.truncate(start);
            false
        }
    }
}

/// The next message of at most `most` bytes. Not cancel safe.
pub(super) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> Result<T, Ended> {
    let length = from.read_u32().await?;
    let length = usize::try_from(length).map_err(|_| Ended::TooLong)?;
    if length > most {
        return Err(Ended::TooLong);
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    serde_json::from_slice(&bytes).map_err(|_| Ended::Senseless("a message that is none"))
}
