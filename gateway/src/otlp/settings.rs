//! What the environment says of the export, by the names of OpenTelemetry.

use hyper::header::{HeaderName, HeaderValue};
use pyroxene_common::{
    endpoint::Endpoint,
    tls::{KeyPairFiles, TlsClient},
};
use std::{path::PathBuf, time::Duration};

/// How often spans are sent, unless this variable says otherwise.
const INTERVAL_NAME: &str = "OTEL_BSP_SCHEDULE_DELAY";
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a message may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most attributes of this process that the environment may name.
const MAX_ATTRIBUTES: usize = 32;

/// Why spans are not exported although the environment asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanExportError(String);

impl std::fmt::Display for SpanExportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SpanExportError {}

/// Where spans go, and what is said of this process.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The collector.
    pub(super) endpoint: Endpoint,
    /// How its certificate is verified, unless the connection is in the clear.
    pub(super) tls: Option<TlsClient>,
    pub(super) path: String,
    /// Further headers, such as a key of the collector's.
    pub(super) headers: Vec<(String, String)>,
    /// The attributes of this process.
    pub(super) resource: Vec<(String, String)>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// Of traces that begin here, those whose lower half is not above this are recorded.
    pub(super) sampled_below: u64,
}

impl Settings {
    /// Reads them; `None` if spans are not to be exported.
    pub(super) fn read(
        service: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SpanExportError> {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none")
        {
            return Ok(None);
        }
        // The variable for traces alone has the whole address; the one for everything has what comes before.
        let endpoint = match set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            Some(endpoint) => endpoint,
            None => match set("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(endpoint) => format!("{}/v1/traces", endpoint.trim().trim_end_matches('/')),
                None => return Ok(None),
            },
        };
        // Those for traces alone come before those for everything.
        let option = |name: &str| {
            let of_traces = set(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            of_traces.or_else(|| set(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        if let Some(other) = option("PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
            return Err(SpanExportError(format!(
                "spans are exported by http/protobuf alone, and OTEL_EXPORTER_OTLP_PROTOCOL is '{other}'"
            )));
        }
        let (is_encrypted, endpoint, path) = split(endpoint.trim())?;
        let tls = match is_encrypted {
            true => Some(tls(option)?),
            false => None,
        };
        Ok(Some(Self {
            endpoint,
            tls,
            path,
            headers: checked_headers(&option("HEADERS").unwrap_or_default())?,
            interval: milliseconds(INTERVAL_NAME, set(INTERVAL_NAME), INTERVAL),
            timeout: milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", option("TIMEOUT"), TIMEOUT),
            resource: resource(service, set),
            sampled_below: sampled_below(
                set("OTEL_TRACES_SAMPLER").as_deref(),
                set("OTEL_TRACES_SAMPLER_ARG").as_deref(),
            ),
        }))
    }
}

/// Whether the connection is encrypted, where it leads, and the path, of an address.
fn split(address: &str) -> Result<(bool, Endpoint, String), SpanExportError> {
    let (is_encrypted, rest) = match (
        address.strip_prefix("http://"),
        address.strip_prefix("https://"),
    ) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => {
            return Err(SpanExportError(format!(
                "spans are exported to http:// and https:// alone, and the endpoint is {}",
                shown(address),
            )));
        }
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let endpoint = match (has_port, is_encrypted) {
        (true, _) => authority.parse(),
        (false, false) => format!("{authority}:80").parse(),
        (false, true) => format!("{authority}:443").parse(),
    };
    match endpoint {
        Ok(endpoint @ Endpoint::Tcp { .. }) if !authority.contains(['@', '?', '#']) => {
            Ok((is_encrypted, endpoint, path.to_owned()))
        }
        _ => Err(SpanExportError(format!(
            "the endpoint {} names no collector; a user and a secret belong in OTEL_EXPORTER_OTLP_HEADERS",
            shown(address)
        ))),
    }
}

/// How the collector is verified, and what is shown to it, by these variables.
fn tls(option: impl Fn(&str) -> Option<String>) -> Result<TlsClient, SpanExportError> {
    let Some(authorities) = option("CERTIFICATE").map(PathBuf::from) else {
        let missing = "https:// needs OTEL_EXPORTER_OTLP_CERTIFICATE, a file with the authorities to trust; those of \
                       the system are often in /etc/ssl/certs/ca-certificates.crt";
        return Err(SpanExportError(missing.to_owned()));
    };
    let own = match (option("CLIENT_CERTIFICATE"), option("CLIENT_KEY")) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(KeyPairFiles {
            certificate: certificate.into(),
            key: key.into(),
        }),
        _ => {
            let half = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY need each other";
            return Err(SpanExportError(half.to_owned()));
        }
    };
    TlsClient::of_http(authorities, own).map_err(|error| SpanExportError(error.to_string()))
}

/// A number of milliseconds.
fn milliseconds(name: &str, value: Option<String>, usual: Duration) -> Duration {
    let Some(value) = value else {
        return usual;
    };
    match value.trim().parse() {
        Ok(milliseconds) => Duration::from_millis(milliseconds),
        Err(_) => {
            cannot_read(name);
            usual
        }
    }
}

/// An endpoint without what may be secret: a user with a password, and what follows the host.
fn shown(endpoint: &str) -> String {
    let (scheme, rest) = match endpoint.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), endpoint),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("'{scheme}{host}'")
}

/// Says that the value of a variable is ignored.
fn cannot_read(variable: &str) {
    tracing::warn!(
        variable,
        "its value cannot be read, and what is usual counts"
    );
}

/// The headers, if all of them can be sent.
fn checked_headers(text: &str) -> Result<Vec<(String, String)>, SpanExportError> {
    let wrong = |what: &str| {
        Err(SpanExportError(format!(
            "OTEL_EXPORTER_OTLP_HEADERS must be NAME=VALUE,…, and {what}"
        )))
    };
    let mut parts = text.split(',').filter(|part| !part.trim().is_empty());
    if let Some(at) = parts.position(|part| !part.contains('=')) {
        return wrong(&format!("part {} has no '='", at + 1));
    }
    let headers = pairs(text);
    for (number, (name, value)) in (1..).zip(&headers) {
        if HeaderName::try_from(name).is_err() {
            return wrong(&format!("the name of header {number} is none"));
        }
        if HeaderValue::try_from(value).is_err() {
            return wrong(&format!("the value of '{name}' cannot be sent"));
        }
    }
    Ok(headers)
}

/// `key=value` pairs between commas.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .take(MAX_ATTRIBUTES)
        .map(|(key, value)| (key.trim().to_owned(), unescaped(value.trim())))
        .collect()
}

