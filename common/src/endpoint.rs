//! The address of a daemon.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

/// An address: `host:port`, `[v6]:port` or `unix:/path`.
///
/// ```
/// use pyroxene_common::endpoint::Endpoint;
///
/// let endpoint: Endpoint = "[::1]:9090".parse()?;
/// assert_eq!(endpoint, Endpoint::Tcp { host: "::1".to_owned(), port: 9090 });
/// assert_eq!("unix:/run/ns".parse(), Ok(Endpoint::Unix("/run/ns".into())));
///
/// let error = "localhost".parse::<Endpoint>().unwrap_err();
/// assert!(error.to_string().contains("there is no port"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A TCP port on a host.
    Tcp {
        /// A name or an address; an IPv6 address is stored without brackets.
        host: String,
        /// The port. Zero asks for any free one.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// A text that is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an address: {why}; expected host:port, [v6]:port or unix:/path")]
pub struct InvalidEndpoint {
    text: String,
    why: &'static str,
}

impl Endpoint {
    /// Whether only processes on this machine can connect to it.
    ///
    /// ```
    /// use pyroxene_common::endpoint::Endpoint;
    ///
    /// assert!("127.0.0.1:9090".parse::<Endpoint>()?.is_local());
    /// assert!("unix:/run/ns".parse::<Endpoint>()?.is_local());
    /// assert!(!"broker.example:9090".parse::<Endpoint>()?.is_local());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => {
                host == "localhost"
                    || host
                        .parse::<IpAddr>()
                        .is_ok_and(|address| address.to_canonical().is_loopback())
            }
            Self::Unix(_) => true,
        }
    }

    /// The same address. If its port is 0, it gets the port of `listening`.
    ///
    /// ```
    /// use pyroxene_common::endpoint::Endpoint;
    ///
    /// let listening: Endpoint = "0.0.0.0:40123".parse()?;
    /// let for_others: Endpoint = "workers.example:0".parse()?;
    /// assert_eq!(for_others.with_port_of(&listening).to_string(), "workers.example:40123");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_port_of(&self, listening: &Self) -> Self {
        match (self, listening) {
            (Self::Tcp { host, port: 0 }, Self::Tcp { port, .. }) => Self::Tcp {
                host: host.clone(),
                port: *port,
            },
            _ => self.clone(),
        }
    }

    /// Whether it is the address of all interfaces, such as `0.0.0.0` or `[::]`. A daemon can listen there,
    /// but clients cannot connect to it from another machine.
    ///
    /// ```
    /// use pyroxene_common::endpoint::Endpoint;
    ///
    /// assert!("0.0.0.0:9090".parse::<Endpoint>()?.is_unspecified());
    /// assert!("[::]:9090".parse::<Endpoint>()?.is_unspecified());
    /// assert!(!"127.0.0.1:9090".parse::<Endpoint>()?.is_unspecified());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_unspecified(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => match host.parse::<IpAddr>() {
                Ok(address) => address.to_canonical().is_unspecified(),
                Err(_) => is_zero(host),
            },
            Self::Unix(_) => false,
        }
    }
}

/// Whether a text is an old form of the address 0.0.0.0, such as `0` or `0x0.0`, which resolvers still
/// accept.
fn is_zero(host: &str) -> bool {
    host.split('.').all(|part| {
        let digits = part.strip_prefix("0x").or(part.strip_prefix("0X"));
        let digits = digits.unwrap_or(part);
        !digits.is_empty() && digits.bytes().all(|byte| byte == b'0')
    })
}

