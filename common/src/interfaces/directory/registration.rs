//! What a worker registers: itself, and the objects that it hosts.

use super::{DirectoryError, invalid};
use crate::interface::SpokenVersion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
