//! What a client reads, by its headers `accept` and `accept-encoding` (RFC 9110, section 12.5).

use axum::http::{HeaderMap, HeaderName};

/// Whether a header of that kind names something, with a weight above zero.
pub(crate) fn names(headers: &HeaderMap, header: HeaderName, wanted: &str) -> bool {
    headers
        .get_all(header)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| {
            let mut parts = listed.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let mut weights = parts.filter_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            name.eq_ignore_ascii_case(wanted) && !weights.any(|weight| weight <= 0.0)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, header};

    #[test]
    fn a_weight_of_zero_refuses() {
        let reads = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(value));
            names(&headers, header::ACCEPT, "a/b")
        };
        for read in ["a/b", "c/d, A/B;q=0.05", "a/b;version=1;q=1"] {
            assert!(reads(read), "{read}");
        }
        for refused in ["*/*", "a/b;q=0", "a/b; q=0.000", "a/bc"] {
            assert!(!reads(refused), "{refused}");
        }
    }
}
