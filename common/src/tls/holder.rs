//! The holder of a verified certificate.

use crate::identity::Role;
#[cfg(feature = "serve")]
use x509_parser::prelude::{FromDer, X509Certificate};

/// The holder of a certificate: its common name (CN), and the role in its organizational unit (OU).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateHolder {
    /// The holder's name.
    pub name: String,
    /// The holder's role, if the certificate names one.
    pub role: Option<Role>,
}

#[cfg(feature = "serve")]
impl CertificateHolder {
    /// Reads a certificate that was verified already. `None` if it does not have exactly one name.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = only(subject.iter_common_name())?;
        let role = only(subject.iter_organizational_unit());
        Some(Self {
            name: name.to_owned(),
            role: role.and_then(|role| role.parse().ok()),
        })
    }
}

#[cfg(feature = "serve")]
/// The text of an attribute that occurs exactly once.
fn only<'a>(
    mut values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Option<&'a str> {
    let value = values.next()?.as_str().ok()?;
    values.next().is_none().then_some(value)
}
