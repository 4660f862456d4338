//! A client's view of one name server: the objects that it hosts itself, and the client's login there.

mod link;
mod login;
mod service;

pub(crate) use login::{CredentialSinks, Login};
pub use login::{LoginState, ReceivedAdmission};
pub use service::NameServerService;

use crate::{config::ClientConfig, connect::ConnectOptions, error::CallError};
use pyroxene_common::{
    channel::AttemptError,
    endpoint::Endpoint,
    interface::Interface,
    interfaces::{
        access::{self, Access, access::AccessClient},
        batches::{self, Batches, batches::BatchesClient},
        directory::{
            self, Cursor, Directory, DirectoryError, Lease, Registration, VersionedWatchResponse,
            WatchResponse, directory::DirectoryClient,
        },
        figures::{self, Figures, figures::FiguresClient},
        presence::{self, Presence, presence::PresenceClient},
        schedules::{self, Schedules, schedules::SchedulesClient},
        tasks::{self, Tasks, tasks::TasksClient},
        topics::{self, Topics, topics::TopicsClient},
        visitors::{self, Visitors, visitors::VisitorsClient},
    },
};
use std::{fmt, sync::Arc};
use tarpc::context::Context;
use tokio::sync::watch;

/// One name server. Its connections are opened when they are needed.
#[derive(Clone)]
pub struct NameServerClient(Arc<NameServerClientInner>);

struct NameServerClientInner {
    endpoint: Endpoint,
    login: Option<Arc<Login>>,
    directory: NameServerService<Directory>,
    access: NameServerService<Access>,
    tasks: NameServerService<Tasks>,
    presence: NameServerService<Presence>,
    batches: NameServerService<Batches>,
    schedules: NameServerService<Schedules>,
    topics: NameServerService<Topics>,
    figures: NameServerService<Figures>,
    visitors: NameServerService<Visitors>,
}

impl fmt::Debug for NameServerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameServer({})", self.0.endpoint)
    }
}

impl NameServerClient {
    /// A name server, without a connection yet. `config` has the settings of its connections.
    ///
    /// ```no_run
    /// use pyroxene_client::{ClientConfig, NameServerClient};
    /// use tarpc::context;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = ClientConfig::new("127.0.0.1:9090,127.0.0.1:9190")?;
    /// // Unlike a client, each of these asks one name server only.
    /// for endpoint in config.endpoints() {
    ///     let nameserver = NameServerClient::new(endpoint.clone(), &config);
    ///     let status = nameserver.directory().status(context::current()).await?;
    ///     println!("{endpoint} knows {} instances", status.instances);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(endpoint: Endpoint, config: &ClientConfig) -> Self {
        // A name server in this process knows its caller without a login.
        let knows_us = config.local.is_some() && config.security.ticket_source.is_none();
        let can_log_in = config.security.can_log_in() && !knows_us;
        let login = can_log_in.then(|| {
            let security = config.security.clone();
            let options = ConnectOptions::new::<Access>(config);
            Arc::new(Login::new(endpoint.clone(), security, options))
        });
        Self(Arc::new(NameServerClientInner {
            directory: service::<Directory>(&endpoint, directory::OBJECT, config, &login),
            access: service::<Access>(&endpoint, access::OBJECT, config, &login),
            tasks: service::<Tasks>(&endpoint, tasks::OBJECT, config, &login),
            presence: service::<Presence>(&endpoint, presence::OBJECT, config, &login),
            batches: service::<Batches>(&endpoint, batches::OBJECT, config, &login),
            schedules: service::<Schedules>(&endpoint, schedules::OBJECT, config, &login),
            topics: service::<Topics>(&endpoint, topics::OBJECT, config, &login),
            figures: service::<Figures>(&endpoint, figures::OBJECT, config, &login),
            visitors: service::<Visitors>(&endpoint, visitors::OBJECT, config, &login),
            login,
            endpoint,
        }))
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// The client of its directory.
    pub fn directory(&self) -> DirectoryClient<NameServerService<Directory>> {
        self.0.directory.clone().into()
    }

