//! The name servers of a client: the configured ones, and those that these report.

mod roll;

use crate::{config::ClientConfig, nameserver::NameServer, passport::Passport};
use pyroxene_common::endpoint::Endpoint;
use roll::Roll;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tarpc::context;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// How often each name server is asked for the addresses of the others.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The timeout of that request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The changing list of name servers. Each has a number that is never reused.
pub(crate) struct NameServers {
    config: ClientConfig,
    passport: Passport,
    state: Mutex<State>,
    changes: watch::Sender<()>,
    stop: CancellationToken,
}

struct State {
    roll: Roll,
    known: BTreeMap<usize, Known>,
    /// Whether the name servers are asked for the addresses of the others.
    asking: bool,
}

struct Known {
    nameserver: NameServer,
    stop: CancellationToken,
}

impl NameServers {
    pub(crate) fn new(config: &ClientConfig, stop: CancellationToken) -> Arc<Self> {
        let nameservers = Arc::new(Self {
            passport: Passport::default(),
            state: Mutex::new(State {
                roll: Roll::new(config.endpoints().to_vec()),
                known: BTreeMap::new(),
                asking: false,
            }),
            changes: watch::Sender::new(()),
            config: config.clone(),
            stop,
        });
        nameservers.take_over(&mut nameservers.lock());
        nameservers
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The data stays valid even if a lock holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All name servers with their numbers, the configured ones first.
    pub(crate) fn numbered(&self) -> Vec<(usize, NameServer)> {
        let state = self.lock();
        let known = state.known.iter();
        known
            .map(|(number, known)| (*number, known.nameserver.clone()))
            .collect()
    }

    /// Notifies of every change of the list.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The tickets to present to workers, if the client can log in at a name server.
    pub(crate) fn passport(&self) -> Option<Passport> {
        let passport = self.passport.clone();
        (!passport.logins().is_empty()).then_some(passport)
    }

    /// Records the addresses that a name server reports, or that it did not answer (`None`).
    pub(crate) fn hear(self: &Arc<Self>, from: usize, addresses: Option<&[String]>) {
        let mut state = self.lock();
        if state.roll.hear(from, addresses) {
            self.take_over(&mut state);
        }
    }

    /// Starts to ask each name server periodically for the addresses of the others, once. A client of the
    /// name server in this process needs no others.
    pub(crate) fn begin_asking(self: &Arc<Self>) {
        if self.config.local.is_some() {
            return;
        }
        let mut state = self.lock();
        if !std::mem::replace(&mut state.asking, true) {
            for (number, known) in &state.known {
                self.ask(*number, known);
            }
        }
    }

    /// A configured address behind which several name servers answer in turn, if there is one.
    pub(crate) async fn balanced(&self) -> Option<Endpoint> {
        for endpoint in self.config.endpoints() {
            let incarnation = || async {
                // Over a separate connection.
                let nameserver = NameServer::new(endpoint.clone(), &self.config);
                let answer = nameserver.directory().peers(soon()).await;
                answer.ok().map(|peers| peers.epoch)
            };
            let (one, other) = (incarnation().await, incarnation().await);
            if one.is_some() && other.is_some() && one != other {
                return Some(endpoint.clone());
            }
        }
        None
    }

    /// Updates the known name servers to match the list.
    fn take_over(self: &Arc<Self>, state: &mut State) {
        let mut missing: BTreeMap<_, _> = state.roll.entries().collect();
        state.known.retain(|number, known| {
            let stays = missing.remove(number).is_some();
            if !stays {
                tracing::info!(nameserver = %known.nameserver.endpoint(), "name server gone");
                known.stop.cancel();
            }
            stays
        });
        for (number, endpoint) in missing {
            let known = Known {
                nameserver: NameServer::new(endpoint.clone(), &self.config),
                stop: self.stop.child_token(),
            };
            if let Some(login) = known.nameserver.login() {
                let renewers = Arc::clone(self.passport.renewers());
                tokio::spawn(Arc::clone(login).keep(renewers, known.stop.clone()));
            }
            if state.asking {
                tracing::info!(nameserver = %endpoint, "name server found");
                self.ask(number, &known);
            }
            state.known.insert(number, known);
        }
        let logins = state.known.values();
        let logins = logins.filter_map(|known| known.nameserver.login().cloned());
        self.passport.set_logins(logins.collect());
        self.changes.send_replace(());
    }

    fn ask(self: &Arc<Self>, number: usize, known: &Known) {
        let (nameservers, nameserver) = (Arc::clone(self), known.nameserver.clone());
        let stop = known.stop.clone();
        tokio::spawn(async move {
            let asking = nameservers.keep_asking(number, nameserver);
            stop.run_until_cancelled(asking).await;
        });
    }

    async fn keep_asking(self: Arc<Self>, number: usize, nameserver: NameServer) {
        loop {
            let told = nameserver.directory().peers(soon()).await;
            let addresses = told.ok().map(|peers| peers.addresses);
            self.hear(number, addresses.as_deref());
            sleep(ASK_EVERY).await;
        }
    }
}

fn soon() -> context::Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + ANSWER_TIMEOUT).into_std();
    context
}
