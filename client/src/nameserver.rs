//! A client's view of one name server: the objects that it hosts itself, and the client's login there.

mod login;
mod service;

pub use login::{Held, Recognised};
pub(crate) use login::{Login, Renewers};
pub use service::Service;

use crate::{config::ClientConfig, connect::Greeting};
use pyroxene_common::{
    channel::AttemptError,
    endpoint::Endpoint,
    interface::Interface,
    interfaces::{
        access::{self, Access, access::AccessClient},
        directory::{self, Directory, directory::DirectoryClient},
        presence::{self, Presence, presence::PresenceClient},
        tasks::{self, Tasks, tasks::TasksClient},
        topics::{self, Topics, topics::TopicsClient},
    },
};
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// One name server. Its connections are opened when they are needed.
#[derive(Clone)]
pub struct NameServer(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    login: Option<Arc<Login>>,
    directory: Service<Directory>,
    access: Service<Access>,
    tasks: Service<Tasks>,
    presence: Service<Presence>,
    topics: Service<Topics>,
}

impl fmt::Debug for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameServer({})", self.0.endpoint)
    }
}

impl NameServer {
    /// A name server, without a connection yet. `config` has the settings of its connections.
    ///
    /// ```no_run
    /// use pyroxene_client::{ClientConfig, NameServer};
    /// use tarpc::context;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = ClientConfig::new("127.0.0.1:9090,127.0.0.1:9190")?;
    /// // Unlike a client, each of these asks one name server only.
    /// for endpoint in config.endpoints() {
    ///     let nameserver = NameServer::new(endpoint.clone(), &config);
    ///     let status = nameserver.directory().status(context::current()).await?;
    ///     println!("{endpoint} knows {} instances", status.instances);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(endpoint: Endpoint, config: &ClientConfig) -> Self {
        let stranger = Service::new(
            endpoint.clone(),
            access::OBJECT,
            Greeting::new::<Access>(config),
            None,
        );
        // A name server in this process knows its caller without a login.
        let can_log_in = config.security.can_log_in() && config.local.is_none();
        let login = can_log_in.then(|| {
            let security = config.security.clone();
            Arc::new(Login::new(endpoint.clone(), security, stranger))
        });
        Self(Arc::new(Inner {
            directory: service::<Directory>(&endpoint, directory::OBJECT, config, &login),
            access: service::<Access>(&endpoint, access::OBJECT, config, &login),
            tasks: service::<Tasks>(&endpoint, tasks::OBJECT, config, &login),
            presence: service::<Presence>(&endpoint, presence::OBJECT, config, &login),
            topics: service::<Topics>(&endpoint, topics::OBJECT, config, &login),
            login,
            endpoint,
        }))
    }

    /// Its endpoint.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// tarpc's client for its directory.
    pub fn directory(&self) -> DirectoryClient<Service<Directory>> {
        self.0.directory.clone().into()
    }

    /// tarpc's client for its access object.
    pub fn access(&self) -> AccessClient<Service<Access>> {
        self.0.access.clone().into()
    }

    /// tarpc's client for its tasks. [`Client::submit`](crate::Client::submit) uses any name server that
    /// answers.
    pub fn tasks(&self) -> TasksClient<Service<Tasks>> {
        self.0.tasks.clone().into()
    }

    /// tarpc's client for its presence object.
    pub fn presence(&self) -> PresenceClient<Service<Presence>> {
        self.0.presence.clone().into()
    }

    /// tarpc's client for its topics.
    pub fn topics(&self) -> TopicsClient<Service<Topics>> {
        self.0.topics.clone().into()
    }

    /// Logs in at the name server, unless this client is logged in already. The receiver has the current
    /// state of the login and its later changes. `None` if the client has neither credentials nor a
    /// certificate.
    pub async fn recognise(&self) -> Result<Option<watch::Receiver<Recognised>>, AttemptError> {
        let Some(login) = &self.0.login else {
            return Ok(None);
        };
        let recognised = login.recognised();
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
) -> Service<I> {
    Service::new(
        endpoint.clone(),
        object,
        Greeting::new::<I>(config),
        login.clone(),
    )
}
