//! Exclusive names that several name servers grant together.
//!
//! In this mode the directory grants no name by itself. It proposes a holder for each name
//! ([`InstanceDirectory::candidate`]), and shows the holder that it was told ([`InstanceDirectory::grant`]) until the grants
//! expire ([`InstanceDirectory::extend_grants`]).

use super::{
    InstanceDirectory,
    objects::{DirectoryObject, Member},
};
use pyroxene_common::interfaces::directory::InstanceState;
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;

/// How long the granted names are valid.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grants {
    /// Until when; none before the first grant.
    until: Option<Instant>,
}

impl Grants {
    pub(super) fn until(self) -> Option<Instant> {
        self.until
    }
}

impl InstanceDirectory {
    /// From now on the exclusive names that workers offer are granted by the name store. Call it while there
    /// are no sessions.
    pub fn share_exclusive_names(&mut self) {
        self.objects.share_exclusive_names();
    }

    /// Takes the exclusive names that may have to be claimed or released.
    pub fn take_pending(&mut self) -> BTreeSet<Arc<str>> {
        self.objects.take_pending()
    }

    /// Whether there are such names.
    pub fn has_pending(&self) -> bool {
        self.objects.has_pending()
    }

    /// The worker that should have a name, by the state of this directory: the current holder if it is ready,
    /// else the first ready worker, else the holder while it drains.
    pub fn candidate(&self, name: &str) -> Option<String> {
        let object = self.shared_exclusive_object(name)?;
        let held = object.holding_member();
        let ready = |member: &&Member| member.record.state == InstanceState::Ready;
        let chosen = held
            .filter(ready)
            .or_else(|| object.members().find(ready))
            .or(held)?;
        Some(chosen.record.origin.holder())
    }

    /// Whether this worker may hold the name, by the state of this directory.
    pub fn could_hold(&self, name: &str, holder: &str) -> bool {
        self.shared_exclusive_object(name).is_some_and(|object| {
            let mut members = object.members();
            members.any(|member| {
                member.record.state == InstanceState::Ready
                    && member.record.origin.is_holder(holder)
            })
        })
    }

    /// Grants a name to a worker. Returns whether the worker is now shown as the holder. It is not if it has
    /// left, if it drains while another worker could have the name, or if the grants have expired.
    pub fn grant(&mut self, name: &str, holder: &str, fence: u64, now: Instant) -> bool {
        let in_time = self.grants.until.is_some_and(|until| now < until);
        let may_have_it =
            self.could_hold(name, holder) || self.candidate(name).as_deref() == Some(holder);
        in_time && may_have_it && self.objects.grant(name, holder, fence)
    }

    /// Withdraws a name from its holder, if it has one.
    pub fn withdraw(&mut self, name: &str) {
        self.objects.withdraw(name);
    }

    /// Withdraws all names from their holders.
    pub fn withdraw_all(&mut self) {
        self.objects.withdraw_all();
        self.grants.until = None;
    }

    /// Sets until when all grants are valid, present and future ones, unless they are extended.
    pub fn extend_grants(&mut self, until: Instant) {
        self.grants.until = Some(until);
    }

    /// Whether there are grants that can expire.
    pub fn has_grants(&self) -> bool {
        self.grants.until.is_some()
    }

    /// Whether the grants have expired, so that other workers may hold the names by now.
    pub fn grants_expired(&self, now: Instant) -> bool {
        self.grants.until.is_some_and(|until| until <= now)
    }

    /// The object of a name that is granted by the name store. A static name is not: it is the same at all
    /// name servers, and takes precedence over workers.
    fn shared_exclusive_object(&self, name: &str) -> Option<&DirectoryObject> {
        let object = self.objects.get(name)?;
        (object.is_exclusive() && !object.has_static()).then_some(object)
    }
}
