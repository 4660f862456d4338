//! A broker that asks everybody who they are.

use super::{Broker, Keys, Plan, Ran, Shim, Terms, eventually};
use pyroxene_certs::CertificateRole;
use pyroxene_client::{Client, ClientConfig, Credentials};
use std::{
    future::IntoFuture,
    ops::{Deref, DerefMut},
    pin::Pin,
};
use tempfile::TempDir;

/// A running broker that asks everybody who they are.
pub(crate) struct SecuredBroker {
    broker: Broker,
    pub(crate) keys: Keys,
    scheme: Scheme,
}

/// By what people are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// Tokens, in the clear.
    Tokens,
    /// Tokens, over TLS.
    TokensOverTls,
    /// Certificates, without which nobody connects.
    Certificates,
}

/// What a secured broker is to begin with. There are `root` (an admin), `host` (a worker, as whom
/// every worker logs in), `ana` (a user) and `oli` (an observer), each of whom may use everything
/// that the role may.
pub(crate) struct Secured {
    scheme: Scheme,
    nameserver_flags: Vec<String>,
    takes_certificates: bool,
    log: Option<String>,
    machine: Option<Shim>,
    plan: Plan,
}

impl SecuredBroker {
    fn plan(scheme: Scheme) -> Secured {
        Secured {
            scheme,
            nameserver_flags: Vec::new(),
            takes_certificates: false,
            log: None,
            machine: None,
            plan: Plan::default().nameservers(1),
        }
    }

    /// One that knows people by their tokens, and speaks in the clear.
    pub(crate) fn with_tokens() -> Secured {
        Self::plan(Scheme::Tokens)
    }

    /// One that knows people by their tokens, and speaks TLS.
    pub(crate) fn with_tokens_over_tls() -> Secured {
        Self::plan(Scheme::TokensOverTls)
    }

    /// One that knows people by their certificates. It has no users file.
    pub(crate) fn with_certificates() -> Secured {
        Self::plan(Scheme::Certificates)
    }

    /// Adds a user, and waits until the name server knows it.
    pub(crate) async fn add_user(&self, name: &str, role: &str, allow: &[&str]) {
        self.keys.add(name, role, allow).await;
        self.hang_up_all();
        self.is_let_in(name).await;
    }

    /// Waits until the name server lets somebody in.
    pub(crate) async fn is_let_in(&self, name: &str) {
        eventually(&format!("{name} is let in"), || async {
            let ran = self.run_as(name, &["whoami"]).await;
            (ran.code == Some(0)).then_some(()).ok_or(ran.stderr)
        })
        .await;
    }

    /// Flags with which somebody gets in.
    pub(crate) fn flags(&self, name: &str) -> Vec<String> {
        self.scheme.flags(&self.keys, name)
    }

    /// Runs a client command as somebody.
    pub(crate) async fn run_as(&self, name: &str, arguments: &[&str]) -> Ran {
        let flags = self.flags(name);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.broker.run(&[arguments, &flags].concat()).await
    }

    /// The settings of a library client that is somebody.
    pub(crate) fn config(&self, name: &str) -> ClientConfig {
        self.config_at(&self.broker.addresses(), name)
    }

    /// The same, for name servers that are reached at these addresses.
    pub(crate) fn config_at(&self, addresses: &str, name: &str) -> ClientConfig {
        self.scheme.terms(&self.keys, name).config(addresses)
    }

    /// A library client that is somebody.
    pub(crate) async fn client_as(&self, name: &str) -> Client {
        Client::connect_with(self.config(name)).await.unwrap()
    }

    /// Starts a worker, which must be refused; as somebody.
    pub(crate) async fn refused_worker(&self, user: &str, flags: &[&str]) -> Ran {
        let own = self.scheme.worker_flags(&self.keys, user);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let addresses = self.broker.addresses();
        let common = ["worker", "--nameserver", &addresses];
        let all = [&common[..], &own, flags].concat();
        // Its log tells the same, before the error does.
        Ran::with(self.broker.dir(), &[("RUST_LOG", "off")], &all).await
    }
}

impl Scheme {
    fn flags(self, keys: &Keys, name: &str) -> Vec<String> {
        match self {
            Self::Tokens => keys.log_in(name),
            Self::TokensOverTls => [keys.trust(), keys.log_in(name)].concat(),
            Self::Certificates => [keys.trust(), keys.show(name)].concat(),
        }
    }

