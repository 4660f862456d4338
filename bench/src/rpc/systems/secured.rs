//! This project with security: with TLS alone, and with a user who may call one method of two.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use pyroxene_certs::{CertificateAuthority, CertificateRequest};
use pyroxene_client::{ClientConfig, Credentials, DirectProxy};
use pyroxene_common::{
    access::{Authenticator, IssuerClock},
    host::{Host, HostConfig, HostedObject},
    identity::{HolderKey, KeyLife, Patterns, Role},
    tls::{ClientAuth, KeyPairFiles, TlsClient, TlsServer},
};
use pyroxene_nameserver::{
    NameServer, NameServerConfig,
    users::{Users, domain_key},
};
use tempfile::TempDir;

use super::pyroxene::{
    BenchEchoObject, EchoService, OBJECT, PyroxeneCaller, callers, service::EchoServiceClient,
};
use crate::{
    daemon::{ANY_PORT, socket_address},
    process,
};

const USER: &str = "ana";

/// A certificate authority, a server's certificate, and a users file with one user.
pub(crate) struct Secrets {
    directory: TempDir,
    token: String,
}

impl Secrets {
    /// Makes the secrets in a temporary directory, which is removed when they are dropped.
    pub(crate) fn create() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = CertificateAuthority::create(directory.path())?;
        let server = authority.issue(&CertificateRequest::new("server"))?;
        server.save(directory.path(), "server", false)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let now = u64::try_from(now)?;
        let one_method = Patterns::try_from(vec![format!("{OBJECT}.echo").parse()?])?;
        let token = Users::edit_or_create(&users_file(directory.path()), |users| {
            users.add(USER, Role::User, one_method, now)
        })?;
        Ok(Self {
            token: token.expose().to_string(),
            directory,
        })
    }

    /// The TLS configuration of a client that trusts the authority.
    pub(crate) fn tls(&self) -> Result<TlsClient> {
        Ok(TlsClient::new(self.path().join("ca.crt"), None)?)
    }

    /// The configuration of a client without credentials.
    pub(crate) fn anonymous_config(&self) -> Result<ClientConfig> {
        client_config(self)
    }

    /// The configuration of a client with the user's credentials.
    pub(crate) fn user_config(&self) -> Result<ClientConfig> {
        Ok(client_config(self)?.credentials(Credentials::new(USER, &self.token)))
    }

    /// The directory of the secrets.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn users_file(directory: &Path) -> PathBuf {
    directory.join("users.toml")
}

fn nameserver_address(directory: &Path) -> String {
    format!("unix:{}", directory.join("nameserver.sock").display())
}

fn objects() -> HashMap<String, HostedObject> {
    let object = HostedObject::from_service::<EchoService, _>(BenchEchoObject);
    HashMap::from([(OBJECT.to_owned(), object)])
}

/// Serves the object over TLS.
pub(crate) async fn serve_tls(directory: &Path) -> Result<()> {
    let mut config = HostConfig::new(ANY_PORT.into(), "bench");
    config.tls = Some(tls_server(directory)?);
    serve(config).await
}

/// Serves the object to authenticated users. A name server in the same process issues their tickets.
pub(crate) async fn serve_authorised(directory: &Path) -> Result<()> {
    let config = HostConfig::new(ANY_PORT.into(), "bench");
    serve_authenticated(config, directory).await
}

/// The same, over TLS.
pub(crate) async fn serve_secured(directory: &Path) -> Result<()> {
    let mut config = HostConfig::new(ANY_PORT.into(), "bench");
    config.tls = Some(tls_server(directory)?);
    serve_authenticated(config, directory).await
}

fn tls_server(directory: &Path) -> Result<TlsServer> {
    let own = KeyPairFiles {
        certificate: directory.join("server.crt"),
        key: directory.join("server.key"),
    };
    Ok(TlsServer::new(own, None, ClientAuth::None)?)
}

async fn serve_authenticated(mut config: HostConfig, directory: &Path) -> Result<()> {
    let users = users_file(directory);
    let mut beside = NameServerConfig::new(nameserver_address(directory).parse()?).users(&users);
    if let Some(tls) = &config.tls {
        beside = beside.tls(tls.clone());
    }
    let _name_server = NameServer::bind(beside).await?;
    let gate = Authenticator::of_worker("bench", HolderKey::of_process()?.id());
    let key = domain_key(&users)?.public();
    gate.trust_issuer(0, key, KeyLife::Kept, IssuerClock::Own);
    config.authenticator = Some(Arc::new(gate));
    serve(config).await
}

async fn serve(config: HostConfig) -> Result<()> {
    let host = Host::bind(config, objects()).await?;
    process::print_ready_line(socket_address(host.local_addr())?)?;
    std::future::pending().await
}

/// Opens one connection with TLS that all callers share.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    in_flight: usize,
    secrets: &Secrets,
) -> Result<Vec<PyroxeneCaller<DirectProxy<EchoService>>>> {
    connect(
        address,
        in_flight,
        client_config(secrets)?.tls(secrets.tls()?),
    )
    .await
}

/// Opens one connection as a user who may call one method. All callers share the connection.
pub(crate) async fn connect_authorised(
    address: SocketAddr,
    in_flight: usize,
    secrets: &Secrets,
) -> Result<Vec<PyroxeneCaller<DirectProxy<EchoService>>>> {
    connect(address, in_flight, secrets.user_config()?).await
}

/// The same, over TLS.
pub(crate) async fn connect_secured(
    address: SocketAddr,
    in_flight: usize,
    secrets: &Secrets,
) -> Result<Vec<PyroxeneCaller<DirectProxy<EchoService>>>> {
    connect(
        address,
        in_flight,
        secrets.user_config()?.tls(secrets.tls()?),
    )
    .await
}

fn client_config(secrets: &Secrets) -> Result<ClientConfig> {
    ClientConfig::new(&nameserver_address(secrets.path())).context("bad name server address")
}

async fn connect(
    address: SocketAddr,
    in_flight: usize,
    config: ClientConfig,
) -> Result<Vec<PyroxeneCaller<DirectProxy<EchoService>>>> {
    let direct = DirectProxy::<EchoService>::connect_with(&address.into(), OBJECT, &config).await?;
    let client: EchoServiceClient<_> = direct.client();
    Ok(callers(client, in_flight))
}
