//! Opening a session.

use super::{
    InstanceDirectory,
    limits::granted_ttl,
    names::{check_registration, invalid},
    objects::DirectoryObject,
    record::{InstanceRecord, Origin},
    sessions::{DirectorySession, SessionOffer},
};
use pyroxene_common::{
    identity::HolderId,
    interface::SpokenVersion,
    interfaces::directory::{
        Departure, DirectoryError, InstanceState, Lease, ObjectRegistration, Registration,
        SessionId,
    },
    message::Load,
};
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// With how many instances of other versions an offer is compared.
const MAX_COMPARED: usize = 1_000;

/// The authenticated user that opens a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionOwner<'a> {
    /// The name of the user.
    pub user: &'a str,
    /// The key of the worker's process.
    pub key: Option<HolderId>,
}

impl InstanceDirectory {
    /// Opens a session under the random name `id`. It registers all of the worker's objects or none.
    ///
    /// A worker that opens again (same name, incarnation, endpoint and key) replaces its own session: what it
    /// still offers stays as it is, exclusive names included. A worker of another incarnation takes over the
    /// name if it listens at the same endpoint, or if the other session is suspect; the instances of that
    /// session are removed first, and workers that waited for its exclusive names get them.
    ///
    /// # Errors
    ///
    /// `NameTaken` if another incarnation that seems to be alive has the worker's name, or if another user's
    /// worker has it, alive or not; `ObjectTaken` if an object is offered both exclusively and not; `Full`;
    /// `Invalid`.
    pub fn open(
        &mut self,
        id: SessionId,
        registration: Registration,
        owner: Option<SessionOwner<'_>>,
        now: Instant,
    ) -> Result<Lease, DirectoryError> {
        check_registration(&registration, &self.limits)?;
        if self.sessions.slot(id).is_some() {
            return Err(invalid("the random name of the session is in use"));
        }
        let before = self.sessions.slot_of_worker(&registration.worker);
        self.check_worker_name(&registration, owner, before, now)?;
        self.check_offers(&registration.objects, before, now)?;
        self.check_room(&registration, before)?;

        let key = owner.and_then(|owner| owner.key);
        let kept = self.end_previous_session(&registration, key, before);
        let origin = match kept.and_then(|slot| self.sessions.get(slot)) {
            Some(session) => Arc::clone(&session.origin),
            None => Self::origin(&registration, key),
        };
        let load = Load {
            capacity: registration.capacity,
            ..Load::default()
        };
        let mut session = DirectorySession::new(
            id,
            Arc::clone(&origin),
            registration.pid,
            self.objects.strings.intern(&registration.host),
            load,
            granted_ttl(registration.ttl_ms),
            now,
        );
        session.owner = owner.map(|owner| self.objects.strings.intern(owner.user));
        let (slot, places) = match kept {
            Some(slot) => {
                let places = self.sessions.get_mut(slot).map(|old| &mut old.offers);
                let places = places.map(std::mem::take).unwrap_or_default();
                self.sessions.replace(slot, session);
                (slot, places)
            }
            None => (self.sessions.insert(session), Box::default()),
        };
        self.offer(slot, &origin, places, registration.objects);
        let mut lease = self.lease(slot, now)?;
        if self.objects.shares_exclusive_names() {
            // The worker learns with its first heartbeat, which follows at once, which names it still holds;
            // so the term here is that of the session.
            lease.fences.clear();
            let ttl = self.sessions.get(slot).map(|session| session.ttl);
            lease.ttl_ms = ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        }
        Ok(lease)
    }

    fn check_worker_name(
        &self,
        registration: &Registration,
        owner: Option<SessionOwner<'_>>,
        before: Option<usize>,
        now: Instant,
    ) -> Result<(), DirectoryError> {
        match before.and_then(|slot| self.sessions.get(slot)) {
            Some(session)
                if session.owner.as_deref() != owner.map(|owner| owner.user)
                    || session.origin.incarnation != registration.incarnation
                        // Two processes cannot listen at one address: the other process is dead.
                        && *session.origin.endpoint != *registration.endpoint
                        && !session.is_suspect(now) =>
            {
                Err(DirectoryError::NameTaken {
                    worker: registration.worker.clone(),
                    endpoint: session.origin.endpoint.as_ref().to_owned(),
                    // A worker gives its name up only to one of the same user.
                    incarnation: (session.owner.as_deref() == owner.map(|owner| owner.user))
                        .then_some(session.origin.incarnation),
                })
            }
            _ => Ok(()),
        }
    }

    /// The versions of an interface, in the memory of another instance that speaks the same.
    fn shared_versions(&self, object: &str, spoken: &[SpokenVersion]) -> Arc<[SpokenVersion]> {
        let object = self.objects.get(object);
        let other = object.and_then(DirectoryObject::worker_member);
        match other.map(|other| &other.record.spoken) {
            Some(other) if **other == *spoken => Arc::clone(other),
            _ if spoken.is_empty() => Arc::default(),
            _ => spoken.into(),
        }
    }

    /// An object is exclusive in all of its offers or in none. A version of its interface has the same methods
    /// and types in all of them.
    fn check_offers(
        &self,
        offers: &[ObjectRegistration],
        before: Option<usize>,
        now: Instant,
    ) -> Result<(), DirectoryError> {
        for offer in offers {
            let Some(object) = self.objects.get(&offer.object) else {
                continue;
            };
            self.check_versions(offer, object, before, now)?;
            if let Some(other) = object.other_than(before)
                && object.is_exclusive() != offer.exclusive
            {
                return Err(DirectoryError::ObjectTaken {
                    name: offer.object.clone(),
                    holder: other.record.origin.describe(),
                });
            }
        }
        Ok(())
    }

