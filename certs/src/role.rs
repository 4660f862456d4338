//! The role of a certificate's holder in a broker.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The role of a certificate's holder in a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateRole {
    /// May do everything.
    Admin,
    /// May host objects.
    Worker,
    /// May call objects.
    User,
    /// May read the state of the broker.
    Observer,
}

impl CertificateRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Worker, Self::User, Self::Observer];

    /// Whether its holder may be a server. A holder that may only call must not be able to impersonate
    /// a name server on its machine.
    ///
    /// ```
    /// use pyroxene_certs::CertificateRole;
    ///
    /// let servers: Vec<CertificateRole> = CertificateRole::ALL.into_iter().filter(|role| role.serves()).collect();
    /// assert_eq!(servers, [CertificateRole::Admin, CertificateRole::Worker]);
    /// ```
    pub fn serves(self) -> bool {
        matches!(self, Self::Admin | Self::Worker)
    }

    /// The role's name in certificates, flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Worker => "worker",
            Self::User => "user",
            Self::Observer => "observer",
        }
    }
}

impl fmt::Display for CertificateRole {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A text that is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a role; there are admin, worker, user and observer")]
pub struct InvalidCertificateRole(String);

impl FromStr for CertificateRole {
    type Err = InvalidCertificateRole;

    fn from_str(text: &str) -> Result<Self, InvalidCertificateRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| InvalidCertificateRole(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written_and_as_json_has_it() {
        for role in CertificateRole::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        for text in ["", "Admin", "root", "admin "] {
            assert!(text.parse::<CertificateRole>().is_err(), "{text}");
        }
    }
}
