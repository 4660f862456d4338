//! Which variables of OpenTelemetry have an effect here.

/// The most variables that are named.
const MAX_NAMED: usize = 32;

/// Those that have one: with any value, or with these alone. Those of the exporter may be for traces alone too.
const KNOWN: [(&str, &[&str]); 15] = [
    ("OTEL_BSP_SCHEDULE_DELAY", &[]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", &[]),
    ("OTEL_EXPORTER_OTLP_HEADERS", &[]),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", &[]),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", &[]),
    ("OTEL_LOGS_EXPORTER", &["none"]),
    ("OTEL_METRICS_EXPORTER", &["none"]),
    // What libraries take where it is not set. Nothing passes baggage on here, and nobody has asked for it then.
    (
        "OTEL_PROPAGATORS",
        &["tracecontext", "tracecontext,baggage"],
    ),
    ("OTEL_RESOURCE_ATTRIBUTES", &[]),
    ("OTEL_SDK_DISABLED", &[]),
    ("OTEL_SERVICE_NAME", &[]),
    ("OTEL_TRACES_EXPORTER", &["otlp", "none"]),
    ("OTEL_TRACES_SAMPLER", &[]),
    ("OTEL_TRACES_SAMPLER_ARG", &[]),
];

/// Those that have one where the connection is encrypted.
const KNOWN_WITH_TLS: [(&str, &[&str]); 3] = [
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", &[]),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &[]),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &[]),
];

/// The names of those that are set and have no effect.
pub(super) fn without_effect(
    variables: impl IntoIterator<Item = (String, String)>,
    is_encrypted: bool,
) -> Vec<String> {
    let with_tls = KNOWN_WITH_TLS.iter().filter(|_| is_encrypted);
    let known: Vec<_> = KNOWN.iter().chain(with_tls).collect();
    let has_effect = |name: &str, value: &str| {
        let general = name.replacen("OTLP_TRACES_", "OTLP_", 1);
        let mut known = known.iter().filter(|(known, _)| *known == general);
        known.any(|(_, values)| values.is_empty() || values.contains(&value))
    };
    let set = variables
        .into_iter()
        .filter(|(name, value)| name.starts_with("OTEL_") && !value.trim().is_empty());
    let mut names: Vec<_> = set
        .filter(|(name, value)| !has_effect(name, value.trim()))
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names.truncate(MAX_NAMED);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_without_effect_are_named() {
        let set = [
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "ca.crt"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_PROPAGATORS", " tracecontext,baggage "),
            ("OTEL_EMPTY", ""),
            ("PATH", "/bin"),
        ];
        let named = |is_encrypted| {
            let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
            without_effect(set, is_encrypted)
        };
        let both = ["OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_EXPORTER_OTLP_COMPRESSION"];
        assert_eq!(named(true), both);
        let certificate = "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE";
        assert_eq!(named(false), [both[0], both[1], certificate]);
    }
}
