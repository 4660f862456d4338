//! Errors of TLS, in words.

use std::io;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// Why a stream could not be encrypted, as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The server does not use TLS, or not the version that this side requires.
    #[error("the server does not speak TLS 1.3 here; this side insists on it")]
    Plain,
    /// No authority that this side trusts has issued the server's certificate.
    #[error("the server's certificate is not from an authority that is trusted here")]
    UnknownAuthority,
    /// The server's certificate was not accepted for another reason.
    #[error("the server's certificate {0}")]
    Server(String),
    /// The server requires a certificate of this side, and got none.
    #[error("the server refuses this side's certificate: it demands one, and there is none")]
    CertificateRequired,
    /// The server did not accept this side's certificate.
    #[error("the server refuses this side's certificate: {0}")]
    Client(&'static str),
    /// Another error.
    #[error("TLS failed: {0}")]
    Other(String),
}

impl TlsFailure {
    /// The TLS failure in a stream's error, if it has one.
    pub fn find(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            // Our servers without TLS answer a handshake with the first of these; servers of other protocols
            // answer with plain text.
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::InvalidMessage(_)
            | Error::PeerIncompatible(_) => Self::Plain,
            Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => Self::UnknownAuthority,
            Error::InvalidCertificate(error) => Self::Server(about(error)),
            Error::NoCertificatesPresented => Self::Server("is missing".to_owned()),
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                Self::CertificateRequired
            }
            Error::AlertReceived(alert) => match refused(*alert) {
                Some(why) => Self::Client(why),
                None => Self::Other(format!("the server answered {alert:?}")),
            },
            error => Self::Other(error.to_string()),
        })
    }
}

fn about(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet".into()
        }
        CertificateError::NotValidForName => "is for another host".into(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "is not for {} but for {}",
            expected.to_str(),
            presented
                .iter()
                .map(|name| bare(name))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not one of a server".into()
        }
        CertificateError::Revoked => "was revoked".into(),
        error => format!("is not acceptable: {error}"),
    }
}

/// A name without rustls's wrapper, which looks like `DnsName("db.example")`.
fn bare(name: &str) -> &str {
    let inner = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

/// The meaning of an alert about the certificate that this side presented or did not present.
fn refused(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateExpired => "it has expired or is not valid yet",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it is not from an authority that the server trusts"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "it is not acceptable there",
        _ => return None,
    })
}
