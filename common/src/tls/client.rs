//! The client side of TLS.

use super::{
    ALPN, MeteredSocket, TlsFileError,
    pem::{self, KeyPairFiles},
    provider,
};
use crate::{endpoint::Endpoint, net::Socket, reload::Reload};
use arc_swap::ArcSwap;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, client::Resumption, pki_types::ServerName, version::TLS13},
};

/// A client's trusted authorities, and its own certificate, if it has one. Clones share them.
#[derive(Clone)]
pub struct TlsClient(Arc<TlsClientInner>);

struct TlsClientInner {
    /// The protocol inside TLS, by its name in ALPN.
    protocol: &'static [u8],
    authorities: PathBuf,
    own: Option<KeyPairFiles>,
    config: ArcSwap<ClientConfig>,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("authorities", &self.0.authorities)
            .field("own", &self.0.own)
            .finish_non_exhaustive()
    }
}

impl TlsClient {
    /// A client that trusts the authorities in a file, and presents `own` to servers that ask for a
    /// certificate.
    ///
    /// ```
    /// use pyroxene_common::tls::{KeyPairFiles, TlsClient};
    ///
    /// # use pyroxene_certs::{CertificateAuthority, CertificateRequest};
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// # let authority = CertificateAuthority::create(directory)?;
    /// # authority.issue(&CertificateRequest::new("w1"))?.save(directory, "w1", false)?;
    /// let authorities = directory.join("ca.crt");
    /// let anonymous = TlsClient::new(authorities.clone(), None)?;
    /// assert!(!anonymous.has_certificate());
    ///
    /// let own = KeyPairFiles { certificate: directory.join("w1.crt"), key: directory.join("w1.key") };
    /// assert!(TlsClient::new(authorities, Some(own))?.has_certificate());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(authorities: PathBuf, own: Option<KeyPairFiles>) -> Result<Self, TlsFileError> {
        Self::of_protocol(ALPN, authorities, own)
    }

    /// A client of servers that are none of this broker's, and speak HTTP/1.1 inside TLS.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_http(authorities: PathBuf, own: Option<KeyPairFiles>) -> Result<Self, TlsFileError> {
        Self::of_protocol(b"http/1.1", authorities, own)
    }

    fn of_protocol(
        protocol: &'static [u8],
        authorities: PathBuf,
        own: Option<KeyPairFiles>,
    ) -> Result<Self, TlsFileError> {
        let config = read(protocol, &authorities, own.as_ref())?;
        Ok(Self(Arc::new(TlsClientInner {
            protocol,
            authorities,
            own,
            config: ArcSwap::from_pointee(config),
        })))
    }

    /// Whether it has a certificate of its own.
    pub fn has_certificate(&self) -> bool {
        self.0.own.is_some()
    }

    /// Makes the handshake over a socket that is connected to `endpoint`, and verifies that the server's
    /// certificate is for that host; for a Unix socket, that it is for `localhost`.
    pub(crate) async fn connect(
        &self,
        socket: Socket,
        endpoint: &Endpoint,
    ) -> io::Result<TlsStream<MeteredSocket>> {
        let host = match endpoint {
            Endpoint::Tcp { host, .. } => host.clone(),
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        let name = ServerName::try_from(host)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(self.0.config.load_full());
        // Received bytes are not limited: until the server's certificate is verified, the caller's timeout
        // applies.
        let socket = MeteredSocket::new(socket, usize::MAX);
        connector.connect(name, socket).await
    }
}

fn read(
    protocol: &[u8],
    authorities: &Path,
    own: Option<&KeyPairFiles>,
) -> Result<ClientConfig, TlsFileError> {
    let roots = pem::authorities(authorities)?;
    let unusable = |error: tokio_rustls::rustls::Error| TlsFileError::Unusable {
        path: authorities.display().to_string(),
        what: "certificate authority",
        why: error.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            let (certificates, key) = own.read()?;
            builder
                .with_client_auth_cert(certificates, key)
                .map_err(|error| own.mismatch(&error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

impl Reload for TlsClient {
    fn files(&self) -> Vec<PathBuf> {
        let own = self.0.own.clone();
        let own = own.into_iter().flat_map(|own| [own.certificate, own.key]);
        own.chain([self.0.authorities.clone()]).collect()
    }

    fn reload(&self) -> Result<(), String> {
        let fresh = read(self.0.protocol, &self.0.authorities, self.0.own.as_ref());
        let fresh = fresh.map_err(|error| error.to_string())?;
        self.0.config.store(Arc::new(fresh));
        Ok(())
    }
}
