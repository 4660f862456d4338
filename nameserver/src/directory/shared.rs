//! Exclusive names that several name servers give away together.
//!
//! Then the directory gives away none by itself. It says who should have a name as far as it knows
//! ([`Directory::candidate`]), and shows as the holder whom it was told to
//! ([`Directory::grant`]), for as long as it was told so ([`Directory::grants_last_until`]).

use super::{
    Directory,
    objects::{Member, Object},
};
use pyroxene_common::interfaces::directory::State;
use std::{collections::BTreeSet, sync::Arc};
use tokio::time::Instant;

/// How far the name server is sure of the names that it was told about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grants {
    /// Until when; nothing before the first of them.
    until: Option<Instant>,
}

impl Grants {
    pub(super) fn until(self) -> Option<Instant> {
        self.until
    }
}

impl Directory {
    /// From now on exclusive names that workers offer are given away by somebody else. To be called
    /// while there are no sessions.
    pub fn share_exclusive_names(&mut self) {
        self.objects.share_exclusive_names();
    }

    /// The exclusive names of which something may have to be said to whoever gives them away.
    pub fn take_unsettled(&mut self) -> BTreeSet<Arc<str>> {
        self.objects.take_unsettled()
    }

    /// Whether there are any.
    pub fn has_unsettled(&self) -> bool {
        self.objects.has_unsettled()
    }

    /// Which worker should have a name, by all that is known here: who has it already and takes
    /// calls, else the first who does, else who has it and drains.
    pub fn candidate(&self, name: &str) -> Option<String> {
        let object = self.leased_object(name)?;
        let held = object.held();
        let ready = |member: &&Member| member.record.state == State::Ready;
        let chosen = held
            .filter(ready)
            .or_else(|| object.members().find(ready))
            .or(held)?;
        Some(chosen.record.origin.holder())
    }

    /// Whether this worker could have the name as far as is known here.
    pub fn could_hold(&self, name: &str, holder: &str) -> bool {
        self.leased_object(name).is_some_and(|object| {
            let mut members = object.members();
            members.any(|member| {
                member.record.state == State::Ready && member.record.origin.is_holder(holder)
            })
        })
    }

    /// Gives a name to a worker. Answers whether it is shown as the holder now; it is not if it has
    /// left, if it drains while another could have the name, or if the time of all that was given
    /// away is over.
    pub fn grant(&mut self, name: &str, holder: &str, fence: u64, now: Instant) -> bool {
        let in_time = self.grants.until.is_some_and(|until| now < until);
        let may_have_it =
            self.could_hold(name, holder) || self.candidate(name).as_deref() == Some(holder);
        in_time && may_have_it && self.objects.grant(name, holder, fence)
    }

    /// Takes a name from the worker that is shown as its holder, if one is.
    pub fn withdraw(&mut self, name: &str) {
        self.objects.withdraw(name);
    }

    /// Takes all names from their holders.
    pub fn withdraw_all(&mut self) {
        self.objects.withdraw_all();
        self.grants.until = None;
    }

    /// How long the names that were given away stay their holders', and those that will be, unless
    /// more is said.
    pub fn grants_last_until(&mut self, until: Instant) {
        self.grants.until = Some(until);
    }

    /// Whether names were given away, so that their time may be over.
    pub fn shows_grants(&self) -> bool {
        self.grants.until.is_some()
    }

    /// Whether it was told nothing for so long that names may be others' by now.
    pub fn grants_are_over(&self, now: Instant) -> bool {
        self.grants.until.is_some_and(|until| until <= now)
    }

    /// The object of a name that is given away elsewhere. A static name is not: it is the same at
    /// all name servers, and there before workers.
    fn leased_object(&self, name: &str) -> Option<&Object> {
        let object = self.objects.get(name)?;
        (object.is_exclusive() && !object.has_static()).then_some(object)
    }
}
