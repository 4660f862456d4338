//! The objects of a worker by name, and what it tells name servers of them.

use crate::error::WorkerError;
use pyroxene_common::{host::HostedObject, interfaces::directory::ObjectRegistration};
use std::collections::HashMap;

/// The objects that a worker hosts.
#[derive(Debug, Default)]
pub(super) struct OfferedObjects {
    pub(super) objects: HashMap<String, HostedObject>,
    pub(super) offers: Vec<ObjectRegistration>,
}

impl OfferedObjects {
    /// Adds an object, or another version of the interface of one.
    pub(super) fn add(
        &mut self,
        offer: ObjectRegistration,
        object: HostedObject,
    ) -> Result<(), WorkerError> {
        let name = offer.object.clone();
        let Some(other) = self.objects.remove(&name) else {
            self.objects.insert(name, object);
            self.offers.push(offer);
            return Ok(());
        };
        let twice = || WorkerError::HostedTwice(name.clone());
        let known = self.offers.iter_mut().find(|known| known.object == name);
        let known = known.filter(|known| known.exclusive == offer.exclusive);
        let known = known.ok_or_else(twice)?;
        known.version = known.version.max(offer.version);
        known.spoken.extend(offer.spoken);
        let both = other.with_version(object).ok_or_else(twice)?;
        self.objects.insert(name, both);
        Ok(())
    }
}
