//! The directory of live instances: the object that every name server hosts under the name
//! [`OBJECT`].

mod error;
mod registration;
mod watching;

pub use error::DirectoryError;
pub use registration::{ObjectRegistration, Registration, SpokenLists};
pub use watching::{
    Cursor, Departure, InstanceChange, VersionedWatchResponse, WatchResponse, WatchUpdate,
};

use crate::{clean, identity::HolderId, interface::SpokenVersion, message::Load};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The name of the directory object on a name server.
pub const OBJECT: &str = "directory";

/// The shortest time to live that a lease may have.
pub const MIN_TTL: Duration = Duration::from_millis(500);

/// The longest time to live that a lease may have.
pub const MAX_TTL: Duration = Duration::from_secs(60);

/// The longest name of an object, worker, host, interface or tag, and the longest endpoint, in
/// bytes.
pub const MAX_NAME: usize = 255;

crate::interface! {
    /// Which workers host which objects.
    #[name = "pyroxene.Directory"]
    #[version = 2]
    pub trait Directory in directory {
        /// Opens a session: a lease on every object that the worker hosts. A second session of a worker (same
        /// name and incarnation) replaces the first. `spoken` lists the versions of each object's interface that the
        /// worker speaks, in the order of the objects.
        #[idempotent]
        async fn open(registration: Registration, #[since = 2] spoken: Option<SpokenLists>) -> Result<Lease, DirectoryError>;
        /// Renews a session's lease and reports the worker's load.
        #[idempotent]
        async fn renew(session: SessionId, load: Load) -> Result<Lease, DirectoryError>;
        /// Never answers. The end of its connection tells the directory that the worker may be dead, which
        /// shortens the lease to the next heartbeat.
        #[idempotent]
        async fn hold(session: SessionId) -> Result<(), DirectoryError>;
        /// Marks every instance of a session as draining, so that clients stop choosing them.
        #[idempotent]
        async fn drain(session: SessionId) -> Result<(), DirectoryError>;
        /// Ends a session: its instances leave the directory at once.
        #[idempotent]
        async fn close(session: SessionId) -> Result<(), DirectoryError>;
        /// The instances of an object (no cursor), or the changes since a cursor. With a cursor the call
        /// waits up to `wait_ms` milliseconds for a change. A cursor of another epoch, or one that is older
        /// than the log, gives the error `TooOld`: call again without a cursor.
        #[idempotent]
        async fn watch(object: String, after: Option<Cursor>, wait_ms: u64) -> Result<WatchResponse, DirectoryError>;
        /// The objects that match a filter, by name.
        #[idempotent]
        async fn list(filter: ObjectFilter) -> Result<Vec<ObjectEntry>, DirectoryError>;
        /// Every worker with a live session, by name.
        #[idempotent]
        async fn workers() -> Vec<WorkerEntry>;
        /// Gives a static name to an object at an address without a lease. Registering the same address again
        /// changes nothing; another address replaces it, unless either registration is exclusive.
        #[idempotent]
        async fn register(name: String, uri: String, tags: Vec<String>, exclusive: bool) -> Result<(), DirectoryError>;
        /// Removes a static name.
        #[idempotent]
        async fn remove(name: String) -> Result<(), DirectoryError>;
        /// The status of the name server.
        #[idempotent]
        async fn status() -> NameServerStatus;
        /// The incarnation of this name server, and the addresses of the name servers that share its store.
        #[idempotent]
        async fn peers() -> PeerAddresses;
        /// Marks every instance of a worker as draining, so that clients stop choosing them. The worker goes on
        /// running. Only admins may call it where authentication is on.
        #[idempotent]
        async fn drain_worker(worker: String) -> Result<(), DirectoryError>;
        /// As `watch`, with the versions that the instances speak.
        #[idempotent]
        #[since = 2]
        async fn watch_versions(object: String, after: Option<Cursor>, wait_ms: u64) -> Result<VersionedWatchResponse, DirectoryError>;
    }
}

/// A session's secret id. Any caller that has it can renew or close the session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u64; 2]);

impl std::fmt::Debug for SessionId {
    /// Hides the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionId(…)")
    }
}

impl JsonSchema for SessionId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SessionId".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        <[u64; 2]>::json_schema(generator)
    }
}

/// A lease as the directory granted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// The session.
    pub session: SessionId,
    /// The incarnation of the name server.
    pub epoch: u64,
    /// The time to live from now, in milliseconds.
    pub ttl_ms: u64,
    /// The exclusive names that this session holds, each with its fencing token. The token grows whenever the
    /// name gets another holder.
    pub fences: Vec<(String, u64)>,
}

