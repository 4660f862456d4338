//! The certificate authority.

use crate::{
    CertificateInfo, CertificateRequest, CertsError, IssuedCertificate, San, files,
    info::{self, LAST_SECOND, rfc3339},
    inspect_der,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many days an authority is valid: ten years, without the leap days.
const AUTHORITY_DAYS: u32 = 3650;

/// The name of an authority's files, without their extensions.
const FILE_STEM: &str = "ca";

/// A certificate authority: a certificate that others trust, and its private key.
///
/// Its own certificate is valid for ten years. It may sign end-entity certificates, but no further
/// authorities.
///
/// ```
/// use pyroxene_certs::{CertificateAuthority, CertificateRequest, CertificateRole, inspect};
///
/// let authority = CertificateAuthority::in_memory()?;
/// let mut request = CertificateRequest::new("w1");
/// request.role = Some(CertificateRole::Worker);
/// let issued = authority.issue(&request)?;
/// assert_eq!(inspect(&issued.certificate_pem)?.role, Some(CertificateRole::Worker));
/// # Ok::<(), pyroxene_certs::CertsError>(())
/// ```
pub struct CertificateAuthority {
    own: IssuedCertificate,
    info: CertificateInfo,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// Makes a new authority and writes it as `ca.crt` and `ca.key` into a directory. A directory that
    /// does not exist is created with access for its owner only.
    ///
    /// ```
    /// use pyroxene_certs::{CertificateAuthority, CertsError};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let authority = CertificateAuthority::create(directory)?;
    /// assert!(directory.join("ca.crt").exists() && directory.join("ca.key").exists());
    /// // An authority is never overwritten.
    /// assert!(matches!(CertificateAuthority::create(directory), Err(CertsError::Exists { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`in_memory_at`](Self::in_memory_at) and [`save`](Self::save).
    pub fn create(directory: &Path) -> Result<Self, CertsError> {
        let authority = Self::in_memory()?;
        authority.save(directory)?;
        Ok(authority)
    }

    /// Reads the authority in a directory. It may have expired.
    ///
    /// ```
    /// use pyroxene_certs::{CertificateAuthority, CertsError};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// assert!(matches!(CertificateAuthority::open(directory), Err(CertsError::NoAuthority { .. })));
    /// let made = CertificateAuthority::create(directory)?;
    /// assert_eq!(CertificateAuthority::open(directory)?.info().sha256, made.info().sha256);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CertsError::NoAuthority`] if both files are missing, [`CertsError::Unreadable`] if a file
    /// cannot be read, [`CertsError::Unusable`] if the files are not an authority's certificate and
    /// its private key.
    pub fn open(directory: &Path) -> Result<Self, CertsError> {
        let (certificate_path, key_path) = Self::paths(directory);
        let own = match (files::read(&certificate_path), files::read(&key_path)) {
            (Err(first), Err(second)) if is_missing(&first) && is_missing(&second) => {
                let directory = directory.to_owned();
                return Err(CertsError::NoAuthority { directory });
            }
            (certificate, key) => IssuedCertificate {
                certificate_pem: certificate?,
                key_pem: key?,
            },
        };
        let unusable = |path: &Path| {
            let path = path.to_owned();
            |why| CertsError::Unusable { path, why }
        };
        let key = KeyPair::from_pem(&own.key_pem)
            .map_err(|_| "there is no PEM private key of a known kind in it".to_owned())
            .map_err(unusable(&key_path))?;
        Self::assemble(own, key).map_err(unusable(&certificate_path))
    }

    /// Makes a new authority in memory only.
    ///
    /// # Errors
    ///
    /// Those of [`in_memory_at`](Self::in_memory_at).
    pub fn in_memory() -> Result<Self, CertsError> {
        Self::in_memory_at(SystemTime::now())
    }

    /// Makes a new authority as if `now` were the current time, for example one that has expired.
    ///
    /// ```
    /// use pyroxene_certs::{CertificateAuthority, CertsError, CertificateRequest};
    /// use std::time::{Duration, SystemTime};
    ///
    /// let eleven_years = Duration::from_secs(11 * 365 * 24 * 60 * 60);
    /// let expired = CertificateAuthority::in_memory_at(SystemTime::now() - eleven_years)?;
    /// let issued = expired.issue(&CertificateRequest::new("w1"));
    /// assert!(matches!(issued, Err(CertsError::Expired { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CertsError::InvalidTime`] if its validity is not between 1970 and 9999,
    /// [`CertsError::CannotGenerate`] if the system provides no random numbers.
    pub fn in_memory_at(now: SystemTime) -> Result<Self, CertsError> {
        let (not_before, not_after) = validity(now, AUTHORITY_DAYS)?;
        let key = generate_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = authority_name(&key);
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .map_err(CertsError::CannotGenerate)?;
        let own = IssuedCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        };
        Self::assemble(own, key).map_err(|why| CertsError::NotACertificate { why })
    }

    fn assemble(own: IssuedCertificate, key: KeyPair) -> Result<Self, String> {
        let der = info::first_certificate(&own.certificate_pem)?;
        let info = inspect_der(&der).map_err(|error| error.to_string())?;
        let certificate = info::parse(&der)?;
        let may_sign = certificate
            .key_usage()
            .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
        if !info.is_authority || !may_sign {
            return Err("it is not the certificate of an authority".to_owned());
        }
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err("the key beside it belongs to another certificate".to_owned());
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|error| error.to_string())?;
        Ok(Self { own, info, issuer })
    }

    /// Writes the authority as `ca.crt` and `ca.key` into a directory. Only the owner can read the key.
    /// A directory that does not exist is created with access for its owner only. Returns the two paths.
    ///
    /// # Errors
    ///
    /// [`CertsError::Exists`]: an authority is never overwritten, because without its key every
    /// certificate that it issued would become worthless. [`CertsError::CannotWrite`].
    pub fn save(&self, directory: &Path) -> Result<(PathBuf, PathBuf), CertsError> {
        files::make_directory(directory)?;
        files::write_pair(directory, FILE_STEM, &self.own, false)
    }

    /// The paths of an authority's certificate and its key in a directory.
    pub fn paths(directory: &Path) -> (PathBuf, PathBuf) {
        files::pair_paths(directory, FILE_STEM)
    }

    /// The authority's own certificate as PEM. Others trust this certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.own.certificate_pem
    }

    /// The content of the authority's own certificate.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// Makes a key and a certificate for it. The certificate is valid for both ends of a connection, or
    /// for the client's end only if the role may not be a server.
    ///
    /// ```
    /// use pyroxene_certs::{CertificateAuthority, CertificateRequest, CertificateRole, inspect};
    ///
    /// let authority = CertificateAuthority::in_memory()?;
    /// let mut request = CertificateRequest::new("ns1");
    /// request.role = Some(CertificateRole::Admin);
    /// request.sans = vec!["broker.example".parse()?, "192.0.2.7".parse()?];
    /// request.days = 30;
    /// let info = inspect(&authority.issue(&request)?.certificate_pem)?;
    /// assert_eq!(info.subject, "CN=ns1, OU=admin");
    /// assert_eq!(info.hosts, ["broker.example", "192.0.2.7"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CertsError::InvalidName`], [`CertsError::InvalidSan`] and [`CertsError::InvalidDays`] if the
    /// request is invalid; [`CertsError::Expired`] if the authority has expired;
    /// [`CertsError::OutlivesAuthority`] if the authority expires before the certificate;
    /// [`CertsError::InvalidTime`] and [`CertsError::CannotGenerate`].
    pub fn issue(&self, request: &CertificateRequest) -> Result<IssuedCertificate, CertsError> {
        request.check()?;
        let (not_before, not_after) = validity(request.now, request.days)?;
        self.check_validity(request, not_after)?;
        let key = generate_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let subject = &mut params.distinguished_name;
        subject.push(DnType::CommonName, request.name.as_str());
        if let Some(role) = request.role {
            subject.push(DnType::OrganizationalUnitName, role.name());
        }
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if request.serves() {
            let server = ExtendedKeyUsagePurpose::ServerAuth;
            params.extended_key_usages.push(server);
        }
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = request
            .hosts()
            .into_iter()
            .map(to_alternative_name)
            .collect::<Result<_, _>>()?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(CertsError::CannotGenerate)?;
        Ok(IssuedCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    fn check_validity(
        &self,
        request: &CertificateRequest,
        not_after: SystemTime,
    ) -> Result<(), CertsError> {
        let end = self.info.not_after;
        let when = || rfc3339(end);
        if request.now > end {
            return Err(CertsError::Expired { when: when() });
        }
        if not_after > end {
            return Err(CertsError::OutlivesAuthority {
                days: request.days,
                when: when(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for CertificateAuthority {
    // The private key must not appear in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

fn is_missing(error: &CertsError) -> bool {
    matches!(error, CertsError::Unreadable { error, .. } if error.kind() == io::ErrorKind::NotFound)
}

fn generate_key() -> Result<KeyPair, CertsError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertsError::CannotGenerate)
}

/// A name that is unique to this authority. Verifiers look authorities up by name, so an old and a new
/// authority with different names can be trusted at the same time.
fn authority_name(key: &KeyPair) -> DistinguishedName {
    let digits = CertificateParams::default().key_identifier(key);
    let digits: String = digits
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, format!("Pyroxene authority {digits}"));
    name
}

/// The start and the end of the validity of a certificate that is made at `now`, in whole seconds.
fn validity(now: SystemTime, days: u32) -> Result<(SystemTime, SystemTime), CertsError> {
    let since_1970 = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(|_| CertsError::InvalidTime)?;
    let now = Duration::from_secs(since_1970.as_secs());
    let last = Duration::from_secs(LAST_SECOND);
    match (now.checked_sub(HOUR), now.checked_add(DAY * days)) {
        (Some(start), Some(end)) if end <= last => {
            let epoch = SystemTime::UNIX_EPOCH;
            Ok((epoch + start, epoch + end))
        }
        _ => Err(CertsError::InvalidTime),
    }
}

fn to_alternative_name(host: San) -> Result<SanType, CertsError> {
    Ok(match host {
        San::Ip(address) => SanType::IpAddress(address),
        San::Dns(name) => SanType::DnsName(name.try_into().map_err(CertsError::CannotGenerate)?),
    })
}
