//! Where a response ends, and what it says.

use thiserror::Error;

/// Why bytes are not a response that this load generator can read.
#[derive(Debug, Error)]
pub enum ResponseError {
    /// Not HTTP.
    #[error("the answer is not HTTP/1.1")]
    Malformed(#[source] httparse::Error),
    /// Chunked, or until the end of the connection. No server under test answers like this; if
    /// one starts to, its figures would be of something else.
    #[error("the answer has no content-length")]
    NoLength,
}

/// A response whose bytes are all there.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Bytes of the head.
    pub head: usize,
    /// Bytes of the body, which follows the head.
    pub body: usize,
    /// The server closes the connection after it.
    pub closes: bool,
}

/// Reads the head of a response; `None` if more bytes are needed for head or body.
pub fn parse(bytes: &[u8]) -> Result<Option<Response>, ResponseError> {
    let mut headers = [httparse::EMPTY_HEADER; 48];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) =
        response.parse(bytes).map_err(ResponseError::Malformed)?
    else {
        return Ok(None);
    };
    let mut length = None;
    let mut closes = false;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value)
                .ok()
                .and_then(|text| text.parse().ok());
        } else if header.name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    let status = response.code.unwrap_or_default();
    let body = match length {
        Some(length) => length,
        None if status == 204 => 0,
        None => return Err(ResponseError::NoLength),
    };
    Ok((bytes.len() >= head + body).then_some(Response {
        status,
        head,
        body,
        closes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn a_response_is_whole_only_with_its_last_byte() {
        for end in 0..WHOLE.len() {
            assert_eq!(parse(&WHOLE[..end]).expect("a prefix"), None, "{end}");
        }
        let response = parse(WHOLE).expect("HTTP").expect("whole");
        assert_eq!(
            (response.status, response.body, response.closes),
            (200, 3, false)
        );
        assert_eq!(&WHOLE[response.head..], b"abc");
    }

    #[test]
    fn what_cannot_be_measured_is_an_error() {
        assert!(matches!(
            parse(b"SMTP\r\n\r\n"),
            Err(ResponseError::Malformed(_))
        ));
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        assert!(matches!(parse(chunked), Err(ResponseError::NoLength)));
    }

    #[test]
    fn closing_is_noticed() {
        let bytes = b"HTTP/1.1 503 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let response = parse(bytes).expect("HTTP").expect("whole");
        assert!(response.closes);
        assert_eq!(response.status, 503);
    }
}
