//! The directory of live instances: the object that every name server hosts under the name
//! [`OBJECT`].

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

/// A worker's description of itself when it opens a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// The worker's name, unique among live workers.
    pub worker: String,
    /// A number that distinguishes this process from an earlier one of the same name, and is greater.
    pub incarnation: u64,
    /// The address at which clients reach the worker.
    pub endpoint: String,
    /// The worker's process id.
    pub pid: u32,
    /// The name of the worker's host.
    pub host: String,
    /// The number of its compute threads. Tasks are given out by it; light calls run beside them.
    pub capacity: u32,
    /// The requested time to live of the lease, in milliseconds.
    pub ttl_ms: u64,
    /// The objects it hosts.
    pub objects: Vec<ObjectRegistration>,
}

/// The versions that the instances in a message speak, in their order.
pub type SpokenLists = Vec<Vec<SpokenVersion>>;

impl Registration {
    /// Takes out the versions that the worker speaks, which travel beside the registration.
    pub fn take_spoken(&mut self) -> SpokenLists {
        let objects = self.objects.iter_mut();
        objects
            .map(|object| std::mem::take(&mut object.spoken))
            .collect()
    }

    /// Puts them back.
    ///
    /// # Errors
    ///
    /// There is not one list for each object.
    pub fn put_spoken(&mut self, spoken: SpokenLists) -> Result<(), DirectoryError> {
        if spoken.len() != self.objects.len() {
            return Err(invalid(format!(
                "the versions of {} objects are listed, and {} objects offered",
                spoken.len(),
                self.objects.len()
            )));
        }
        for (object, spoken) in self.objects.iter_mut().zip(spoken) {
            object.spoken = spoken;
        }
        Ok(())
    }
}

/// An object that a worker hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectRegistration {
    /// The object's name.
    pub object: String,
    /// The name of its interface.
    pub interface: String,
    /// The newest version of its interface.
    pub version: u32,
    /// All versions of its interface that it speaks. They travel beside the registration, because version 1 of
    /// this interface does not have them: [`Registration::take_spoken`].
    #[serde(skip)]
    pub spoken: Vec<SpokenVersion>,
    /// Free words by which the instance can be found.
    pub tags: Vec<String>,
    /// Whether the name is exclusive: only one instance at a time may hold it.
    pub exclusive: bool,
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

/// A position in a name server's log of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Cursor {
    /// The incarnation of the name server.
    pub epoch: u64,
    /// The number of the last change that was received.
    pub revision: u64,
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

/// The answer of a watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WatchResponse {
    /// The cursor for the next watch.
    pub cursor: Cursor,
    /// Whether the name server has run long enough for every live worker to register again. Until then, an
    /// instance that is missing here may still be alive.
    pub settled: bool,
    /// The instances, or the changes.
    pub news: WatchUpdate,
}

/// The answer of a watch, and the versions that its instances speak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionedWatchResponse {
    /// The answer.
    pub response: WatchResponse,
    /// The versions of the instances in it.
    pub spoken: SpokenLists,
}

impl VersionedWatchResponse {
    /// Takes the versions out of the instances.
    pub fn new(mut response: WatchResponse) -> Self {
        let instances = response.news.instances_mut();
        let spoken = instances.map(|one| std::mem::take(&mut one.spoken));
        let spoken = spoken.collect();
        Self { response, spoken }
    }

    /// Puts them back.
    pub fn into_response(self) -> WatchResponse {
        let Self {
            mut response,
            spoken,
        } = self;
        for (instance, spoken) in response.news.instances_mut().zip(spoken) {
            instance.spoken = spoken;
        }
        response
    }
}

/// The part of a watch's answer that depends on whether a cursor was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WatchUpdate {
    /// Every live instance of the object.
    Snapshot(Vec<Instance>),
    /// The changes since the cursor, in order; empty if nothing changed in time.
    Changes(Vec<InstanceChange>),
}

impl WatchUpdate {
    /// The instances that are there now, in their order.
    fn instances_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        let (snapshot, changes) = match self {
            Self::Snapshot(instances) => (instances.as_mut_slice(), [].as_mut_slice()),
            Self::Changes(changes) => ([].as_mut_slice(), changes.as_mut_slice()),
        };
        let put = changes.iter_mut().filter_map(|change| match change {
            InstanceChange::Put(instance) => Some(instance),
            InstanceChange::Removed { .. } => None,
        });
        snapshot.iter_mut().chain(put)
    }
}

