//! The first check of every request. A browser is a hostile neighbour even on loopback: a page of another
//! origin can send requests to this port, and a foreign host name can be made to lead here. Both are refused
//! before anything else.

use crate::problem::{Problem, ProblemKind};
use axum::{
    Router,
    http::{
        HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
        header::{self, HOST, ORIGIN},
    },
    response::{IntoResponse, Response},
};
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The most headers of a request. In HTTP/2 a header can be one byte on the wire, and many more in memory.
const MAX_HEADER_COUNT: usize = 100;

/// The paths behind this check. It is no middleware of theirs: each of those costs a request two allocations and a
/// copy of what is behind it.
#[derive(Clone, Debug)]
pub(crate) struct GuardedRouter {
    router: TowerToHyperService<Router>,
    /// The names by which this server may be asked, besides addresses and `localhost`.
    hosts: Arc<[String]>,
}

impl GuardedRouter {
    pub(crate) fn new(router: Router, hosts: &[String]) -> Self {
        Self {
            router: TowerToHyperService::new(router),
            hosts: hosts.into(),
        }
    }

    /// Refuses foreign pages, and adds the headers that every answer has.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response {
        let mut response = match self.check(&request) {
            Ok(()) => match self.router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(problem) => problem.into_response(),
        };
        let headers = response.headers_mut();
        headers.reserve(HEADERS.len() + 1);
        for (name, value) in HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), Problem> {
        let headers = request.headers();
        check(&self.hosts, request.uri(), headers, request.version())
            .map_err(|detail| Problem::new(ProblemKind::Forbidden, detail))?;
        if headers.len() > MAX_HEADER_COUNT {
            let detail = format!("the request has more than {MAX_HEADER_COUNT} headers");
            return Err(Problem::bad_request(detail));
        }
        Ok(())
    }
}

/// Checks the `Host` and the `Origin` of a request.
fn check(names: &[String], uri: &Uri, headers: &HeaderMap, version: Version) -> Result<(), String> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Err("the request has two Host headers".to_owned()),
        // HTTP/2 sends the host as a part of the address.
        (Some(authority), None, None) => authority.as_str(),
        (_, Some(host), None) => host
            .to_str()
            .map_err(|_| "the Host header is not readable".to_owned())?,
        (None, None, None) if version == Version::HTTP_10 => "localhost",
        (None, None, None) => return Err("the request has no Host header".to_owned()),
    };
    if !is_own_name(names, host) {
        return Err(format!(
            "the host '{}' is not served here; --http-host NAME allows it",
            host.escape_debug()
        ));
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let from = origin.split_once("://").map(|(_, authority)| authority);
        if !from.is_some_and(|from| from.eq_ignore_ascii_case(host)) {
            return Err("a page of another origin may not use this server".to_owned());
        }
    }
    let fetch = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A link to the dashboard is a navigation; pictures and scripts of other pages are not.
    if fetch("sec-fetch-site") == Some("cross-site") && fetch("sec-fetch-mode") != Some("navigate")
    {
        return Err("a page of another site may not use this server".to_owned());
    }
    Ok(())
}

/// Whether a host, with or without its port, cannot be a foreign name that leads here.
fn is_own_name(names: &[String], host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map_or(rest, |(address, _)| address);
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || names.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let names = ["broker.example".to_owned()];
        check(&names, &Uri::from_static("/"), &headers, Version::HTTP_11).is_ok()
    }

    #[test]
    fn hosts_are_addresses_localhost_and_names_that_were_given() {
        for host in [
            "127.0.0.1:9090",
            "10.0.0.7",
            "[::1]:9090",
            "localhost:9090",
            "Broker.Example",
        ] {
            assert!(checked(host, None), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:9090", "", "[evil]"] {
            assert!(!checked(host, None), "{host}");
        }
    }

    #[test]
    fn an_origin_has_to_be_this_server() {
        assert!(checked("localhost:9090", Some("http://localhost:9090")));
        assert!(checked("broker.example", Some("https://broker.example")));
        for origin in [
            "http://evil.example",
            "http://localhost",
            "http://localhost:9091",
            "null",
        ] {
            assert!(!checked("localhost:9090", Some(origin)), "{origin}");
        }
    }
}
