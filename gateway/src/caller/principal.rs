//! The client of one caller.

use crate::problem::{Problem, ProblemKind};
use pyroxene_client::{
    CallerCredentials, CallerLogin, Client, ClientConfig, DynamicObject, NameServerClient, Policy,
    context_within,
};
use pyroxene_common::{
    identity::Identity,
    interfaces::directory::{ObjectEntry, ObjectFilter},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tarpc::context;
use tokio::time::Instant;

/// How long the description of an object is used before it is asked for again: the object's workers may have
/// been replaced by others with a newer interface.
const DESCRIPTION_LIFE: Duration = Duration::from_secs(10);

/// The most objects of a caller whose descriptions are kept.
const MAX_OBJECTS: usize = 256;

/// How long the name server in this process may take to answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A caller, with clients that have its rights.
pub(crate) struct Principal {
    identity: Option<Identity>,
    credentials: Option<CallerCredentials>,
    config: ClientConfig,
    client: Client,
    round_robin: OnceLock<Client>,
    objects: Mutex<HashMap<ObjectKey, KnownObject>>,
}

/// The name of an object, and whether it is called with the default policy: there are two.
type ObjectKey = (String, bool);

struct KnownObject {
    object: Arc<DynamicObject>,
    since: Instant,
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.identity.as_ref().map(|identity| &*identity.name);
        f.debug_tuple("Principal").field(&name).finish()
    }
}

impl Principal {
    pub(super) fn new(login: CallerLogin, credentials: Option<CallerCredentials>) -> Self {
        let config = login.config.name("gateway");
        Self {
            identity: login.identity,
            credentials,
            client: Client::new(config.clone()),
            config,
            round_robin: OnceLock::new(),
            objects: Mutex::default(),
        }
    }

    /// The gateway itself.
    pub(super) fn own(config: ClientConfig) -> Self {
        let login = CallerLogin {
            identity: None,
            config,
        };
        Self::new(login, None)
    }

    /// Its identity; `None` where authentication is off.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The name by which it takes turns with other callers.
    pub(crate) fn turn_name(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.name)
    }

    pub(crate) fn credentials(&self) -> Option<&CallerCredentials> {
        self.credentials.as_ref()
    }

    /// Its client with this policy.
    pub(crate) fn client(&self, policy: Policy) -> &Client {
        if policy == Policy::default() {
            return &self.client;
        }
        let other = || Client::new(self.config.clone().policy(policy));
        self.round_robin.get_or_init(other)
    }

    /// The name server in this process.
    pub(crate) fn nameserver(&self) -> Result<NameServerClient, Problem> {
        let first = self.client.nameservers().into_iter().next();
        first.ok_or_else(|| Problem::internal("the gateway has no name server"))
    }

    fn known_objects(&self) -> MutexGuard<'_, HashMap<ObjectKey, KnownObject>> {
        // Plain data: valid even if a holder of the lock panicked.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is known about an object.
    pub(crate) fn forget(&self, name: &str) {
        self.known_objects().retain(|(known, _), _| known != name);
    }

    /// An object that can be called by the names of its methods.
    pub(crate) async fn object(
        &self,
        name: &str,
        policy: Policy,
        context: context::Context,
    ) -> Result<Arc<DynamicObject>, Problem> {
        let key = (name.to_owned(), policy == Policy::default());
        let known = self.known_objects().get(&key).and_then(|known| {
            let is_fresh = known.since.elapsed() < DESCRIPTION_LIFE;
            is_fresh.then(|| Arc::clone(&known.object))
        });
        if let Some(known) = known {
            return Ok(known);
        }
        // A client follows every name that it was ever asked for, so it is asked for names that exist alone.
        self.exists(name, context).await?;
        let object = self.client(policy).dynamic(name, context).await?;
        let object = Arc::new(object);
        let mut objects = self.known_objects();
        if objects.len() >= MAX_OBJECTS {
            objects.retain(|_, known| known.since.elapsed() < DESCRIPTION_LIFE);
        }
        if objects.len() < MAX_OBJECTS {
            let known = KnownObject {
                object: Arc::clone(&object),
                since: Instant::now(),
            };
            objects.insert(key, known);
        }
        Ok(object)
    }

    /// The entry of an object in the directory.
    pub(crate) async fn exists(
        &self,
        name: &str,
        context: context::Context,
    ) -> Result<ObjectEntry, Problem> {
        let nameserver = self.nameserver()?;
        let filter = ObjectFilter {
            prefix: Some(name.to_owned()),
            ..ObjectFilter::default()
        };
        let listed = nameserver.directory().list(context, filter).await;
        let listed = listed.map_err(Problem::from);
        let listed = match listed?.map_err(Problem::from) {
            Ok(listed) => listed,
            // What is no valid name is the name of no object.
            Err(problem) if problem.kind == ProblemKind::BadRequest => Vec::new(),
            Err(problem) => return Err(problem),
        };
        if let Some(entry) = listed.into_iter().find(|entry| entry.name == name) {
            return Ok(entry);
        }
        let status = nameserver.directory().status(context).await;
        let status = status.map_err(Problem::from);
        let name = name.escape_debug();
        match status?.settled {
            true => Err(Problem::not_found(format!("there is no object '{name}'"))),
            false => Err(Problem::new(
                ProblemKind::Unavailable,
                format!(
                    "object '{name}' is unavailable: the name server has just started, and no worker \
                     that hosts it has registered again yet"
                ),
            )),
        }
    }
}

/// The context of a question to the name server.
pub(crate) fn short_context() -> context::Context {
    context_of(ANSWER_TIMEOUT)
}

/// The context of a call that may take some time.
pub(crate) fn context_of(timeout: Duration) -> context::Context {
    context_within(timeout)
}