/// A value whose special characters are written as `%2C`.
fn unescaped(value: &str) -> String {
    let pair = format!("value={}", value.replace('+', "%2B"));
    let mut read = form_urlencoded::parse(pair.as_bytes());
    read.next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

/// What is said of this process.
fn resource(service: &str, set: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let attributes = set(ATTRIBUTES).unwrap_or_default();
    let mut resource = pairs(&attributes);
    if attributes
        .split(',')
        .any(|part| !part.contains('=') && !part.trim().is_empty())
    {
        cannot_read(ATTRIBUTES);
    }
    if let Some(name) = set("OTEL_SERVICE_NAME") {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    let mut usual = |key: &str, value: String| {
        if !resource.iter().any(|(known, _)| known == key) {
            resource.push((key.to_owned(), value));
        }
    };
    usual("service.name", service.to_owned());
    usual("service.version", env!("CARGO_PKG_VERSION").to_owned());
    usual("process.pid", std::process::id().to_string());
    usual("telemetry.sdk.name", "pyroxene".to_owned());
    usual("telemetry.sdk.language", "rust".to_owned());
    resource
}

/// The bound of the lower half of the ids of traces that are recorded if they begin here.
fn sampled_below(sampler: Option<&str>, argument: Option<&str>) -> u64 {
    match sampler {
        Some("always_off" | "parentbased_always_off") => 0,
        Some("traceidratio" | "parentbased_traceidratio") => {
            let ratio = argument.map(|text| text.trim().parse::<f64>());
            if matches!(&ratio, Some(read) if !read.as_ref().is_ok_and(|ratio| !ratio.is_nan())) {
                cannot_read("OTEL_TRACES_SAMPLER_ARG");
            }
            let ratio = ratio.and_then(Result::ok).filter(|ratio| !ratio.is_nan());
            // A number beyond the range ends at its bounds.
            (ratio.unwrap_or(1.0).clamp(0.0, 1.0) * u64::MAX as f64) as u64
        }
        None | Some("always_on" | "parentbased_always_on") => u64::MAX,
        Some(_) => {
            cannot_read("OTEL_TRACES_SAMPLER");
            u64::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, SpanExportError> {
        Settings::read("pyroxene", |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_exported_unless_the_environment_asks_for_it() {
        assert!(read(&[]).unwrap().is_none());
        let empty = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]);
        assert!(empty.unwrap().is_none());
        let off = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_SDK_DISABLED", "true"),
        ];
        assert!(read(&off).unwrap().is_none());
    }

    #[test]
    fn the_names_are_those_of_opentelemetry() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "key=a%20b, other=c"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=blue,service.name=x"),
            ("OTEL_SERVICE_NAME", "orders"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.endpoint.to_string(), "collector:4318");
        assert_eq!(settings.path, "/v1/traces");
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        assert_eq!(
            settings.headers,
            [("key", "a b"), ("other", "c")].map(owned)
        );
        assert_eq!(
            settings.resource[..2],
            [("team", "blue"), ("service.name", "orders")].map(owned)
        );
        assert_eq!(settings.interval, Duration::from_millis(50));
        assert_eq!(settings.sampled_below, u64::MAX);
        let whole = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]/t")]);
        let whole = whole.unwrap().unwrap();
        let address = whole.endpoint.to_string();
        assert_eq!((&*address, &*whole.path), ("[::1]:80", "/t"));
    }

    #[test]
    fn what_there_is_not_is_an_error_that_says_so() {
        let https = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318");
        let nowhere = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/ca.crt");
        let key = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/no/such.key");
        for (variables, why) in [
            (&[https][..], "needs OTEL_EXPORTER_OTLP_CERTIFICATE"),
            (&[https, nowhere], "cannot read /no/such/ca.crt"),
            (&[https, nowhere, key], "need each other"),
            (
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c")],
                "https:// alone",
            ),
        ] {
            let sentence = read(variables).unwrap_err().to_string();
            assert!(sentence.contains(why), "{sentence}");
        }
        let grpc = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ]);
        assert!(grpc.unwrap_err().to_string().contains("http/protobuf"));
    }

    #[test]
    fn a_secret_in_the_environment_is_in_no_sentence() {
        for endpoint in [
            "https://ana:hunter2@c:4318/v1?key=hunter2",
            "http://ana:hunter2@c:4318",
            "http:///hunter2",
            "ana:hunter2@c",
        ] {
            let error = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)]);
            let sentence = error.unwrap_err().to_string();
            assert!(!sentence.contains("hunter2"), "{sentence}");
        }
        for (headers, why) in [
            ("a=b,hunter2", "part 2"),
            ("hunter 2=x", "header 1"),
            ("key=hunter2%0a", "'key'"),
        ] {
            let error = read(&[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
                ("OTEL_EXPORTER_OTLP_HEADERS", headers),
            ]);
            let sentence = error.unwrap_err().to_string();
            assert!(sentence.contains(why), "{sentence}");
            assert!(!sentence.contains("hunter"), "{sentence}");
        }
    }

    #[test]
    fn a_ratio_is_a_part_of_all_ids() {
        let half = sampled_below(Some("traceidratio"), Some("0.5"));
        assert_eq!(half, 1 << 63);
        assert_eq!(sampled_below(Some("traceidratio"), Some("7")), u64::MAX);
        assert_eq!(sampled_below(Some("always_off"), None), 0);
    }
}
