//! The server side of TLS.

use super::{
    ALPN, CertificateHolder, MeteredSocket, Stream, TlsFileError,
    pem::{self, KeyPairFiles},
    provider,
};
use crate::{net::Socket, reload::Reload};
use arc_swap::ArcSwap;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{
        ServerConfig,
        server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier},
        version::TLS13,
    },
};

/// Whether clients need certificates of their own.
///
/// ```
/// use pyroxene_common::tls::ClientAuth;
///
/// assert_eq!("optional".parse(), Ok(ClientAuth::Optional));
/// assert_eq!(ClientAuth::default().to_string(), "none");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They may present a certificate. An invalid one is refused.
    Optional,
    /// They have to present a certificate.
    Required,
}

impl ClientAuth {
    /// The name of the setting in flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

impl fmt::Display for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is not a [`ClientAuth`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of none, optional and required")]
pub struct InvalidClientAuth(String);

impl FromStr for ClientAuth {
    type Err = InvalidClientAuth;

    fn from_str(text: &str) -> Result<Self, InvalidClientAuth> {
        [Self::None, Self::Optional, Self::Required]
            .into_iter()
            .find(|setting| setting.name() == text)
            .ok_or_else(|| InvalidClientAuth(text.to_owned()))
    }
}

/// A server's own certificate, and the authorities of its clients' certificates. Clones share them.
#[derive(Clone)]
pub struct TlsServer {
    inner: Arc<TlsServerInner>,
    /// The names of further protocols that clients may negotiate. They belong to one port, and so to this
    /// clone; whichever clone is reloaded, the certificates are those of all.
    protocols: Arc<[Vec<u8>]>,
}

struct TlsServerInner {
    own: KeyPairFiles,
    authorities: Option<PathBuf>,
    client_auth: ClientAuth,
    config: ArcSwap<ServerConfig>,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("own", &self.inner.own)
            .field("authorities", &self.inner.authorities)
            .field("client_auth", &self.inner.client_auth)
            .finish_non_exhaustive()
    }
}

impl TlsServer {
    /// A server with the certificate `own`. Clients' certificates are verified against `authorities`, which
    /// is needed unless `client_auth` is [`ClientAuth::None`].
    ///
    /// ```
    /// use pyroxene_common::tls::{ClientAuth, KeyPairFiles, TlsServer};
    ///
    /// # use pyroxene_certs::{CertificateAuthority, CertificateRequest};
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// # let authority = CertificateAuthority::create(directory)?;
    /// # authority.issue(&CertificateRequest::new("w1"))?.save(directory, "w1", false)?;
    /// let own = KeyPairFiles { certificate: directory.join("w1.crt"), key: directory.join("w1.key") };
    /// let tls = TlsServer::new(own, Some(directory.join("ca.crt")), ClientAuth::Required)?;
    /// assert_eq!(tls.client_auth(), ClientAuth::Required);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        own: KeyPairFiles,
        authorities: Option<PathBuf>,
        client_auth: ClientAuth,
    ) -> Result<Self, TlsFileError> {
        let config = read(&own, authorities.as_deref(), client_auth)?;
        let inner = TlsServerInner {
            own,
            authorities,
            client_auth,
            config: ArcSwap::from_pointee(config),
        };
        Ok(Self {
            inner: Arc::new(inner),
            protocols: Arc::new([]),
        })
    }

    /// The same server, with which clients may negotiate further protocols (ALPN, RFC 7301).
    pub(crate) fn with_protocols(self, protocols: Vec<Vec<u8>>) -> Self {
        Self {
            protocols: protocols.into(),
            ..self
        }
    }

    /// The configuration for a handshake.
    fn config(&self) -> Arc<ServerConfig> {
        let config = self.inner.config.load_full();
        if self.protocols.is_empty() {
            return config;
        }
        // The copy shares all that is large: a handshake costs a thousand times more.
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols.extend(self.protocols.iter().cloned());
        Arc::new(config)
    }

    /// Whether clients need certificates.
    pub fn client_auth(&self) -> ClientAuth {
        self.inner.client_auth
    }

    /// Makes the handshake over a socket of which the first bytes, `first`, have been read already. Returns
    /// the encrypted stream, and the holder of the peer's certificate, if it has one. At most `at_most` bytes
    /// are received until the limit is lifted; see [`Stream::read_limit`].
    pub(crate) async fn accept(
        &self,
        socket: Socket,
        mut first: &[u8],
        at_most: usize,
    ) -> io::Result<(Stream, Option<CertificateHolder>)> {
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut first)?;
        let handshake =
            LazyConfigAcceptor::new(acceptor, MeteredSocket::new(socket, at_most)).await?;
        let stream = handshake.into_stream(self.config()).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let holder = certificates
            .and_then(<[_]>::first)
            .and_then(|certificate| CertificateHolder::of(certificate));
        Ok((Stream::Tls(Box::new(stream.into())), holder))
    }
}

fn read(
    own: &KeyPairFiles,
    authorities: Option<&Path>,
    client_auth: ClientAuth,
) -> Result<ServerConfig, TlsFileError> {
    let (certificates, key) = own.read()?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| own.mismatch(&error))?;
    let builder = match (client_auth, authorities) {
        (ClientAuth::None, _) | (_, None) => builder.with_no_client_auth(),
        (demand, Some(path)) => {
            let roots = Arc::new(pem::authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = match demand {
                ClientAuth::Required => verifier,
                ClientAuth::None | ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| TlsFileError::Unusable {
                path: path.display().to_string(),
                what: "certificate authority",
                why: error.to_string(),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| own.mismatch(&error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

impl Reload for TlsServer {
    fn files(&self) -> Vec<PathBuf> {
        let TlsServerInner {
            own, authorities, ..
        } = &*self.inner;
        let own = [own.certificate.clone(), own.key.clone()];
        own.into_iter().chain(authorities.clone()).collect()
    }

    fn reload(&self) -> Result<(), String> {
        let TlsServerInner {
            own,
            authorities,
            client_auth,
            config,
        } = &*self.inner;
        let fresh =
            read(own, authorities.as_deref(), *client_auth).map_err(|error| error.to_string())?;
        config.store(Arc::new(fresh));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_certs::{CertificateAuthority, CertificateRequest};

    #[test]
    fn a_reload_reaches_the_port_with_further_protocols_and_no_other_port_has_them() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let authority = CertificateAuthority::in_memory().unwrap();
        let issued = authority.issue(&CertificateRequest::new("w1")).unwrap();
        issued.save(directory, "w1", false).unwrap();
        let own = KeyPairFiles {
            certificate: directory.join("w1.crt"),
            key: directory.join("w1.key"),
        };
        let tls = TlsServer::new(own, None, ClientAuth::None).unwrap();
        let port = tls.clone().with_protocols(vec![b"h2".to_vec()]);
        let before = port.config();
        tls.reload().unwrap();
        let (with, without) = (port.config(), tls.config());
        assert!(!Arc::ptr_eq(&before.cert_resolver, &with.cert_resolver));
        assert!(Arc::ptr_eq(&with.cert_resolver, &without.cert_resolver));
        assert_eq!(with.alpn_protocols, [ALPN.to_vec(), b"h2".to_vec()]);
        assert_eq!(without.alpn_protocols, [ALPN.to_vec()]);
    }
}
