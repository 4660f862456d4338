//! What the watchers of an object are told: its instances, and their changes.

use super::{Instance, SpokenLists};
use crate::identity::HolderId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A position in a name server's log of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Cursor {
    /// The incarnation of the name server.
    pub epoch: u64,
    /// The number of the last change that was received.
    pub revision: u64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        codec, interface::SpokenVersion, interfaces::directory::InstanceState, message::Load,
    };

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
