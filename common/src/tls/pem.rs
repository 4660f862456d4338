//! Certificates and keys in PEM files.

use crate::private_file::{self, ExposedFile};
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};
use tokio_rustls::rustls::{
    self, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

/// The greatest size of a file of certificates or keys, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The files of this side's certificate and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPairFiles {
    /// The certificate, followed by the intermediate certificates up to the authority.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A file of certificates or keys that cannot be used.
///
/// ```
/// use pyroxene_common::tls::{TlsClient, TlsFileError};
///
/// let error = TlsClient::new("/no/such/ca.crt".into(), None).unwrap_err();
/// assert!(matches!(&error, TlsFileError::Unreadable { path, .. } if path == "/no/such/ca.crt"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// The operating system's error.
        why: String,
    },
    /// Other users can read the private key.
    #[error(transparent)]
    Exposed(#[from] ExposedFile),
    /// It does not hold the expected contents.
    #[error("{path} holds no usable {what}: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// The expected contents.
        what: &'static str,
        /// The reason.
        why: String,
    },
    /// The key does not belong to the certificate, or one of the two cannot be used.
    #[error("{certificate} and {key} do not make a pair: {why}")]
    Mismatch {
        /// The file of the certificate.
        certificate: String,
        /// The file of the key.
        key: String,
        /// The reason.
        why: String,
    },
}

pub(super) type Certificates = Vec<CertificateDer<'static>>;

impl KeyPairFiles {
    pub(super) fn read(&self) -> Result<(Certificates, PrivateKeyDer<'static>), TlsFileError> {
        let certificates = certificates(&self.certificate)?;
        let key = read(&self.key, private_file::check)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| unusable(&self.key, "private key", why(&error)))?;
        Ok((certificates, key))
    }

    pub(super) fn mismatch(&self, error: &rustls::Error) -> TlsFileError {
        let why = match error {
            rustls::Error::InconsistentKeys(_) => "the key is not the certificate's".to_owned(),
            error => error.to_string(),
        };
        TlsFileError::Mismatch {
            certificate: self.certificate.display().to_string(),
            key: self.key.display().to_string(),
            why,
        }
    }
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, "certificate authority", error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Certificates, TlsFileError> {
    let what = "certificate";
    let anybody = |_: &Path, _: &Metadata| Ok(());
    let certificates = CertificateDer::pem_slice_iter(&read(path, anybody)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(path, what, why(&error)))?;
    if certificates.is_empty() {
        return Err(unusable(path, what, why(&pem::Error::NoItemsFound)));
    }
    Ok(certificates)
}

fn read(
    path: &Path,
    check: impl FnOnce(&Path, &Metadata) -> Result<(), ExposedFile>,
) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |error: io::Error| TlsFileError::Unreadable {
        path: path.display().to_string(),
        why: error.to_string(),
    };
    let file = File::open(path).map_err(unreadable)?;
    // The open file is checked, so that the file cannot be replaced in between.
    check(path, &file.metadata().map_err(unreadable)?)?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    let count = read.map_err(unreadable)?;
    if u64::try_from(count).is_ok_and(|count| count > MAX_FILE) {
        let why = format!("it has more than {MAX_FILE} bytes");
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, why)));
    }
    Ok(bytes)
}

fn why(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is none in PEM".to_owned(),
        error => error.to_string(),
    }
}

fn unusable(path: &Path, what: &'static str, why: String) -> TlsFileError {
    TlsFileError::Unusable {
        path: path.display().to_string(),
        what,
        why,
    }
}
