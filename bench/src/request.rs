//! The one request that is sent over and over.

use std::net::SocketAddr;

/// A request as bytes, and how to tell a good answer.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where to send it.
    pub address: SocketAddr,
    /// Head and body, written with one system call.
    pub bytes: Vec<u8>,
    /// Status of a good answer.
    pub status: u16,
    /// What its body contains ...
    pub marker: Vec<u8>,
    /// ... at least this many times.
    pub marker_count: usize,
}

impl Request {
    /// A `POST` of JSON.
    pub fn post(
        address: SocketAddr,
        path: &str,
        headers: &[String],
        body: &[u8],
        marker: &str,
        marker_count: usize,
    ) -> Self {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Self {
            address,
            bytes,
            status: 200,
            marker: marker.as_bytes().to_vec(),
            marker_count,
        }
    }

    /// A `GET`.
    pub fn get(
        address: SocketAddr,
        path: &str,
        headers: &[String],
        marker: &str,
        marker_count: usize,
    ) -> Self {
        let mut head =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        Self {
            address,
            bytes: head.into_bytes(),
            status: 200,
            marker: marker.as_bytes().to_vec(),
            marker_count,
        }
    }

    /// Whether the body is the answer that was asked for.
    pub fn accepts(&self, body: &[u8]) -> bool {
        memchr::memmem::find_iter(body, &self.marker)
            .take(self.marker_count)
            .count()
            >= self.marker_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(marker_count: usize) -> Request {
        let address = "127.0.0.1:80".parse().expect("an address");
        Request::post(
            address,
            "/x",
            &["authorization: Bearer t".to_owned()],
            b"{}",
            "m!",
            marker_count,
        )
    }

    #[test]
    fn a_request_is_complete_http() {
        let text = String::from_utf8(request(1).bytes).expect("text");
        assert!(
            text.starts_with("POST /x HTTP/1.1\r\nhost: 127.0.0.1:80\r\n"),
            "{text}"
        );
        assert!(
            text.ends_with("content-length: 2\r\nauthorization: Bearer t\r\n\r\n{}"),
            "{text}"
        );
    }

    #[test]
    fn a_body_with_too_few_markers_is_not_accepted() {
        assert!(request(1).accepts(b"a m! b"));
        assert!(!request(1).accepts(b"a m b"));
        assert!(request(2).accepts(b"m!m!"));
        assert!(!request(2).accepts(b"m!"));
    }
}
