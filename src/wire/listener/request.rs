//! What holds for every request before and after the router: header limit (431), deadline (408, 503), what the connection knew.
//!
//! Never reads a header's value, and so no forwarded address or certificate (SCA-28).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::{Frame, Incoming, SizeHint};
use tower::ServiceExt as _;

use super::ConnectionInfo;
use super::activity::{AnswerBody, Running};
use super::limits::Limits;

/// RFC 9113 §6.5.2: what each header field costs beside its name and value.
const FIELD_OVERHEAD: usize = 32;

/// After how many seconds a client may ask again when an answer took us too long.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Answers one request within its limits.
pub(super) async fn answer(
    request: Request<Incoming>,
    info: ConnectionInfo,
    router: Router,
    limits: Arc<Limits>,
    running: Running,
) -> Response<AnswerBody> {
    let version = request.version();
    let answer = if header_fits(&request, &limits) {
        in_time(request, info, router, &limits).await
    } else {
        refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, version)
    };
    answer.map(|body| AnswerBody::new(body, running))
}

fn header_fits<B>(request: &Request<B>, limits: &Limits) -> bool {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    let fields = request.headers();
    let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum::<usize>();
    fields.len() <= limits.header_fields
        && u32::try_from(target + bytes).is_ok_and(|bytes| bytes <= limits.header_bytes)
}

async fn in_time(request: Request<Incoming>, info: ConnectionInfo, router: Router, limits: &Limits) -> Response<Body> {
    let version = request.version();
    let arrived = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let mut request = request.map(|body| Body::new(RequestBody { body, arrived: Arc::clone(&arrived) }));
    request.extensions_mut().insert(info);
    match tokio::time::timeout(limits.request, router.oneshot(request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        // Ours is never blamed on the caller: 408 only while its request was still coming.
        Err(_elapsed) if arrived.load(Ordering::Relaxed) => refusal(StatusCode::SERVICE_UNAVAILABLE, version),
        Err(_elapsed) => refusal(StatusCode::REQUEST_TIMEOUT, version),
    }
}

/// An answer that no endpoint made.
fn refusal(status: StatusCode, version: Version) -> Response<Body> {
    let text = match status {
        StatusCode::REQUEST_TIMEOUT => {
            r#"{"error":"invalid_request","error_description":"the request did not arrive in time"}"#
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            r#"{"error":"invalid_request","error_description":"the header of the request is too large"}"#
        }
        _ => r#"{"error":"temporarily_unavailable","error_description":"no answer was ready in time"}"#,
    };
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    // RFC 9113 §8.2.2: HTTP/2 has no such field; there only the stream ends.
    if version < Version::HTTP_2 {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A request's body, which tells when it has arrived whole.
#[derive(Debug)]
struct RequestBody {
    body: Incoming,
    arrived: Arc<AtomicBool>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.arrived.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