/// Whether an instance accepts calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It accepts calls.
    Ready,
    /// It finishes running calls and accepts no new ones.
    Draining,
}

impl InstanceState {
    /// The name of the state in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// An instance of an object at one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// The worker's name; empty for a static name.
    pub worker: String,
    /// The worker's incarnation; zero for a static name.
    pub incarnation: u64,
    /// The key with which the worker has authenticated itself to the name server. Clients connect only to the
    /// process with this key, even if another process has the name by then. `None` for a static name, and
    /// where authentication is off.
    pub key: Option<HolderId>,
    /// Its address.
    pub endpoint: String,
    /// The object's name at that endpoint. It differs from the requested name only for static names.
    pub target: String,
    /// The name of its interface; empty for a static name.
    pub interface: String,
    /// The newest version of its interface; zero for a static name.
    pub version: u32,
    /// All versions of its interface that it speaks; empty for a static name, and if they are not known. They travel
    /// beside the instance, because version 1 of this interface does not have them: [`VersionedWatchResponse`].
    #[serde(skip)]
    pub spoken: Vec<SpokenVersion>,
    /// Whether it accepts calls.
    pub state: InstanceState,
    /// Its tags.
    pub tags: Vec<String>,
    /// The fencing token, if the name is exclusive.
    pub fence: Option<u64>,
    /// The load at the last heartbeat.
    pub load: Load,
}

impl Instance {
    /// The name of its worker, or its address if it is a static name.
    pub fn name(&self) -> &str {
        match self.worker.is_empty() {
            true => &self.endpoint,
            false => &self.worker,
        }
    }
}

/// Which objects to list. An empty filter matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectFilter {
    /// Names that start with this.
    pub prefix: Option<String>,
    /// Names in which this regular expression is found.
    pub pattern: Option<String>,
    /// Objects with an instance that has all of these tags; other instances are left out.
    pub tags: Vec<String>,
}

/// An object with its instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectEntry {
    /// The object's name.
    pub name: String,
    /// The name of its interface; empty if only a static name is known.
    pub interface: String,
    /// The version of its interface.
    pub version: u32,
    /// Its instances, by worker.
    pub instances: Vec<Instance>,
}

/// A worker with a live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerEntry {
    /// The worker's name.
    pub name: String,
    /// Its address.
    pub endpoint: String,
    /// The worker's process id.
    pub pid: u32,
    /// The name of the worker's host.
    pub host: String,
    /// Whether it accepts calls.
    pub state: InstanceState,
    /// The load at the last heartbeat.
    pub load: Load,
    /// The names of its objects, in order.
    pub objects: Vec<String>,
}

/// The status of a name server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameServerStatus {
    /// Its incarnation.
    pub epoch: u64,
    /// The number of its last change.
    pub revision: u64,
    /// Whether every live worker has had time to register since the name server started.
    pub settled: bool,
    /// The time since its start, in milliseconds.
    pub uptime_ms: u64,
    /// The number of live workers.
    pub workers: u32,
    /// The number of names.
    pub objects: u32,
    /// The number of instances.
    pub instances: u32,
    /// The version of the program.
    pub version: String,
}

/// A name server and its peers. Several name servers may share one address; the incarnation distinguishes
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerAddresses {
    /// Its incarnation.
    pub epoch: u64,
    /// The addresses of all live name servers that share its store and have an address of their own,
    /// including this one; empty if no other name server shares its store.
    pub addresses: Vec<String>,
}

/// Checks a name: not empty, at most [`MAX_NAME`] bytes, and without white space, control characters and
/// invisible characters. So it can be printed, typed, and separated from other names by spaces.
pub fn check_name(what: &str, name: &str) -> Result<(), DirectoryError> {
    if name.is_empty() {
        return Err(invalid(format!("the name of {what} is empty")));
    }
    if name.len() > MAX_NAME {
        let length = name.len();
        return Err(invalid(format!(
            "the name of {what} has {length} bytes, the limit is {MAX_NAME}"
        )));
    }
    if !clean::is_word(name) {
        return Err(invalid(format!(
            "the name of {what} contains white space, control characters or invisible ones: {name:?}"
        )));
    }
    Ok(())
}

fn invalid(message: String) -> DirectoryError {
    DirectoryError::Invalid { sentence: message }
}
