//! The interface that a client speaks, beside those of the instances that name servers list.

use pyroxene_common::{
    interface::{Interface, SpokenVersion, common_version, spoken_versions},
    interfaces::{directory::Instance, invoke::Invoke},
};
use pyroxene_pyro::uri::SCHEME as PYRO_SCHEME;
use std::sync::Arc;

/// The interface of a stub, and its versions.
#[derive(Clone, Debug)]
pub(crate) struct SpokenInterface {
    name: &'static str,
    version: u32,
    versions: Arc<[SpokenVersion]>,
}

impl SpokenInterface {
    pub(crate) fn of<I: Interface>() -> Self {
        Self {
            name: I::NAME,
            version: I::VERSION,
            // Objects that are called by name are called in any version.
            versions: match I::NAME == Invoke::NAME {
                true => Arc::default(),
                false => spoken_versions::<I>(),
            },
        }
    }

    /// The version in which an instance is called; `None` if it has another interface. Of a static name only its
    /// connection shows that.
    pub(crate) fn version_for(&self, listed: &Instance) -> Option<u32> {
        // Every object is called by name too, and a Pyro object in any interface.
        let is_any = listed.interface.is_empty() || listed.interface.starts_with(PYRO_SCHEME);
        if is_any || self.name == Invoke::NAME {
            return Some(self.version);
        }
        if listed.interface != self.name {
            return None;
        }
        if listed.spoken.is_empty() {
            // A worker or a name server that is too old to tell more.
            let mut own = self.versions.iter();
            return own
                .any(|own| own.version == listed.version)
                .then_some(listed.version);
        }
        common_version(&self.versions, &listed.spoken)
    }

    /// Why none of these instances of an object can be called.
    pub(crate) fn mismatch(&self, object: &str, listed: &Instance) -> String {
        let Self { name, version, .. } = self;
        let (other, newest) = (&listed.interface, listed.version);
        if other != name {
            return format!(
                "object '{object}' has the interface {other} version {newest}, not {name} version {version}"
            );
        }
        let is_own = |number: &u32| self.versions.iter().any(|own| own.version == *number);
        let numbers = listed.spoken.iter().map(|spoken| spoken.version);
        match numbers.filter(is_own).max() {
            Some(both) => format!(
                "object '{object}' has version {both} of {name} with other methods or types than this client"
            ),
            None => format!(
                "object '{object}' has version {newest} of {name}, which does not serve clients of version {version}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::{interfaces::directory::InstanceState, message::Load};
    use pyroxene_objects::interfaces::echo::Echo;

    fn instance(interface: &str, spoken: &[SpokenVersion]) -> Instance {
        Instance {
            worker: "w1".to_owned(),
            incarnation: 1,
            key: None,
            endpoint: "w1:1".to_owned(),
            target: "echo".to_owned(),
            interface: interface.to_owned(),
            version: spoken.last().map_or(1, |last| last.version),
            spoken: spoken.to_vec(),
            state: InstanceState::Ready,
            tags: Vec::new(),
            fence: None,
            load: Load::default(),
        }
    }

    #[test]
    fn an_instance_is_called_in_the_newest_version_that_both_speak() {
        let echo = SpokenInterface::of::<Echo>();
        let own = echo.versions[0];
        let newer = SpokenVersion {
            version: 2,
            fingerprint: 7,
        };
        let at = |spoken: &[SpokenVersion]| echo.version_for(&instance(Echo::NAME, spoken));
        assert_eq!(at(&[own]), Some(1));
        assert_eq!(at(&[own, newer]), Some(1));
        assert_eq!(at(&[newer]), None);
        assert_eq!(at(&[]), Some(1), "it says nothing of its versions");
        assert_eq!(echo.version_for(&instance("", &[])), Some(Echo::VERSION));
    }

    #[test]
    fn another_interface_is_named() {
        let echo = SpokenInterface::of::<Echo>();
        let other = instance("Example.Other", &[]);
        assert_eq!(echo.version_for(&other), None);
        assert_eq!(
            echo.mismatch("shop", &other),
            "object 'shop' has the interface Example.Other version 1, not pyroxene.Echo version 2"
        );
        let changed = SpokenVersion {
            version: 1,
            fingerprint: 7,
        };
        let sentence = echo.mismatch("echo", &instance(Echo::NAME, &[changed]));
        assert!(sentence.contains("other methods or types"), "{sentence}");
        let later = SpokenVersion {
            version: 3,
            fingerprint: 7,
        };
        let sentence = echo.mismatch("echo", &instance(Echo::NAME, &[later]));
        assert!(
            sentence.contains("does not serve clients of version 2"),
            "{sentence}"
        );
    }
}
