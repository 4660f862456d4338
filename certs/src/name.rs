//! The names in certificates: names of holders, and names of the hosts that they serve on.

use crate::CertsError;
use rustls_pki_types::DnsName;
use std::{fmt, net::IpAddr, str::FromStr};

/// The maximum length of a common name (RFC 5280, appendix A.1, `ub-common-name`).
const MAX_NAME: usize = 64;

/// Refuses a name that no holder may have. The name is also a file name, and `ca` is the authority's.
pub(crate) fn check_name(name: &str) -> Result<(), CertsError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it has more than 64 characters"
    } else if !name.chars().all(is_name_character) {
        "only letters, digits, '.', '_' and '-' are allowed"
    } else if name.starts_with(['.', '-']) {
        "it starts with a dot or a hyphen"
    // Upper and lower case are the same here: some file systems do not distinguish CA.crt and ca.crt.
    } else if name.eq_ignore_ascii_case("ca") {
        "it is reserved for the authority's files"
    } else {
        return Ok(());
    };
    Err(CertsError::InvalidName {
        name: name.to_owned(),
        why,
    })
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&character)
}

/// A host that the holder of a certificate may serve on (a subject alternative name).
///
/// A text is parsed as an IP address if possible, otherwise as a DNS name.
///
/// ```
/// use pyroxene_certs::San;
///
/// assert_eq!("Broker.example".parse(), Ok(San::Dns("broker.example".to_owned())));
/// assert_eq!("::1".parse(), Ok(San::Ip("::1".parse().expect("an address"))));
/// assert!("*.example".parse::<San>().is_err(), "there are no wildcards");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum San {
    /// A DNS name in lower case, without a wildcard and without a final dot.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

/// A text that is neither a DNS name nor an IP address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is neither a DNS name nor an IP address")]
pub struct InvalidSan(String);

impl San {
    /// Parses a DNS name only.
    pub(crate) fn dns(text: &str) -> Option<Self> {
        // A name in a certificate is absolute, also without a final dot.
        let is_name = DnsName::try_from(text).is_ok() && !text.ends_with('.');
        is_name.then(|| Self::Dns(text.to_ascii_lowercase()))
    }

    /// Refuses a DNS name that the parser would refuse.
    pub(crate) fn check(&self) -> Result<(), InvalidSan> {
        match self {
            Self::Dns(name) if Self::dns(name).as_ref() != Some(self) => {
                Err(InvalidSan(name.clone()))
            }
            Self::Dns(_) | Self::Ip(_) => Ok(()),
        }
    }
}

impl FromStr for San {
    type Err = InvalidSan;

    fn from_str(text: &str) -> Result<Self, InvalidSan> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        Self::dns(text).ok_or_else(|| InvalidSan(text.to_owned()))
    }
}

impl fmt::Display for San {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => formatter.write_str(name),
            Self::Ip(address) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_file_names() {
        for name in ["w1", "Ada_Lovelace", "ns.example.com", "_x", "ca2", "1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(65);
        let bad = [
            "", ".", "..", ".x", "-x", "a/b", "../x", "a b", "a\nb", "a\0", "ca", "CA", "größe",
            &long,
        ];
        for name in bad {
            let error = check_name(name).unwrap_err();
            assert!(matches!(error, CertsError::InvalidName { .. }), "{name}");
        }
        assert!(check_name(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn hosts_are_dns_names_or_addresses() {
        let dns = |name: &str| Ok(San::Dns(name.to_owned()));
        assert_eq!("Host.Example.com".parse(), dns("host.example.com"));
        assert_eq!("w_1".parse(), dns("w_1"));
        assert_eq!("::1".parse(), Ok(San::Ip("::1".parse().unwrap())));
        assert_eq!("10.0.0.1".parse(), Ok(San::Ip([10, 0, 0, 1].into())));
        let bad = [
            "",
            "a..b",
            "-a",
            "a-",
            "*.example.com",
            "example.com.",
            "a b",
            "999.1.1.1",
            "größe",
            "localhost:80",
            "[::1]",
        ];
        for text in bad {
            assert!(text.parse::<San>().is_err(), "{text}");
        }
    }
}