impl Endpoint {
    /// Parses an address whose port may be left out: `127.0.0.1`, `[::1]`, `broker.example`.
    ///
    /// ```
    /// use pyroxene_common::endpoint::Endpoint;
    ///
    /// let default = Endpoint::with_default_port("broker.example", 9090)?;
    /// assert_eq!(default.to_string(), "broker.example:9090");
    /// let given = Endpoint::with_default_port("broker.example:9190", 9090)?;
    /// assert_eq!(given.to_string(), "broker.example:9190");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_default_port(text: &str, port: u16) -> Result<Self, InvalidEndpoint> {
        let has_port = match text.rsplit_once(']') {
            Some((_, after)) => !after.is_empty(),
            None => text.contains(':'),
        };
        match has_port || text.is_empty() {
            true => text.parse(),
            false => format!("{text}:{port}").parse(),
        }
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = |why| InvalidEndpoint {
            text: text.to_owned(),
            why,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(invalid("the path is empty"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| invalid("there is no port"))?;
        // Rust would parse "+80" as a number too.
        let port = Some(port)
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| invalid("the port is not a number from 0 to 65535"))?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .filter(|address| is_v6(address))
                .ok_or_else(|| invalid("the brackets hold no IPv6 address"))?,
            None if host.contains(':') => {
                return Err(invalid("an IPv6 address stands in brackets"));
            }
            None => host,
        };
        if host.is_empty() {
            return Err(invalid("the host is empty"));
        }
        if host
            .chars()
            .any(|c| c.is_whitespace() || c == '/' || c == '@')
        {
            return Err(invalid("the host contains characters that are not allowed"));
        }
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

/// Whether a text is an IPv6 address, perhaps with the zone that a link-local one needs.
fn is_v6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let in_zone = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !zone.is_empty() && zone.chars().all(in_zone) && address.parse::<std::net::Ipv6Addr>().is_ok()
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<std::net::SocketAddr> for Endpoint {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::Tcp {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_survives_a_round_trip() {
        for text in [
            "127.0.0.1:9090",
            "example.org:0",
            "[::1]:9090",
            "[fe80::1%eth0]:9090",
            "unix:/tmp/a b",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_port_that_is_left_out_is_the_default_one() {
        let read = |text| Endpoint::with_default_port(text, 9090).map(|read| read.to_string());
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1:9090"),
            ("broker.example", "broker.example:9090"),
            ("[::1]", "[::1]:9090"),
            ("[::1]:1", "[::1]:1"),
            ("localhost:1", "localhost:1"),
            ("unix:/tmp/ns", "unix:/tmp/ns"),
        ] {
            assert_eq!(read(text).unwrap(), expected);
        }
        for text in [
            "",
            "::1",
            "a b",
            "localhost:",
            "[localhost]",
            "localhost:http",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_address_of_every_interface_is_known_in_every_spelling() {
        for (text, is_unspecified) in [
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("[::ffff:0.0.0.0]:1", true),
            ("0:1", true),
            ("0x0.00:1", true),
            ("127.0.0.1:1", false),
            ("0.0.0.1:1", false),
            ("[::1]:1", false),
            ("zero:1", false),
            ("x:1", false),
            ("unix:/0", false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.is_unspecified(), is_unspecified, "{text}");
        }
    }

    #[test]
    fn what_only_this_machine_reaches_is_local() {
        for text in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "localhost:1",
            "unix:/a",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert!(endpoint.is_local() && !endpoint.is_unspecified(), "{text}");
        }
        for text in ["10.0.0.1:1", "example.org:1", "[2001:db8::1]:1"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert!(!endpoint.is_local() && !endpoint.is_unspecified(), "{text}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_reason() {
        for (text, why) in [
            ("localhost", "there is no port"),
            ("localhost:http", "the port is not a number"),
            ("localhost:65536", "the port is not a number"),
            ("localhost:+80", "the port is not a number"),
            ("[::1%]:80", "the brackets hold no IPv6 address"),
            (":9090", "the host is empty"),
            ("::1:9090", "an IPv6 address stands in brackets"),
            ("[localhost]:1", "the brackets hold no IPv6 address"),
            ("unix:", "the path is empty"),
            ("a b:1", "the host contains characters"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