    /// Refuses an offer whose interface has changed under an unchanged version: a worker that is live speaks the
    /// version with other methods or types.
    fn check_versions(
        &self,
        offer: &ObjectRegistration,
        object: &DirectoryObject,
        before: Option<usize>,
        now: Instant,
    ) -> Result<(), DirectoryError> {
        let is_live = |session: usize| {
            let session = self.sessions.get(session);
            session.is_some_and(|session| !session.is_suspect(now))
        };
        let others = object
            .members()
            .filter(|member| member.session != before && member.session.is_some_and(is_live))
            .filter(|member| *member.record.interface == *offer.interface);
        for other in others.take(MAX_COMPARED) {
            // It agrees with those that are live.
            if *other.record.spoken == *offer.spoken {
                return Ok(());
            }
            let mut spoken = other.record.spoken.iter();
            let differs = |known: &&SpokenVersion| {
                let mut own = offer.spoken.iter();
                own.any(|own| own.version == known.version && own.fingerprint != known.fingerprint)
            };
            let Some(changed) = spoken.find(differs) else {
                continue;
            };
            let (version, interface, name) = (changed.version, &offer.interface, &offer.object);
            let holder = other.record.origin.describe();
            let advice = match version == offer.version {
                true => "give the changed interface another version".to_owned(),
                false => format!(
                    "what version {} adds is marked with #[since = {}], and nothing else changes",
                    offer.version,
                    version.saturating_add(1)
                ),
            };
            return Err(invalid(format!(
                "version {version} of {interface} has other methods or types for '{name}' here than at {holder}: \
                 {advice}"
            )));
        }
        Ok(())
    }

    fn check_room(
        &self,
        registration: &Registration,
        before: Option<usize>,
    ) -> Result<(), DirectoryError> {
        let full = |what: String| Err(DirectoryError::Full { what });
        if before.is_none() && self.sessions.len() >= self.limits.sessions {
            return full(format!("it holds {} sessions", self.limits.sessions));
        }
        let own = before
            .and_then(|slot| self.sessions.get(slot))
            .map_or(0, |session| session.offers.len());
        if self.objects.members() - own + registration.objects.len() > self.limits.instances {
            return full(format!("it holds {} instances", self.limits.instances));
        }
        Ok(())
    }

    /// Ends the previous session of the worker's name, unless it is the same worker's. In that case returns
    /// the session's slot, to be used again.
    fn end_previous_session(
        &mut self,
        registration: &Registration,
        key: Option<HolderId>,
        before: Option<usize>,
    ) -> Option<usize> {
        let slot = before?;
        let origin = &self.sessions.get(slot)?.origin;
        let same = origin.incarnation == registration.incarnation
            && *origin.endpoint == *registration.endpoint
            && origin.key == key;
        if same {
            return Some(slot);
        }
        self.end(slot, Departure::Replaced);
        None
    }

    fn origin(registration: &Registration, key: Option<HolderId>) -> Arc<Origin> {
        Arc::new(Origin {
            worker: registration.worker.as_str().into(),
            incarnation: registration.incarnation,
            key,
            endpoint: registration.endpoint.as_str().into(),
        })
    }

    /// Makes a session offer exactly `places`; it offered `before`.
    fn offer(
        &mut self,
        slot: usize,
        origin: &Arc<Origin>,
        before: Box<[SessionOffer]>,
        offers: Vec<ObjectRegistration>,
    ) {
        let wanted: HashMap<&str, bool> = offers
            .iter()
            .map(|offer| (offer.object.as_str(), offer.exclusive))
            .collect();
        let mut kept = HashMap::new();
        for place in before {
            if wanted.get(&*place.object) == Some(&place.exclusive) {
                kept.insert(Arc::clone(&place.object), place.member_id);
            } else {
                self.objects
                    .remove(&place.object, place.member_id, Departure::Replaced);
            }
        }
        let mut places = Vec::with_capacity(offers.len());
        for offer in offers {
            let object = self.objects.strings.intern(&offer.object);
            let record = self.record(origin, &object, &offer);
            let place = match kept.get(&object) {
                Some(place) => {
                    self.objects.update(&object, *place, record);
                    *place
                }
                None => self.objects.add(&object, slot, record, offer.exclusive),
            };
            places.push(SessionOffer {
                object,
                member_id: place,
                exclusive: offer.exclusive,
            });
        }
        places.sort_unstable_by(|a, b| a.object.cmp(&b.object));
        if let Some(session) = self.sessions.get_mut(slot) {
            session.offers = places.into();
        }
    }

    fn record(
        &mut self,
        origin: &Arc<Origin>,
        object: &Arc<str>,
        offer: &ObjectRegistration,
    ) -> InstanceRecord {
        let spoken = self.shared_versions(object, &offer.spoken);
        let strings = &mut self.objects.strings;
        InstanceRecord {
            origin: Arc::clone(origin),
            target: Arc::clone(object),
            interface: strings.intern(&offer.interface),
            version: offer.version,
            spoken,
            state: InstanceState::Ready,
            tags: offer.tags.iter().map(|tag| strings.intern(tag)).collect(),
            fence: None,
        }
    }
}
