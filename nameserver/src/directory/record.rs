//! The directory's record of an instance. Records are immutable: members of an object and entries of the log
//! share them.

use pyroxene_common::{
    identity::HolderId,
    interface::SpokenVersion,
    interfaces::directory::{Departure, Instance, InstanceChange, InstanceState},
    message::Load,
};
use std::sync::Arc;

/// The origin of an instance: a worker, or a static name (the worker's name is empty).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) worker: Arc<str>,
    pub(super) incarnation: u64,
    /// The key with which the worker has logged in; none without authentication.
    pub(super) key: Option<HolderId>,
    pub(super) endpoint: Arc<str>,
}

impl Origin {
    /// The worker and its incarnation, as the name store identifies a holder.
    pub(super) fn holder(&self) -> String {
        format!("{} {:016x}", self.worker, self.incarnation)
    }

    /// Whether this text is the [`holder`](Self::holder) of this origin.
    pub(super) fn is_holder(&self, holder: &str) -> bool {
        holder
            .rsplit_once(' ')
            .is_some_and(|(worker, incarnation)| {
                *worker == *self.worker
                    && u64::from_str_radix(incarnation, 16) == Ok(self.incarnation)
            })
    }

    /// A description for an error message.
    pub(super) fn describe(&self) -> String {
        let endpoint = &self.endpoint;
        if self.worker.is_empty() {
            return format!("the static name at {endpoint}");
        }
        format!("the worker {} at {endpoint}", self.worker)
    }
}

/// An instance without its load, which changes too often to be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstanceRecord {
    pub(super) origin: Arc<Origin>,
    /// The object's name at the endpoint.
    pub(super) target: Arc<str>,
    pub(super) interface: Arc<str>,
    pub(super) version: u32,
    pub(super) spoken: Arc<[SpokenVersion]>,
    pub(super) state: InstanceState,
    pub(super) tags: Box<[Arc<str>]>,
    pub(super) fence: Option<u64>,
}

impl InstanceRecord {
    /// Whether the instance has all of `tags`.
    pub(super) fn has_tags(&self, tags: &[String]) -> bool {
        tags.iter()
            .all(|wanted| self.tags.iter().any(|tag| **tag == **wanted))
    }

    /// The instance as it is sent to clients.
    pub(super) fn instance(&self, load: Load) -> Instance {
        Instance {
            worker: self.origin.worker.as_ref().to_owned(),
            incarnation: self.origin.incarnation,
            key: self.origin.key,
            endpoint: self.origin.endpoint.as_ref().to_owned(),
            target: self.target.as_ref().to_owned(),
            interface: self.interface.as_ref().to_owned(),
            version: self.version,
            spoken: self.spoken.to_vec(),
            state: self.state,
            tags: self
                .tags
                .iter()
                .map(|tag| tag.as_ref().to_owned())
                .collect(),
            fence: self.fence,
            load,
        }
    }

    /// The instance's removal as it is sent to clients.
    pub(super) fn removed(&self, reason: Departure) -> InstanceChange {
        InstanceChange::Removed {
            worker: self.origin.worker.as_ref().to_owned(),
            incarnation: self.origin.incarnation,
            key: self.origin.key,
            endpoint: self.origin.endpoint.as_ref().to_owned(),
            reason,
        }
    }
}
