//! Compressed answers (gzip, RFC 1952).

use crate::{accept, api::json_text, caller::Principal, problem::Problem};
use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use pyroxene_common::offload::offload;
use serde::Serialize;
use std::io::Write;

/// Shorter answers are not worth it.
const MIN_LENGTH: usize = 1024;

/// Whether the client reads compressed answers.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    accept::names(headers, header::ACCEPT_ENCODING, "gzip")
}

/// The compressed content.
pub(crate) fn gzip(content: &[u8], level: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // Writing to memory does not fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default().into()
}

/// Says that the body of an answer is compressed.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

/// An answer in JSON that may be large. `make` is called outside the runtime's threads, in turns of the callers.
pub(crate) async fn json<T: Serialize>(
    headers: &HeaderMap,
    caller: &Principal,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Problem> {
    let is_accepted = is_accepted(headers);
    let making = offload(caller.turn_name(), move || {
        let text = serde_json::to_string(&make())?;
        Ok(match is_accepted && text.len() >= MIN_LENGTH {
            true => (gzip(text.as_bytes(), Compression::fast()), true),
            false => (text.into(), false),
        })
    });
    let made: Result<_, serde_json::Error> = making
        .await
        .map_err(|error| Problem::internal(error.to_string()))?;
    let (body, is_compressed) =
        made.map_err(|error| Problem::internal(format!("the answer is no JSON: {error}")))?;
    let mut response = json_text(StatusCode::OK, body);
    let answered = response.headers_mut();
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_compressed {
        mark(answered);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_if_the_client_names_it() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            is_accepted(&headers)
        };
        assert!(accepts("br, GZIP;q=0.5"));
        for refused in ["identity", "gzip;q=0", "x-gzipped"] {
            assert!(!accepts(refused), "{refused}");
        }
    }
}
