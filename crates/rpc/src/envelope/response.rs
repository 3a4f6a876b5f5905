//! Answers, written by hand so that results are copied once and unchanged.

use bytes::{BufMut, BytesMut};
use rolegate_model::ErrorCode;
use serde_json::value::RawValue;

/// The JSON-RPC number of a stable code.
pub const fn rpc_code(code: ErrorCode) -> i32 {
    match code {
        ErrorCode::ParseError => -32700,
        ErrorCode::InvalidRequest
        | ErrorCode::BatchTooLarge
        | ErrorCode::BodyTooLarge
        | ErrorCode::UnsupportedMediaType => -32600,
        ErrorCode::FunctionNotFound => -32601,
        ErrorCode::InvalidParams | ErrorCode::FunctionAmbiguous => -32602,
        ErrorCode::Internal => -32603,
        _ => -32000,
    }
}

/// An error object.
#[derive(Debug, Clone, Copy)]
pub struct RpcError<'a> {
    /// Number, see [`rpc_code`].
    pub code: i32,
    /// One sentence.
    pub message: &'a str,
    /// JSON text of `data`.
    pub data: Option<&'a RawValue>,
}

/// Appends `{"jsonrpc":"2.0","result":RESULT,"id":ID}`. `result` is JSON text and is copied as it
/// is; no id is written as null.
pub fn write_result(out: &mut BytesMut, id: Option<&RawValue>, result: &[u8]) {
    out.reserve(result.len() + 64);
    out.put_slice(b"{\"jsonrpc\":\"2.0\",\"result\":");
    out.put_slice(result);
    close(out, id);
}

/// Appends `{"jsonrpc":"2.0","error":{...},"id":ID}`.
pub fn write_error(out: &mut BytesMut, id: Option<&RawValue>, error: RpcError<'_>) {
    out.put_slice(b"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":");
    out.put_slice(error.code.to_string().as_bytes());
    out.put_slice(b",\"message\":");
    put_string(out, error.message);
    if let Some(data) = error.data {
        out.put_slice(b",\"data\":");
        out.put_slice(data.get().as_bytes());
    }
    out.put_u8(b'}');
    close(out, id);
}

fn close(out: &mut BytesMut, id: Option<&RawValue>) {
    out.put_slice(b",\"id\":");
    out.put_slice(id.map_or("null", RawValue::get).as_bytes());
    out.put_u8(b'}');
}

/// Appends a JSON string.
pub(crate) fn put_string(out: &mut BytesMut, text: &str) {
    let mut rest = text;
    out.put_u8(b'"');
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
        let (before, after) = rest.split_at(at);
        out.put_slice(before.as_bytes());
        // Only ASCII is escaped, so the first byte is the whole character.
        match after.as_bytes()[0] {
            b'"' => out.put_slice(b"\\\""),
            b'\\' => out.put_slice(b"\\\\"),
            b'\n' => out.put_slice(b"\\n"),
            b'\r' => out.put_slice(b"\\r"),
            b'\t' => out.put_slice(b"\\t"),
            control => out.put_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &after[1..];
    }
    out.put_slice(rest.as_bytes());
    out.put_u8(b'"');
}

/// Joins answers to the answer of a batch.
#[derive(Debug, Default)]
pub struct BatchWriter {
    out: BytesMut,
}

impl BatchWriter {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one answer.
    pub fn push(&mut self, answer: &[u8]) {
        self.out
            .put_u8(if self.out.is_empty() { b'[' } else { b',' });
        self.out.put_slice(answer);
    }

    /// The whole; `None` if nothing was added: a batch of notifications has no answer.
    pub fn finish(mut self) -> Option<BytesMut> {
        if self.out.is_empty() {
            return None;
        }
        self.out.put_u8(b']');
        Some(self.out)
    }
}
