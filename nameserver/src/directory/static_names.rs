//! Static names: objects at addresses without a lease.

use super::{
    InstanceDirectory,
    names::{check_object, check_tags, parse_address},
    objects::STATIC_MEMBER_ID,
    record::{InstanceRecord, Origin},
};
use pyroxene_common::interfaces::directory::{Departure, DirectoryError, InstanceState};
use std::sync::Arc;

impl InstanceDirectory {
    /// Registers the static name `name` for the object at `uri`. `uri` is `OBJECT@ENDPOINT`,
    /// `pyroxene:OBJECT@ENDPOINT`, `pyroxene://ENDPOINT/OBJECT`, or an `ENDPOINT` alone if the object is
    /// called `name` there too; an endpoint is `host:port`, `[v6]:port` or `unix:/path`.
    ///
    /// Registering the same address again changes only the tags. Another address replaces it, unless either
    /// registration is exclusive. If workers host the object too, the static name is one more instance,
    /// unless either is exclusive.
    ///
    /// # Errors
    ///
    /// `ObjectTaken`, `Full`, `Invalid`.
    pub fn register(
        &mut self,
        name: &str,
        uri: &str,
        tags: &[String],
        exclusive: bool,
    ) -> Result<(), DirectoryError> {
        self.check_registration(name, uri, tags, exclusive)?;
        let address = parse_address(name, uri)?;
        let name = self.objects.strings.intern(name);
        let strings = &mut self.objects.strings;
        let record = InstanceRecord {
            origin: Arc::new(Origin {
                worker: strings.intern(""),
                incarnation: 0,
                key: None,
                endpoint: address.endpoint.as_str().into(),
            }),
            target: strings.intern(&address.object),
            interface: strings.intern(""),
            version: 0,
            spoken: Arc::default(),
            state: InstanceState::Ready,
            tags: tags.iter().map(|tag| strings.intern(tag)).collect(),
            fence: None,
        };
        let before = self.static_record(&name).cloned();
        let same_address = before.as_ref().is_some_and(|before| {
            before.origin.endpoint == record.origin.endpoint && before.target == record.target
        });
        let was_exclusive = self
            .objects
            .get(&name)
            .is_some_and(|object| object.is_exclusive());
        if same_address && was_exclusive == exclusive {
            self.objects.update(&name, STATIC_MEMBER_ID, record);
            return Ok(());
        }
        if before.is_some() {
            self.objects
                .remove(&name, STATIC_MEMBER_ID, Departure::Replaced);
        } else {
            self.static_names += 1;
        }
        self.objects.add_static(&name, record, exclusive);
        Ok(())
    }

    /// Whether [`register`](Self::register) would succeed.
    ///
    /// # Errors
    ///
    /// Those of `register`.
    pub fn check_registration(
        &self,
        name: &str,
        uri: &str,
        tags: &[String],
        exclusive: bool,
    ) -> Result<(), DirectoryError> {
        check_object(name)?;
        check_tags(name, tags, &self.limits)?;
        let address = parse_address(name, uri)?;
        let before = self.static_record(name);
        let is_same = |before: &InstanceRecord| {
            *before.origin.endpoint == *address.endpoint && *before.target == *address.object
        };
        let same_address = before.is_some_and(|before| is_same(before));
        let object = self.objects.get(name);
        if same_address && object.is_some_and(|object| object.is_exclusive()) == exclusive {
            return Ok(());
        }
        let other_address = before.map(|before| &**before).filter(|_| !same_address);
        self.check_static(name, exclusive, other_address)
    }

    /// Every static name, in order.
    pub(super) fn static_names(&self) -> Vec<String> {
        let all = self.objects.starting_with("");
        let all = all.filter(|(_, object)| object.member(STATIC_MEMBER_ID).is_some());
        all.map(|(name, _)| name.as_ref().to_owned()).collect()
    }

    pub(super) fn has_static(&self, name: &str) -> bool {
        self.static_record(name).is_some()
    }

    /// Removes a static name.
    ///
    /// # Errors
    ///
    /// `UnknownName`.
    pub fn remove(&mut self, name: &str) -> Result<(), DirectoryError> {
        if self.static_record(name).is_none() {
            return Err(DirectoryError::UnknownName {
                name: name.to_owned(),
            });
        }
        self.static_names -= 1;
        let name = self.objects.strings.intern(name);
        self.objects
            .remove(&name, STATIC_MEMBER_ID, Departure::Closed);
        Ok(())
    }

    fn static_record(&self, name: &str) -> Option<&Arc<InstanceRecord>> {
        let member = self.objects.get(name)?.member(STATIC_MEMBER_ID)?;
        Some(&member.record)
    }

    /// Checks that a static name can be added; `other_address` is the existing static name at another
    /// address, which would be replaced.
    fn check_static(
        &self,
        name: &str,
        exclusive: bool,
        other_address: Option<&InstanceRecord>,
    ) -> Result<(), DirectoryError> {
        let taken = |record: &InstanceRecord| {
            Err(DirectoryError::ObjectTaken {
                name: name.to_owned(),
                holder: record.origin.describe(),
            })
        };
        if let Some(object) = self.objects.get(name) {
            let either_exclusive = exclusive || (object.is_exclusive() && !object.is_empty());
            let other = object.worker_member().map(|member| &*member.record);
            if let Some(other) = other_address.or(other).filter(|_| either_exclusive) {
                return taken(other);
            }
        }
        let full = self.static_names >= self.limits.static_names;
        if full && self.static_record(name).is_none() {
            let what = format!("it holds {} static names", self.limits.static_names);
            return Err(DirectoryError::Full { what });
        }
        Ok(())
    }
}
