//! The description of a certificate to make, and the certificate that was made.

use crate::{CertificateRole, CertsError, San, files::write_pair, name::check_name};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The default validity of a certificate, in days.
pub const DEFAULT_DAYS: u32 = 365;

/// The longest validity of a certificate, in days: half as long as an authority.
pub const MAX_DAYS: u32 = 1825;

/// A certificate to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The holder's name: up to 64 letters, digits, `.`, `_` and `-`. The first character is neither a
    /// dot nor a hyphen. `ca` is reserved for the authority.
    pub name: String,
    /// The holder's role. A certificate without a role is valid for a server, and proves the name only.
    pub role: Option<CertificateRole>,
    /// The hosts that the holder serves on. If the list is empty, the certificate has `localhost`,
    /// `127.0.0.1`, `::1`, and the name if it is a DNS name; or no host for a role that may not be a
    /// server.
    pub sans: Vec<San>,
    /// Its validity in days, from 1 to [`MAX_DAYS`].
    pub days: u32,
    /// When it is made. Its validity starts an hour earlier, because clocks differ.
    pub now: SystemTime,
}

impl CertificateRequest {
    /// A request for a certificate with this name, the default hosts and no role, valid for
    /// [`DEFAULT_DAYS`] from now.
    ///
    /// ```
    /// use pyroxene_certs::{CertificateAuthority, CertificateRequest, inspect};
    ///
    /// let authority = CertificateAuthority::in_memory()?;
    /// let info = inspect(&authority.issue(&CertificateRequest::new("w1"))?.certificate_pem)?;
    /// assert_eq!((info.name.as_deref(), info.role), (Some("w1"), None));
    /// assert_eq!(info.hosts, ["localhost", "127.0.0.1", "::1", "w1"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            role: None,
            sans: Vec::new(),
            days: DEFAULT_DAYS,
            now: SystemTime::now(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), CertsError> {
        check_name(&self.name)?;
        if !(1..=MAX_DAYS).contains(&self.days) {
            return Err(CertsError::InvalidDays(self.days));
        }
        self.sans.iter().try_for_each(San::check)?;
        Ok(())
    }

    /// Whether the certificate is valid for a server.
    pub(crate) fn serves(&self) -> bool {
        self.role.is_none_or(may_serve)
    }

    /// The hosts, without duplicates.
    pub(crate) fn hosts(&self) -> Vec<San> {
        let wanted = if self.sans.is_empty() {
            if !self.serves() {
                return Vec::new();
            }
            let local = [
                San::Dns("localhost".to_owned()),
                San::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                San::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ];
            local.into_iter().chain(San::dns(&self.name)).collect()
        } else {
            self.sans.clone()
        };
        let mut hosts = Vec::with_capacity(wanted.len());
        for host in wanted {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }
}

/// A certificate and its private key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate, `CERTIFICATE`.
    pub certificate_pem: String,
    /// The private key, `PRIVATE KEY` (PKCS #8).
    pub key_pem: String,
}

impl IssuedCertificate {
    /// Writes `NAME.crt`, and `NAME.key` that only its owner can read. Returns the two paths, the
    /// certificate's first.
    ///
    /// Afterwards either both new files exist or the files are as they were before, unless the machine
    /// or its disk fails between the two writes. A reader may see the new key beside the old certificate
    /// for a moment while the files are overwritten.
    ///
    /// ```
    /// use pyroxene_certs::{CertificateAuthority, CertsError, CertificateRequest};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let issued = CertificateAuthority::in_memory()?.issue(&CertificateRequest::new("w1"))?;
    /// let (certificate, key) = issued.save(directory, "w1", false)?;
    /// assert!(certificate.ends_with("w1.crt") && key.ends_with("w1.key"));
    /// assert!(matches!(issued.save(directory, "w1", false), Err(CertsError::Exists { .. })));
    /// issued.save(directory, "w1", true)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CertsError::InvalidName`]; [`CertsError::Exists`] unless `overwrite`;
    /// [`CertsError::NotAFile`] if a path is not a regular file;
    /// [`CertsError::CannotWrite`], for example if the directory does not exist.
    pub fn save(
        &self,
        directory: &Path,
        name: &str,
        overwrite: bool,
    ) -> Result<(PathBuf, PathBuf), CertsError> {
        check_name(name)?;
        write_pair(directory, name, self, overwrite)
    }
}

impl fmt::Debug for IssuedCertificate {
    // The private key must not appear in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Issued")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// Whether the holder of a role may be a server. A holder that may only call must not be able to impersonate a
/// name server on its machine.
fn may_serve(role: CertificateRole) -> bool {
    matches!(role, CertificateRole::Admin | CertificateRole::Worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(request: &CertificateRequest) -> Vec<String> {
        request.hosts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hosts_default_to_this_machine_and_the_name() {
        let local = ["localhost", "127.0.0.1", "::1"];
        assert_eq!(hosts(&CertificateRequest::new("w1"))[3..], ["w1"]);
        assert_eq!(hosts(&CertificateRequest::new("w1"))[..3], local);
        // The first two are not DNS names; the third is in the list already.
        for name in ["w1-", "10.0.0.1", "localhost"] {
            assert_eq!(hosts(&CertificateRequest::new(name)), local, "{name}");
        }
    }

    #[test]
    fn a_role_that_serves_nobody_has_no_hosts_by_default() {
        let of = |role| CertificateRequest {
            role: Some(role),
            ..CertificateRequest::new("x")
        };
        assert!(
            hosts(&of(CertificateRole::User)).is_empty()
                && hosts(&of(CertificateRole::Observer)).is_empty()
        );
        assert!(
            !hosts(&of(CertificateRole::Worker)).is_empty()
                && !hosts(&of(CertificateRole::Admin)).is_empty()
        );
    }

    #[test]
    fn hosts_that_are_given_replace_the_default_and_stand_once() {
        let mut request = CertificateRequest::new("w1");
        request.sans = ["a.example", "10.0.0.1", "A.example"]
            .map(|host| host.parse().unwrap())
            .to_vec();
        assert_eq!(hosts(&request), ["a.example", "10.0.0.1"]);
    }
}
