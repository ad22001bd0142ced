//! How answers look on the wire: frames, and a status in the trailers.
//!
//! Nothing but an exchange's own message carries a token (GRP-09).

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::stream::{self, Stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use prost::Message;
use tonic::Status;

use crate::wire::render::DPOP_NONCE;

/// Frames of an answer; they cannot fail.
pub(super) type Framed = Result<Frame<Bytes>, std::convert::Infallible>;

/// One message and the status OK.
pub(super) fn answered(message: &impl Message) -> Response {
    streamed(stream::iter([data(message), trailers(&Status::ok(""))]))
}

/// The same, with the nonce for the next proof where there is another one (RFC 9449 §8.2).
pub(super) fn answered_with(message: &impl Message, nonce: Option<&str>) -> Response {
    let mut answer = answered(message);
    if let Some(Ok(value)) = nonce.map(HeaderValue::from_str) {
        answer.headers_mut().insert(HeaderName::from_static(DPOP_NONCE), value);
    }
    answer
}

/// A status and nothing else.
pub(super) fn failed(status: &Status) -> Response {
    status.clone().into_http()
}

/// Frames as they come. The last one is that of `trailers`.
pub(super) fn streamed(frames: impl Stream<Item = Framed> + Send + 'static) -> Response {
    let body = Body::new(StreamBody::new(frames));
    debug_assert!(!body.is_end_stream(), "a stream ends with its trailers");
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

/// The frame of a message.
pub(super) fn data(message: &impl Message) -> Framed {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(encoded.len().saturating_add(5));
    frame.push(0);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&encoded);
    Ok(Frame::data(frame.into()))
}

/// The frame of the end.
pub(super) fn trailers(status: &Status) -> Framed {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("13"));
    }
    Ok(Frame::trailers(trailers))
}
