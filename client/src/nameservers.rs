//! The name servers of a client: the configured ones, and those that these report.

mod nameserver_list;

use crate::{
    config::ClientConfig,
    deadline::{context_until, context_within},
    error::{AttemptLog, CallError},
    failover::{Failover, Next, NoAnswer, Repeat, RequestTimes, Unanswered},
    nameserver::NameServerClient,
    tickets::Tickets,
};
use nameserver_list::NameServerList;
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    endpoint::Endpoint,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};
use tarpc::context::Context;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// How often each name server is asked for the addresses of the others.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The timeout of that request.
const PEERS_TIMEOUT: Duration = Duration::from_secs(2);

/// The changing list of name servers. Each has a number that is never reused.
pub(crate) struct ClientNameServers {
    config: ClientConfig,
    tickets: Tickets,
    state: Mutex<ClientNameServersState>,
    /// The index of the name server that answered last. It is asked first.
    preferred: AtomicUsize,
    changes: watch::Sender<()>,
    stop: CancellationToken,
}

struct ClientNameServersState {
    nameserver_list: NameServerList,
    known: BTreeMap<usize, KnownNameServer>,
    /// Whether the name servers are asked for the addresses of the others.
    asking: bool,
}

struct KnownNameServer {
    nameserver: NameServerClient,
    stop: CancellationToken,
}

impl ClientNameServers {
    pub(crate) fn new(config: &ClientConfig, stop: CancellationToken) -> Arc<Self> {
        let nameservers = Arc::new(Self {
            tickets: Tickets::default(),
            state: Mutex::new(ClientNameServersState {
                nameserver_list: NameServerList::new(config.endpoints().to_vec()),
                known: BTreeMap::new(),
                asking: false,
            }),
            // Different clients prefer different name servers at first.
            preferred: AtomicUsize::new(rand::random_range(0..=u16::MAX).into()),
            changes: watch::Sender::new(()),
            config: config.clone(),
            stop,
        });
        nameservers.apply_list(&mut nameservers.lock());
        nameservers
    }

    fn lock(&self) -> MutexGuard<'_, ClientNameServersState> {
        // The data stays valid even if a lock holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of configured name servers.
    pub(crate) fn configured(&self) -> usize {
        self.config.endpoints().len()
    }

    /// All name servers with their numbers, the configured ones first.
    pub(crate) fn numbered(&self) -> Vec<(usize, NameServerClient)> {
        let state = self.lock();
        let known = state.known.iter();
        known
            .map(|(number, known)| (*number, known.nameserver.clone()))
            .collect()
    }

    /// All name servers, the configured ones first.
    pub(crate) fn list(&self) -> Vec<NameServerClient> {
        let state = self.lock();
        let known = state.known.values();
        known.map(|known| known.nameserver.clone()).collect()
    }

    /// Asks for the answer of any name server, first of the one that answered last. `question` gets a context
    /// with the deadline of the attempt.
    pub(crate) async fn ask_any<T, E, F>(
        &self,
        times: RequestTimes,
        question: impl Fn(NameServerClient, Context) -> F,
    ) -> Result<T, Unanswered<E>>
    where
        F: Future<Output = Result<T, NoAnswer<E>>>,
    {
        let nameservers = self.list();
        let times = RequestTimes {
            absence: self.config.absence_timeout,
            ..times
        };
        let asked = Failover::staggered(&nameservers, &self.preferred, &times);
        let ask =
            |one: &NameServerClient| question(one.clone(), context_until(times.attempt_deadline()));
        asked.first(ask).await
    }

    /// Waits until any name server answers. One that is silent or hangs up is asked again until the deadline.
    pub(crate) async fn reach(&self, deadline: Instant) -> Result<(), CallError> {
        let nameservers = self.list();
        let asked = Failover::race(&nameservers, Repeat::Until(deadline));
        let answer = asked.first(|one| {
            let directory = one.directory();
            unless_absent(async move { directory.status(context_until(deadline)).await })
        });
        let none = || CallError::Unavailable(Box::default());
        let answer = answer.await.map(drop);
        answer.map_err(|unanswered| {
            // The user can do something about a refusal, also if another name server is down.
            let error =
                unanswered.weightiest(|failure| matches!(failure.error, CallError::Refused(_)));
            error.unwrap_or_else(none)
        })
    }

