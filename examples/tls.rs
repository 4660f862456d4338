//! TLS on every link, and users with tokens.
//!
//! ```text
//! cargo run --example tls --features nameserver
//! ```
//!
//! The program makes its certificates, users and tokens itself, in a temporary directory. Otherwise they
//! come from `pyroxene certs` and `pyroxene users`.

use pyroxene::{
    CallError, Client, ClientConfig, Credentials, NameServer, NameServerConfig, TlsClient,
    TlsServer, Worker,
    common::{
        identity::{Patterns, Role},
        scope,
        tls::{ClientAuth, KeyPairFiles},
    },
    interface,
    nameserver::users::Users,
    tarpc::context::{self, Context},
};
use pyroxene_certs::{CertificateAuthority, CertificateRequest};
use std::{
    error::Error,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

interface! {
    /// A safe.
    #[name = "Example.Safe"]
    #[version = 1]
    pub trait Safe in safe {
        /// Who the caller has proved to be.
        #[idempotent]
        async fn visitor() -> Option<String>;
        /// Opens the safe.
        async fn open() -> String;
    }
}

#[derive(Clone)]
struct Vault;

impl safe::Safe for Vault {
    async fn visitor(self, _: Context) -> Option<String> {
        let caller = scope::current().caller;
        caller.identity.as_ref().map(|user| user.name.clone())
    }

    async fn open(self, _: Context) -> String {
        "gold".to_owned()
    }
}

/// Adds a user, and gives what it logs in with.
fn add(
    users: &Path,
    name: &str,
    role: Role,
    allow: Patterns,
) -> Result<Credentials, Box<dyn Error>> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now_ms = u64::try_from(now_ms)?;
    let token = Users::edit_or_create(users, |users| users.add(name, role, allow, now_ms))?;
    Ok(Credentials::new(name, &token.expose()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let authority = CertificateAuthority::create(directory.path())?;
    let node = authority.issue(&CertificateRequest::new("node"))?;
    let (certificate, key) = node.save(directory.path(), "node", false)?;
    let server = TlsServer::new(KeyPairFiles { certificate, key }, None, ClientAuth::None)?;
    let (ca, _) = CertificateAuthority::paths(directory.path());
    let trust = TlsClient::new(ca, None)?;

    let users = directory.path().join("users.toml");
    let visitor_alone: Patterns = vec!["Example.safe.visitor".parse()?].try_into()?;
    let of_worker = add(&users, "w1", Role::Worker, Patterns::any())?;
    let of_ana = add(&users, "ana", Role::User, Patterns::any())?;
    let of_bob = add(&users, "bob", Role::User, visitor_alone)?;

    let config = NameServerConfig::new("127.0.0.1:0".parse()?)
        .tls(server.clone())
        .users(&users);
    let nameserver = NameServer::bind(config).await?;
    let address = nameserver.local_addr().to_string();
    let worker = Worker::builder()
        .nameserver(&address)
        .tls(server)
        .trust(trust.clone())
        .credentials(of_worker)
        .host("Example.safe", Safe, Vault);
    let _worker = worker.bind().await?;

    for (name, credentials) in [("ana", of_ana), ("bob", of_bob)] {
        let config = ClientConfig::new(&address)?
            .tls(trust.clone())
            .credentials(credentials);
        let client = Client::connect_with(config).await?;
        let safe = client.object::<Safe>("Example.safe").await?;
        let visitor = safe.visitor(context::current()).await;
        assert_eq!(visitor?.as_deref(), Some(name));
        match safe.open(context::current()).await {
            Ok(content) => println!("{name} finds {content}"),
            Err(error @ CallError::Refused(_)) => println!("{name} does not: {error}"),
            Err(error) => return Err(error.into()),
        }
    }

    // Without credentials a client gets no further than the hello.
    let config = ClientConfig::new(&address)?.tls(trust);
    match Client::connect_with(config).await {
        Ok(_) => return Err("a client without credentials was accepted".into()),
        Err(error) => println!("a client without credentials: {error}"),
    }
    Ok(())
}