/// A change of an object's membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InstanceChange {
    /// An instance was added or has changed.
    Put(Instance),
    /// An instance was removed.
    Removed {
        /// The worker's name; empty for a static name.
        worker: String,
        /// The worker's incarnation; zero for a static name.
        incarnation: u64,
        /// The worker's key, if it had one.
        key: Option<HolderId>,
        /// Its address.
        endpoint: String,
        /// Why it was removed.
        reason: Departure,
    },
}

/// Why an instance left the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Departure {
    /// Its worker closed the session.
    Closed,
    /// Its worker's lease ran out: it is dead, frozen or cut off.
    Expired,
    /// A new session of the same worker, or another holder of the name, replaced it.
    Replaced,
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

/// Why the directory refused something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub enum DirectoryError {
    /// The session has expired or was never opened; open it again.
    #[error("the session is not known here; open a new one")]
    UnknownSession,
    /// The watch cannot continue from this cursor.
    #[error("the cursor is too old; list again")]
    TooOld,
    /// Another live worker has this name.
    #[error("the name '{worker}' is taken by the live worker at {endpoint}")]
    NameTaken {
        /// The worker's name.
        worker: String,
        /// The address of the other worker.
        endpoint: String,
        /// The incarnation of the other worker, if the same user runs it, or nobody logs in.
        incarnation: Option<u64>,
    },
    /// The name is held exclusively, or by live instances.
    #[error("the name '{name}' is taken by {holder}")]
    ObjectTaken {
        /// The object's name.
        name: String,
        /// The holder.
        holder: String,
    },
    /// There is no such static name.
    #[error("there is no static name '{name}'")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// A limit of the directory's size is reached.
    #[error("the directory is full: {what}")]
    Full {
        /// Which limit.
        what: String,
    },
    /// The request would exceed a limit of the caller, or of all users together.
    #[error("{sentence}")]
    Limited {
        /// A message: which limit, of which user, and its value.
        sentence: String,
    },
    /// The caller may not do this.
    #[error("{sentence}")]
    Denied {
        /// A message: which caller may not do which operation.
        sentence: String,
    },
    /// The request is not valid.
    #[error("{sentence}")]
    Invalid {
        /// A message: what is not valid, and why.
        sentence: String,
    },
    /// The store that keeps the name cannot be reached now.
    #[error("the name cannot be kept now: {sentence}")]
    Unavailable {
        /// The reason.
        sentence: String,
    },
    /// No live worker has this name.
    #[error("there is no live worker '{worker}'")]
    UnknownWorker {
        /// The name.
        worker: String,
    },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn instance(spoken: &[SpokenVersion]) -> Instance {
        Instance {
            worker: "w1".to_owned(),
            incarnation: 1,
            key: None,
            endpoint: "w1:1".to_owned(),
            target: "o".to_owned(),
            interface: "I".to_owned(),
            version: 2,
            spoken: spoken.to_vec(),
            state: InstanceState::Ready,
            tags: Vec::new(),
            fence: None,
            load: Load::default(),
        }
    }

    const SPOKEN: SpokenVersion = SpokenVersion {
        version: 2,
        fingerprint: 7,
    };

    #[test]
    fn spoken_versions_travel_beside_what_version_1_has() {
        let plain = codec::encode(&instance(&[])).unwrap();
        assert_eq!(codec::encode(&instance(&[SPOKEN])).unwrap(), plain);
        for news in [
            WatchUpdate::Snapshot(vec![instance(&[SPOKEN]), instance(&[])]),
            WatchUpdate::Changes(vec![
                InstanceChange::Removed {
                    worker: "w2".to_owned(),
                    incarnation: 1,
                    key: None,
                    endpoint: "w2:1".to_owned(),
                    reason: Departure::Closed,
                },
                InstanceChange::Put(instance(&[SPOKEN])),
            ]),
        ] {
            let response = WatchResponse {
                cursor: Cursor {
                    epoch: 1,
                    revision: 1,
                },
                settled: true,
                news,
            };
            let sent = codec::encode(&VersionedWatchResponse::new(response.clone())).unwrap();
            let received: VersionedWatchResponse = codec::decode(&sent).unwrap();
            assert_eq!(received.into_response(), response);
        }
    }
}
