//! The content of a certificate.

use crate::{CertificateRole, CertsError, name::check_name};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, time::ASN1Time,
    x509::AttributeTypeAndValue,
};

/// The content of a certificate. It says nothing about whether an authority signed the certificate.
///
/// Control characters are removed from all texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// The whole subject, such as `CN=w1, OU=worker`.
    pub subject: String,
    /// The holder's name: the subject's common name, if there is exactly one and it is valid as a
    /// [`CertificateRequest::name`](crate::CertificateRequest::name).
    pub name: Option<String>,
    /// The holder's role: the subject's organizational unit, if there is exactly one and it is a
    /// role.
    pub role: Option<CertificateRole>,
    /// Whether it is an authority's own certificate.
    pub is_authority: bool,
    /// The hosts that the holder serves on, DNS names and IP addresses.
    pub hosts: Vec<String>,
    /// The start of its validity. RFC 3339 in JSON.
    #[serde(serialize_with = "as_rfc3339")]
    pub not_before: SystemTime,
    /// The end of its validity. RFC 3339 in JSON.
    #[serde(serialize_with = "as_rfc3339")]
    pub not_after: SystemTime,
    /// The whole subject of the authority that issued it.
    pub issuer: String,
    /// The serial number that the authority gave it, in hexadecimal.
    pub serial: String,
    /// The SHA-256 of the certificate's DER, in hexadecimal.
    pub sha256: String,
}

/// Reads a certificate from PEM: the first one, if there are several. In a server's file the first one
/// is the server's own certificate.
///
/// ```
/// use pyroxene_certs::{CertificateAuthority, inspect};
///
/// let authority = CertificateAuthority::in_memory()?;
/// let info = inspect(authority.certificate_pem())?;
/// assert!(info.is_authority && info.issuer == info.subject);
/// assert!(inspect("no certificate").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`CertsError::NotACertificate`].
pub fn inspect(pem: &str) -> Result<CertificateInfo, CertsError> {
    inspect_der(&first_certificate(pem).map_err(not_a_certificate)?)
}

/// Reads a certificate from DER, for example the certificate of a TLS connection's peer.
///
/// # Errors
///
/// [`CertsError::NotACertificate`].
pub fn inspect_der(der: &[u8]) -> Result<CertificateInfo, CertsError> {
    let certificate = parse(der).map_err(not_a_certificate)?;
    let subject = certificate.subject();
    let name = single_value(subject.iter_common_name()).filter(|name| check_name(name).is_ok());
    let role = single_value(subject.iter_organizational_unit()).and_then(|unit| unit.parse().ok());
    Ok(CertificateInfo {
        subject: printable(&subject.to_string()),
        name: name.map(str::to_owned),
        role,
        is_authority: certificate.is_ca(),
        hosts: hosts(&certificate).map_err(not_a_certificate)?,
        not_before: to_system_time(certificate.validity().not_before),
        not_after: to_system_time(certificate.validity().not_after),
        issuer: printable(&certificate.issuer().to_string()),
        serial: hexadecimal(certificate.raw_serial()),
        sha256: hexadecimal(&Sha256::digest(der)),
    })
}

fn not_a_certificate(why: String) -> CertsError {
    CertsError::NotACertificate { why }
}

/// The first certificate in a text, or the reason why there is none.
pub(crate) fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, String> {
    use rustls_pki_types::pem::Error;
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
        Error::NoItemsFound => "there is no PEM certificate in it".to_owned(),
        _ => "its PEM is damaged".to_owned(),
    })
}

/// Reads DER that is one certificate and nothing more.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("there are extra bytes after its end".to_owned()),
        Err(_) => Err("its content is damaged".to_owned()),
    }
}

/// The value of an attribute that occurs exactly once. If it occurs more than once, different readers
/// may choose different values, so the result is `None`.
fn single_value<'a>(
    mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
) -> Option<&'a str> {
    let value = values.next()?.as_str().ok()?;
    values.next().is_none().then_some(value)
}

fn hosts(certificate: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| "its alternative names are damaged".to_owned())?;
    let names = extension.map(|extension| extension.value.general_names.as_slice());
    Ok(names
        .unwrap_or_default()
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(printable(name)),
            GeneralName::IPAddress(octets) => address(octets),
            _ => None,
        })
        .collect())
}

fn address(octets: &[u8]) -> Option<String> {
    let address = match <[u8; 4]>::try_from(octets) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    Some(address.to_string())
}

/// The text with its control characters replaced, safe to print on a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character.is_control() {
            true => char::REPLACEMENT_CHARACTER,
            false => character,
        })
        .collect()
}

/// Limits a time to the years 1970 to 9999, the range that certificates and RFC 3339 both support.
fn to_system_time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND))
}

/// The last second of the year 9999, counted from 1970.
pub(crate) const LAST_SECOND: u64 = 253_402_300_799;

/// A time between 1970 and 9999 as text.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

fn as_rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