    /// Opens a session of a worker. A name server of an earlier version does not learn which versions of their interfaces
    /// the objects speak.
    pub async fn open_session(
        &self,
        context: Context,
        mut registration: Registration,
    ) -> Result<Result<Lease, DirectoryError>, CallError> {
        let directory = self.directory();
        let spoken = registration.take_spoken();
        if spoken.iter().all(Vec::is_empty) {
            return directory.open(context, registration, None).await;
        }
        let opening = directory.open(context, registration.clone(), Some(spoken));
        match opening.await {
            Err(error) if error.is_about_another_interface() => {
                directory.open(context, registration, None).await
            }
            opened => opened,
        }
    }

    /// Watches an object: `DirectoryClient::watch`, with the versions that the instances speak if the name server knows
    /// them.
    pub async fn watch(
        &self,
        context: Context,
        object: String,
        after: Option<Cursor>,
        wait_ms: u64,
    ) -> Result<Result<WatchResponse, DirectoryError>, CallError> {
        let directory = self.directory();
        let watching = directory.watch_versions(context, object.clone(), after, wait_ms);
        match watching.await {
            Err(error) if error.is_about_another_interface() => {
                directory.watch(context, object, after, wait_ms).await
            }
            watched => Ok(watched?.map(VersionedWatchResponse::into_response)),
        }
    }

    /// The client of its access object.
    pub fn access(&self) -> AccessClient<NameServerService<Access>> {
        self.0.access.clone().into()
    }

    /// The client of its tasks. [`Client::submit`](crate::Client::submit) uses any name server that
    /// answers.
    pub fn tasks(&self) -> TasksClient<NameServerService<Tasks>> {
        self.0.tasks.clone().into()
    }

    /// The client of its batches. [`Client::begin_batch`](crate::Client::begin_batch) uses any name server that
    /// answers.
    pub fn batches(&self) -> BatchesClient<NameServerService<Batches>> {
        self.0.batches.clone().into()
    }

    /// The client of its schedules. [`Client::schedules`](crate::Client::schedules) uses any name server that
    /// answers.
    pub fn schedules(&self) -> SchedulesClient<NameServerService<Schedules>> {
        self.0.schedules.clone().into()
    }

    /// The client of its presence object.
    pub fn presence(&self) -> PresenceClient<NameServerService<Presence>> {
        self.0.presence.clone().into()
    }

    /// The client of its topics.
    pub fn topics(&self) -> TopicsClient<NameServerService<Topics>> {
        self.0.topics.clone().into()
    }

    /// The client of its figures of calls.
    pub fn figures(&self) -> FiguresClient<NameServerService<Figures>> {
        self.0.figures.clone().into()
    }

    /// The client of what it knows of those who were here.
    pub fn visitors(&self) -> VisitorsClient<NameServerService<Visitors>> {
        self.0.visitors.clone().into()
    }

    /// Logs in at the name server, unless this client is logged in already. The receiver has the current
    /// state of the login and its later changes. `None` if the client has neither credentials nor a
    /// certificate.
    pub async fn watch_login(&self) -> Result<Option<watch::Receiver<LoginState>>, AttemptError> {
        let Some(login) = &self.0.login else {
            return Ok(None);
        };
        let recognised = login.subscribe_login_state();
        login.ticket().await?;
        Ok(Some(recognised))
    }

    pub(crate) fn login(&self) -> Option<&Arc<Login>> {
        self.0.login.as_ref()
    }
}

fn service<I: Interface>(
    endpoint: &Endpoint,
    object: &'static str,
    config: &ClientConfig,
    login: &Option<Arc<Login>>,
) -> NameServerService<I> {
    NameServerService::new(
        endpoint.clone(),
        object,
        ConnectOptions::new::<I>(config),
        login.clone(),
    )
}

#[cfg(test)]
mod tests;