    fn worker_flags(self, keys: &Keys, user: &str) -> Vec<String> {
        let mut flags = self.flags(keys, user);
        match self {
            Self::Tokens => {}
            Self::TokensOverTls => flags.extend(keys.show("host")),
            Self::Certificates => {
                flags.extend(["--tls-client-auth", "required"].map(str::to_owned));
            }
        }
        flags
    }

    /// How the harness gets in as somebody.
    fn terms(self, keys: &Keys, name: &str) -> Terms {
        let certificate = Some(name).filter(|_| self == Self::Certificates);
        Terms {
            tls: (self != Self::Tokens).then(|| keys.tls(certificate)),
            credentials: (self != Self::Certificates)
                .then(|| Credentials::new(name, &keys.token(name))),
            ..Terms::default()
        }
    }

    fn nameserver_flags(self, keys: &Keys) -> Vec<String> {
        let users = ["--users".to_owned(), keys.path("users.toml")];
        match self {
            Self::Tokens => users.to_vec(),
            Self::TokensOverTls => [&users[..], &keys.show("server")].concat(),
            Self::Certificates => {
                let demand = ["--tls-client-auth", "required"].map(str::to_owned);
                [&keys.show("server")[..], &keys.trust(), &demand].concat()
            }
        }
    }
}

impl Secured {
    /// With a worker of this name, started with further flags.
    pub(crate) fn worker(mut self, name: &str, flags: &[&str]) -> Self {
        self.plan = self.plan.worker(name, flags);
        self
    }

    /// With so many name servers.
    pub(crate) fn nameservers(mut self, count: usize) -> Self {
        self.plan = self.plan.nameservers(count);
        self
    }

    /// With one store for all name servers.
    pub(crate) fn one_store(mut self) -> Self {
        self.plan = self.plan.one_store();
        self
    }

    /// With name servers that are started with further flags.
    pub(crate) fn nameserver_flags(mut self, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned());
        self.nameserver_flags.extend(flags);
        self
    }

    /// With daemons whose clock is that of this machine, and its disk.
    pub(crate) fn on(mut self, machine: &Shim) -> Self {
        self.machine = Some(machine.clone());
        self
    }

    /// With name servers that know people by their certificates too.
    pub(crate) fn takes_certificates(mut self) -> Self {
        self.takes_certificates = true;
        self
    }

    /// With daemons that log what this filter says.
    pub(crate) fn log(mut self, filter: &str) -> Self {
        self.log = Some(filter.to_owned());
        self
    }

    async fn start(self) -> SecuredBroker {
        let dir = TempDir::new().unwrap();
        let keys = Keys::in_dir(dir.path());
        let everybody = [
            ("root", CertificateRole::Admin),
            ("host", CertificateRole::Worker),
            ("ana", CertificateRole::User),
            ("oli", CertificateRole::Observer),
        ];
        for (name, role) in everybody {
            if self.scheme == Scheme::Certificates {
                keys.issue(name, Some(role));
            } else {
                keys.add(name, role.name(), &[]).await;
            }
        }
        if self.scheme == Scheme::TokensOverTls {
            keys.issue("host", None);
        }
        if self.scheme != Scheme::Tokens {
            keys.issue("server", None);
        }
        let mut nameserver = [self.scheme.nameserver_flags(&keys), self.nameserver_flags].concat();
        if self.takes_certificates {
            nameserver.extend(keys.trust());
            nameserver.extend(["--tls-client-auth", "optional"].map(str::to_owned));
        }
        let terms = Terms {
            nameserver,
            worker: self.scheme.worker_flags(&keys, "host"),
            log: self.log,
            shim: self.machine,
            ..self.scheme.terms(&keys, "root")
        };
        SecuredBroker {
            broker: self.plan.secured(terms, dir).await,
            keys,
            scheme: self.scheme,
        }
    }
}

impl IntoFuture for Secured {
    type Output = SecuredBroker;
    type IntoFuture = Pin<Box<dyn Future<Output = SecuredBroker> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl Deref for SecuredBroker {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

impl DerefMut for SecuredBroker {
    fn deref_mut(&mut self) -> &mut Broker {
        &mut self.broker
    }
}
