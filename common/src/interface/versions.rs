//! The versions of an interface that a program speaks.
//!
//! Methods and parameters that a version adds are marked `#[since = 2]`. An interface with such marks still speaks
//! the version before the first mark, and those in between. Each version has a fingerprint of what it consists of:
//! two programs talk in the newest version that has the same fingerprint at both.

use super::{Interface, Method, fingerprint::fingerprint};
use crate::{
    codec::{self, CodecError},
    message::SpokenVersion,
};
use std::{
    any::TypeId,
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The number of versions that an interface speaks at most, its own included.
pub const MAX_SPOKEN_VERSIONS: u32 = 16;

/// The newest version that two programs speak alike.
pub fn common_version(one: &[SpokenVersion], other: &[SpokenVersion]) -> Option<u32> {
    let common = one.iter().filter(|spoken| other.contains(spoken));
    common.map(|spoken| spoken.version).max()
}

/// The versions that this program speaks of an interface, the oldest first. They are computed once.
pub fn spoken_versions<I: Interface>() -> Arc<[SpokenVersion]> {
    static KNOWN: Mutex<BTreeMap<TypeId, Arc<[SpokenVersion]>>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let interface = TypeId::of::<I>();
    if let Some(spoken) = known().get(&interface) {
        return Arc::clone(spoken);
    }
    let description = I::describe();
    let versions = I::OLDEST.max(1)..=I::VERSION;
    let spoken: Arc<[SpokenVersion]> = versions
        .map(|version| SpokenVersion {
            version,
            fingerprint: fingerprint::<I>(&description, version),
        })
        .collect();
    known().insert(interface, Arc::clone(&spoken));
    spoken
}

/// The oldest version that an interface speaks, by its marks.
#[doc(hidden)]
pub const fn oldest_version(methods: &[Method], version: u32) -> u32 {
    let (mut rest, mut first) = (methods, u32::MAX);
    while let [method, others @ ..] = rest {
        first = least(first, method.since);
        let mut marks = method.parameters_since;
        while let [mark, others @ ..] = marks {
            first = least(first, *mark);
            marks = others;
        }
        rest = others;
    }
    let least_spoken = version.saturating_sub(MAX_SPOKEN_VERSIONS - 1);
    match first {
        u32::MAX => version,
        first if first - 1 < least_spoken => least_spoken,
        first => first - 1,
    }
}

/// The lesser of two marks; 0 is none.
const fn least(first: u32, mark: u32) -> u32 {
    if mark > 0 && mark < first {
        mark
    } else {
        first
    }
}

/// The mark among those of the attributes of one item; 0 if it has none.
#[doc(hidden)]
pub const fn since(marks: &[u32]) -> u32 {
    let (mut rest, mut since) = (marks, 0);
    while let [mark, others @ ..] = rest {
        if *mark > since {
            since = *mark;
        }
        rest = others;
    }
    since
}

/// Refuses marks that the wire cannot carry: what is added comes last.
#[doc(hidden)]
pub const fn check_marks(methods: &[Method], version: u32) {
    let (mut rest, mut last) = (methods, 0);
    while let [method, others @ ..] = rest {
        assert!(
            method.since <= version,
            "interface!: `#[since]` names a version that the interface does not have yet"
        );
        assert!(
            method.since != 1,
            "interface!: `#[since = 1]` marks nothing; what is added begins with `#[since = 2]`"
        );
        assert!(
            method.since >= last,
            "interface!: methods that were added come after those of earlier versions"
        );
        last = method.since;
        let (mut marks, mut last_mark) = (method.parameters_since, 0);
        while let [mark, others @ ..] = marks {
            assert!(
                *mark <= version && *mark != 1,
                "interface!: `#[since]` of a parameter names a version from 2 to that of the interface"
            );
            assert!(
                *mark >= last_mark,
                "interface!: parameters that were added come after those of earlier versions"
            );
            last_mark = *mark;
            marks = others;
        }
        rest = others;
    }
}

impl Method {
    /// How many of its parameters an older version does not have. They are at the end.
    pub fn parameters_after(&self, version: u32) -> usize {
        let marks = self.parameters_since.iter();
        marks.filter(|mark| **mark > version).count()
    }
}

/// The encoding of a parameter that is absent.
const ABSENT: u8 = 0;

/// The size of the number of a method before its parameters, in bytes.
const METHOD_LEN: usize = 4;

/// Decodes a request of a caller that speaks this version. Parameters that it does not know are absent.
pub fn decode_request<I: Interface>(
    version: u32,
    message: &[u8],
) -> Result<I::Request, CodecError> {
    // Most interfaces have no marks, which is known at compile time.
    if I::OLDEST == I::VERSION || version >= I::VERSION {
        return codec::decode(message);
    }
    codec::decode(&with_absent_parameters::<I>(version, message)?)
}

/// Decodes a request of a caller that does not say which version it speaks. Only one of them fits: what a version adds is
/// at the end, and has at least one byte.
pub(super) fn decode_request_of_any_version<I: Interface>(
    message: &[u8],
) -> Result<I::Request, CodecError> {
    let newest = codec::decode(message);
    if newest.is_ok() || I::OLDEST == I::VERSION {
        return newest;
    }
    let mut older = (I::OLDEST..I::VERSION).rev();
    let fitting = older.find_map(|version| decode_request::<I>(version, message).ok());
    fitting.map_or(newest, Ok)
}

fn with_absent_parameters<I: Interface>(
    version: u32,
    message: &[u8],
) -> Result<Cow<'_, [u8]>, CodecError> {
    let number = message.first_chunk::<METHOD_LEN>();
    let index = number.map(|number| u32::from_le_bytes(*number) as usize);
    let Some(method) = index.and_then(|index| I::METHODS.get(index)) else {
        // Decoding it says what is wrong.
        return Ok(Cow::Borrowed(message));
    };
    if method.since > version {
        let (name, interface) = (method.name, I::NAME);
        return Err(CodecError::new(format!(
            "version {version} of {interface} has no method {name}"
        )));
    }
    Ok(match method.parameters_after(version) {
        0 => Cow::Borrowed(message),
        absent => {
            let mut message = message.to_vec();
            message.resize(message.len() + absent, ABSENT);
            Cow::Owned(message)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    mod one {
        crate::interface! {
            /// Greetings.
            #[name = "Test.Greeter"]
            #[version = 1]
            pub(crate) trait Greeter in greeter {
                async fn hello(name: String) -> String;
                async fn count() -> u64;
            }
        }
    }

    mod two {
        crate::interface! {
            /// More greetings.
            #[name = "Test.Greeter"]
            #[version = 3]
            pub(crate) trait Greeter in greeter {
                /// With another text.
                #[idempotent]
                async fn hello(name: String, #[since = 2] title: Option<String>, #[since = 3] loud: Option<bool>) -> String;
                async fn count() -> u64;
                #[since = 2]
                async fn farewell(name: String) -> String;
            }
        }
    }

    mod changed {
        crate::interface! {
            /// Other greetings.
            #[name = "Test.Greeter"]
            #[version = 2]
            pub(crate) trait Greeter in greeter {
                async fn hello(first: String, last: String) -> String;
            }
        }
    }

    #[test]
    fn an_interface_that_only_added_things_speaks_the_version_before() {
        let (one, two) = (
            spoken_versions::<one::Greeter>(),
            spoken_versions::<two::Greeter>(),
        );
        let numbers: Vec<u32> = two.iter().map(|spoken| spoken.version).collect();
        assert_eq!((one.len(), numbers), (1, vec![1, 2, 3]));
        assert_eq!(common_version(&one, &two), Some(1));
        assert_eq!(common_version(&two, &two), Some(3));
    }

    #[test]
    fn a_version_without_marks_speaks_no_other_one() {
        let changed = spoken_versions::<changed::Greeter>();
        assert_eq!(changed.len(), 1);
        assert_eq!(
            common_version(&changed, &spoken_versions::<two::Greeter>()),
            None
        );
    }

    #[test]
    fn parameters_that_an_older_caller_does_not_know_are_absent() {
        let old = one::greeter::GreeterRequest::Hello {
            name: "Ana".to_owned(),
        };
        let message = codec::encode(&old).unwrap();
        match decode_request::<two::Greeter>(1, &message).unwrap() {
            two::greeter::GreeterRequest::Hello { name, title, loud } => {
                assert_eq!((name.as_str(), title, loud), ("Ana", None, None));
            }
            other => panic!("{other:?}"),
        }
        assert!(codec::decode::<two::greeter::GreeterRequest>(&message).is_err());
        let guessed = decode_request_of_any_version::<two::Greeter>(&message);
        assert!(matches!(
            guessed,
            Ok(two::greeter::GreeterRequest::Hello { title: None, .. })
        ));
        assert!(decode_request_of_any_version::<two::Greeter>(&message[1..]).is_err());
    }

    #[test]
    fn a_method_that_an_older_caller_cannot_know_is_refused_with_its_name() {
        let new = two::greeter::GreeterRequest::Farewell {
            name: "Ana".to_owned(),
        };
        let message = codec::encode(&new).unwrap();
        let error = decode_request::<two::Greeter>(1, &message).unwrap_err();
        assert_eq!(
            error.to_string(),
            "version 1 of Test.Greeter has no method farewell"
        );
        assert!(decode_request::<two::Greeter>(2, &message).is_ok());
        // Anything is decoded or refused.
        for cut in 0..message.len() {
            let _ = decode_request::<two::Greeter>(1, &message[..cut]);
        }
    }

    #[test]
    fn a_request_needs_the_version_of_what_it_uses() {
        use two::greeter::GreeterRequest::{Farewell, Hello};
        let name = || "Ana".to_owned();
        let hello = |title: Option<&str>, loud| Hello {
            name: name(),
            title: title.map(str::to_owned),
            loud,
        };
        for (request, needs) in [
            (hello(None, None), 0),
            (hello(Some("Dr"), None), 2),
            (hello(None, Some(false)), 3),
            (Farewell { name: name() }, 2),
        ] {
            assert_eq!(two::Greeter::needed_version(&request), needs, "{request:?}");
        }
    }
}