    /// See [`Client::all_answers`](crate::Client::all_answers).
    pub(crate) async fn all_answers<T, F>(
        &self,
        deadline: Instant,
        grace: Duration,
        question: impl Fn(NameServerClient, Context) -> F,
    ) -> Vec<(NameServerClient, Result<T, CallError>)>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let nameservers = self.list();
        let times = RequestTimes::quick(Repeat::Until(deadline));
        let asked = Failover::race(&nameservers, times.repeat);
        let ask = |one: &NameServerClient| {
            let context = context_until(times.attempt_deadline());
            unless_absent(question(one.clone(), context))
        };
        let answers = asked.all(deadline, grace, ask).await;
        let silent = || {
            Err(CallError::DeadlineExceeded(Box::new(AttemptLog {
                reason: Some("no answer in time".to_owned()),
                ..AttemptLog::default()
            })))
        };
        let answers = answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(silent));
        nameservers.iter().cloned().zip(answers).collect()
    }

    /// Notifies of every change of the list.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The tickets to present to workers, if the client can log in at a name server.
    pub(crate) fn client_tickets(&self) -> Option<Tickets> {
        let passport = self.tickets.clone();
        (!passport.logins().is_empty()).then_some(passport)
    }

    /// Records the addresses that a name server reports, or that it did not answer (`None`).
    pub(crate) fn record_peers(self: &Arc<Self>, from: usize, addresses: Option<&[String]>) {
        let mut state = self.lock();
        if state.nameserver_list.record_peers(from, addresses) {
            self.apply_list(&mut state);
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
    pub(crate) async fn balanced_endpoint(&self) -> Option<Endpoint> {
        for endpoint in self.config.endpoints() {
            let incarnation = || async {
                // Over a separate connection.
                let nameserver = NameServerClient::new(endpoint.clone(), &self.config);
                let answer = nameserver
                    .directory()
                    .peers(context_within(PEERS_TIMEOUT))
                    .await;
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
    fn apply_list(self: &Arc<Self>, state: &mut ClientNameServersState) {
        let mut missing: BTreeMap<_, _> = state.nameserver_list.entries().collect();
        state.known.retain(|number, known| {
            let stays = missing.remove(number).is_some();
            if !stays {
                tracing::info!(nameserver = %known.nameserver.endpoint(), "name server gone");
                known.stop.cancel();
            }
            stays
        });
        for (number, endpoint) in missing {
            let known = KnownNameServer {
                nameserver: NameServerClient::new(endpoint.clone(), &self.config),
                stop: self.stop.child_token(),
            };
            if let Some(login) = known.nameserver.login() {
                let renewers = Arc::clone(self.tickets.credential_sinks());
                tokio::spawn(Arc::clone(login).keep_ticket_fresh(renewers, known.stop.clone()));
            }
            if state.asking {
                tracing::info!(nameserver = %endpoint, "name server found");
                self.ask(number, &known);
            }
            state.known.insert(number, known);
        }
        let logins = state.known.values();
        let logins = logins.filter_map(|known| known.nameserver.login().cloned());
        self.tickets.set_logins(logins.collect());
        self.changes.send_replace(());
    }

    fn ask(self: &Arc<Self>, number: usize, known: &KnownNameServer) {
        let (nameservers, nameserver) = (Arc::clone(self), known.nameserver.clone());
        let stop = known.stop.clone();
        tokio::spawn(async move {
            let asking = nameservers.keep_asking(number, nameserver);
            stop.run_until_cancelled(asking).await;
        });
    }

    async fn keep_asking(self: Arc<Self>, number: usize, nameserver: NameServerClient) {
        loop {
            let told = nameserver
                .directory()
                .peers(context_within(PEERS_TIMEOUT))
                .await;
            let addresses = told.ok().map(|peers| peers.addresses);
            self.record_peers(number, addresses.as_deref());
            sleep(ASK_EVERY).await;
        }
    }
}

/// The answer of a name server. A name server that does not listen is not asked again.
async fn unless_absent<T>(
    answer: impl Future<Output = Result<T, CallError>>,
) -> Result<T, NoAnswer<CallError>> {
    answer.await.map_err(|error| {
        let next = match next_of(&error) {
            Next::Absent => Next::Unable,
            next => next,
        };
        NoAnswer::new(next, error)
    })
}

/// What the error of a call means for a request that every name server can answer. One that was silent or busy may
/// answer later, and so may one that hung up: a balancer hangs up while no name server is behind it.
pub(crate) fn next_of(error: &CallError) -> Next {
    let last = error.attempts().last().map(|last| &last.error);
    match (error, last) {
        (CallError::DeadlineExceeded(_), _) => Next::Later,
        _ if error.may_be_answered_later() => Next::Later,
        (_, Some(AttemptError::NotSent(ConnectionLost::Io(_)))) => Next::Absent,
        _ => Next::Unable,
    }
}
