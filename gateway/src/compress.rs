//! Compressed answers (gzip, RFC 1952).

use crate::{api::json_text, problem::Problem};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use std::io::Write;
use tokio::task::spawn_blocking;

/// Shorter answers are not worth it.
const MIN_LENGTH: usize = 1024;

/// Whether the client reads compressed answers.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_gzip = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            is_gzip && !refused
        })
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

/// An answer in JSON that may be large. `make` is called on a thread of its own.
pub(crate) async fn json<T: Serialize>(
    headers: &HeaderMap,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, Problem> {
    let is_accepted = is_accepted(headers);
    let making = spawn_blocking(move || {
        let text = serde_json::to_string(&make())?;
        let is_long = text.len() >= MIN_LENGTH;
        let compressed =
            (is_accepted && is_long).then(|| gzip(text.as_bytes(), Compression::fast()));
        Ok((text, compressed))
    });
    let made: Result<_, serde_json::Error> = making
        .await
        .map_err(|error| Problem::internal(error.to_string()))?;
    let (text, compressed) =
        made.map_err(|error| Problem::internal(format!("the answer is no JSON: {error}")))?;
    let mut response = json_text(StatusCode::OK, String::new());
    let answered = response.headers_mut();
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    // The length is that of the body to come.
    answered.remove(header::CONTENT_LENGTH);
    let body = match compressed {
        Some(compressed) => {
            mark(answered);
            Body::from(compressed)
        }
        None => Body::from(text),
    };
    *response.body_mut() = body;
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
