//! Kept answers in the form that a client takes: compressed once, not for each who asks.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Empty, Full};
use rolegate_query::cache::{Coding, Entry, Form};
use tower::{Layer as _, Service as _, service_fn};
use tower_http::compression::CompressionLayer;

/// The bytes to send to who sent these headers, and how they are coded. `None`: as they are. What is small is
/// compressed for each, like all other answers.
pub(crate) async fn body(entry: &Arc<Entry>, headers: &HeaderMap) -> (Bytes, Option<Coding>) {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let Some(coding) = entry
        .is_packable()
        .then(|| Coding::accepted(accepted))
        .flatten()
    else {
        return (entry.body.clone(), None);
    };
    if entry.packed(coding).is_none() {
        let entry = Arc::clone(entry);
        // Megabytes take longer than other requests should wait.
        let packing = tokio::task::spawn_blocking(move || {
            if let Some(bytes) = pack(coding, entry.body.clone()) {
                entry.put_packed(coding, bytes);
            }
        });
        if let Err(error) = packing.await {
            tracing::error!(%error, "answer_not_packed");
        }
    }
    match entry.packed(coding) {
        Some(Form::Kept(bytes)) => (bytes.clone(), Some(coding)),
        _ => (entry.body.clone(), None),
    }
}

/// By the layer that compresses everything else, so that there is one way to do it.
fn pack(coding: Coding, body: Bytes) -> Option<Bytes> {
    let mut request = Request::new(Empty::<Bytes>::new());
    let wanted = HeaderValue::from_static(coding.as_str());
    request
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, wanted);
    let mut layer = CompressionLayer::new().layer(service_fn(move |_: Request<Empty<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(Full::new(body.clone()))))
    }));
    // Nothing in it waits for anything.
    let response = layer.call(request).now_or_never()?.ok()?;
    let done = response.headers().get(header::CONTENT_ENCODING)?;
    if done != coding.as_str() {
        return None;
    }
    let packed = response.into_body().collect().now_or_never()?.ok()?;
    Some(packed.to_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn every_coding_says_the_same_in_less() {
        let body = Bytes::from("0123456789".repeat(100_000));
        for coding in Coding::ALL {
            let packed = pack(coding, body.clone()).expect("it can be packed");
            assert!(packed.len() < body.len() / 10, "{coding:?}");
            let mut plain = Vec::new();
            let read = match coding {
                Coding::Zstd => zstd::Decoder::new(&packed[..])
                    .expect("a decoder")
                    .read_to_end(&mut plain),
                Coding::Brotli => {
                    brotli::Decompressor::new(&packed[..], 4096).read_to_end(&mut plain)
                }
                Coding::Gzip => flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut plain),
            };
            assert_eq!(read.expect("it is whole"), body.len(), "{coding:?}");
            assert_eq!(plain, body);
        }
    }
}
