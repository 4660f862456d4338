//! The server side of TLS.

use super::{
    ALPN, CertificateHolder, MeteredSocket, TlsFileError,
    pem::{self, KeyPairFiles},
    provider,
};
use crate::{
    net::{Socket, Stream},
    reload::Reload,
};
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
pub struct TlsServer(Arc<TlsServerInner>);

struct TlsServerInner {
    own: KeyPairFiles,
    authorities: Option<PathBuf>,
    client_auth: ClientAuth,
    /// The names of further protocols that clients may negotiate.
    protocols: Vec<Vec<u8>>,
    config: ArcSwap<ServerConfig>,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer")
            .field("own", &self.0.own)
            .field("authorities", &self.0.authorities)
            .field("client_auth", &self.0.client_auth)
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
        Ok(Self(Arc::new(TlsServerInner {
            own,
            authorities,
            client_auth,
            protocols: Vec::new(),
            config: ArcSwap::from_pointee(config),
        })))
    }

    /// The same server, with which clients may negotiate further protocols (ALPN, RFC 7301).
    pub(crate) fn with_protocols(self, protocols: Vec<Vec<u8>>) -> Self {
        if protocols.is_empty() {
            return self;
        }
        let TlsServerInner {
            own,
            authorities,
            client_auth,
            config,
            ..
        } = &*self.0;
        let mut config = ServerConfig::clone(&config.load());
        config.alpn_protocols.extend(protocols.iter().cloned());
        Self(Arc::new(TlsServerInner {
            own: own.clone(),
            authorities: authorities.clone(),
            client_auth: *client_auth,
            protocols,
            config: ArcSwap::from_pointee(config),
        }))
    }

    /// Whether clients need certificates.
    pub fn client_auth(&self) -> ClientAuth {
        self.0.client_auth
    }

    /// Makes the handshake over a socket of which the first bytes, `first`, have been read already. Returns
    /// the encrypted stream, and the holder of the peer's certificate, if it has one. At most `at_most` bytes
    /// are received until the limit is removed; see [`Stream::lift_meter`].
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
        let stream = handshake.into_stream(self.0.config.load_full()).await?;
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
        let own = [self.0.own.certificate.clone(), self.0.own.key.clone()];
        own.into_iter().chain(self.0.authorities.clone()).collect()
    }

    fn reload(&self) -> Result<(), String> {
        let TlsServerInner {
            own,
            authorities,
            client_auth,
            protocols,
            config,
        } = &*self.0;
        let mut fresh =
            read(own, authorities.as_deref(), *client_auth).map_err(|error| error.to_string())?;
        fresh.alpn_protocols.extend(protocols.iter().cloned());
        config.store(Arc::new(fresh));
        Ok(())
    }
}
