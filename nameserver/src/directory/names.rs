//! Validation of names and addresses, and the syntax of static names.

use super::limits::{DirectoryLimits, MAX_NAME};
pub(super) use pyroxene_common::interfaces::directory::check_name;
use pyroxene_common::{
    clean,
    endpoint::Endpoint,
    identity::is_reserved,
    interfaces::{
        access,
        directory::{self, DirectoryError, Registration},
        presence, tasks, topics,
    },
    scope::Caller,
};
use std::collections::HashSet;

/// The objects that every name server hosts itself.
const OWN_OBJECTS: [&str; 5] = [
    access::OBJECT,
    directory::OBJECT,
    presence::OBJECT,
    tasks::OBJECT,
    topics::OBJECT,
];

/// How many versions of its interface an object may speak.
const MAX_SPOKEN: usize = 64;

/// The parsed address of a static name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StaticAddress {
    /// The object's name at the endpoint.
    pub(super) object: String,
    /// The endpoint at which the object is reached.
    pub(super) endpoint: String,
}

/// An error that says why a request is invalid.
pub(super) fn invalid(sentence: impl Into<String>) -> DirectoryError {
    DirectoryError::Invalid {
        sentence: sentence.into(),
    }
}

/// Checks the tags of one instance.
pub(super) fn check_tags(
    object: &str,
    tags: &[String],
    limits: &DirectoryLimits,
) -> Result<(), DirectoryError> {
    if tags.len() > limits.tags_per_object {
        return Err(DirectoryError::Full {
            what: format!(
                "the object '{object}' has {} tags, the limit is {}",
                tags.len(),
                limits.tags_per_object
            ),
        });
    }
    tags.iter().try_for_each(|tag| check_name("a tag", tag))
}

/// Checks the name of an object that a worker hosts, or a static name.
pub(super) fn check_object(name: &str) -> Result<(), DirectoryError> {
    check_name("an object", name)?;
    match OWN_OBJECTS.contains(&name) {
        true => Err(invalid(format!(
            "the object '{name}' is every name server's own: nobody else hosts it"
        ))),
        false => Ok(()),
    }
}

/// Checks a worker's registration, apart from the checks that depend on other workers.
pub(super) fn check_registration(
    registration: &Registration,
    limits: &DirectoryLimits,
) -> Result<(), DirectoryError> {
    check_name("a worker", &registration.worker)?;
    if is_reserved(&registration.worker) {
        return Err(invalid(format!(
            "the name '{}' is reserved: no worker can have it",
            registration.worker
        )));
    }
    check_name("a host", &registration.host)?;
    if !is_endpoint(&registration.endpoint) {
        return Err(bad_endpoint(&registration.endpoint));
    }
    check_reachable(&registration.endpoint)?;
    if registration.objects.len() > limits.objects_per_session {
        return Err(DirectoryError::Full {
            what: format!(
                "the worker '{}' offers {} objects, the limit is {}",
                registration.worker,
                registration.objects.len(),
                limits.objects_per_session
            ),
        });
    }
    let mut seen = HashSet::new();
    for offer in &registration.objects {
        check_object(&offer.object)?;
        check_name("an interface", &offer.interface)?;
        check_tags(&offer.object, &offer.tags, limits)?;
        if offer.spoken.len() > MAX_SPOKEN {
            return Err(DirectoryError::Full {
                what: format!(
                    "the object '{}' speaks {} versions of its interface, the limit is {MAX_SPOKEN}",
                    offer.object,
                    offer.spoken.len()
                ),
            });
        }
        if !seen.insert(offer.object.as_str()) {
            return Err(invalid(format!(
                "the object '{}' is offered twice",
                offer.object
            )));
        }
    }
    Ok(())
}

/// Refuses a worker's address at which clients would reach another machine than the worker's: a local or
/// unspecified address of a worker on another machine.
pub(super) fn check_worker_address(caller: &Caller, endpoint: &str) -> Result<(), DirectoryError> {
    let Ok(parsed) = endpoint.parse::<Endpoint>() else {
        // The registration is refused later, with the reason.
        return Ok(());
    };
    if caller.may_be_remote() && (parsed.is_local() || parsed.is_unspecified()) {
        return Err(invalid(format!(
            "clients cannot reach a worker on another machine at {endpoint}; it registers from {}: \
             say with --listen or --advertise where it is reached",
            caller.host()
        )));
    }
    Ok(())
}

/// Parses the address of a static name: `OBJECT@ENDPOINT`, `pyroxene:OBJECT@ENDPOINT`,
/// `pyroxene://ENDPOINT/OBJECT`, or an `ENDPOINT` alone, where the object is called `name`.
pub(super) fn parse_address(name: &str, uri: &str) -> Result<StaticAddress, DirectoryError> {
    let address = |object: &str, endpoint: &str| StaticAddress {
        object: object.to_owned(),
        endpoint: endpoint.to_owned(),
    };
    if is_endpoint(uri) {
        check_reachable(uri)?;
        return Ok(address(name, uri));
    }
    let parsed = match uri.strip_prefix("pyroxene://") {
        Some(rest) => split_url(rest),
        None => split_at_sign(uri.strip_prefix("pyroxene:").unwrap_or(uri)),
    };
    let Some((object, endpoint)) = parsed else {
        return Err(bad_address(uri));
    };
    check_name("an object", object)?;
    check_reachable(endpoint)?;
    Ok(address(object, endpoint))
}

/// Refuses an unspecified address: only the machine that listens there can connect to it, and clients would
/// connect to their own machine.
fn check_reachable(endpoint: &str) -> Result<(), DirectoryError> {
    match endpoint.parse::<Endpoint>() {
        Ok(parsed) if parsed.is_unspecified() => Err(invalid(format!(
            "'{endpoint}' is the address of every interface, and clients cannot reach it; give one \
             that they can (a worker takes it with --advertise)"
        ))),
        _ => Ok(()),
    }
}

/// Whether `text` is `host:port`, `[v6]:port` or `unix:/path`, with a port from 1 to 65535.
pub(super) fn is_endpoint(text: &str) -> bool {
    if text.len() > MAX_NAME || !clean::is_word(text) {
        return false;
    }
    match text.parse() {
        Ok(Endpoint::Tcp { host, port }) => port > 0 && (host.contains(':') || is_host(&host)),
        Ok(Endpoint::Unix(path)) => path.is_absolute() && path.as_os_str().len() > 1,
        Err(_) => false,
    }
}

/// Whether `text` looks like a host name or an IPv4 address.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// Splits `ENDPOINT/OBJECT`. The path of a Unix socket contains slashes, so there the object is the part
/// after the last one.
fn split_url(text: &str) -> Option<(&str, &str)> {
    let (endpoint, object) = if text.starts_with("unix:") {
        text.rsplit_once('/')?
    } else {
        text.split_once('/')?
    };
    is_endpoint(endpoint).then_some((object, endpoint))
}

/// Splits `OBJECT@ENDPOINT` at the first `@` that is followed by a valid endpoint: names and socket paths may
/// contain others.
fn split_at_sign(text: &str) -> Option<(&str, &str)> {
    text.match_indices('@').find_map(|(at, _)| {
        let (object, endpoint) = (text.get(..at)?, text.get(at + 1..)?);
        is_endpoint(endpoint).then_some((object, endpoint))
    })
}

fn bad_endpoint(text: &str) -> DirectoryError {
    let shown = shorten(text);
    invalid(format!(
        "'{shown}' is not an endpoint: write host:port, [v6]:port or unix:/path"
    ))
}

fn bad_address(text: &str) -> DirectoryError {
    let shown = shorten(text);
    invalid(format!(
        "'{shown}' is not an address: write OBJECT@ENDPOINT, pyroxene://ENDPOINT/OBJECT or \
         ENDPOINT, where ENDPOINT is host:port, [v6]:port or unix:/path"
    ))
}

/// A text shortened for an error message, on one line.
fn shorten(text: &str) -> String {
    text.escape_debug().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(uri: &str) -> Option<(String, String)> {
        let address = parse_address("named", uri).ok()?;
        Some((address.object, address.endpoint))
    }

    fn address(object: &str, endpoint: &str) -> Option<(String, String)> {
        Some((object.to_owned(), endpoint.to_owned()))
    }

    #[test]
    fn the_objects_and_names_of_name_servers_are_nobody_elses() {
        for name in OWN_OBJECTS {
            let error = check_object(name).unwrap_err().to_string();
            assert!(error.contains("every name server's own"), "{error}");
        }
        assert!(check_object("directory2").is_ok());
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        assert_eq!(parsed("calc@h:1"), address("calc", "h:1"));
        assert_eq!(parsed("pyroxene:calc@h:1"), address("calc", "h:1"));
        assert_eq!(parsed("pyroxene://h:1/calc"), address("calc", "h:1"));
        assert_eq!(parsed("h:1"), address("named", "h:1"));
        assert_eq!(parsed("calc@[::1]:80"), address("calc", "[::1]:80"));
        assert_eq!(
            parsed("pyroxene://[fe80::1%eth0]:80/a/b"),
            address("a/b", "[fe80::1%eth0]:80")
        );
        assert_eq!(
            parsed("calc@unix:/run/x@y"),
            address("calc", "unix:/run/x@y")
        );
        assert_eq!(
            parsed("pyroxene://unix:/run/x/calc"),
            address("calc", "unix:/run/x")
        );
        assert_eq!(parsed("unix:/run/x"), address("named", "unix:/run/x"));
        assert_eq!(parsed("a@b@h:1"), address("a@b", "h:1"));
        assert_eq!(parsed("pyroxene:9090"), address("named", "pyroxene:9090"));
    }

    #[test]
    fn nonsense_is_refused_in_one_line() {
        for uri in [
            "",
            "calc",
            "calc@",
            "@h:1",
            "calc@h",
            "calc@h:0",
            "calc@h:65536",
            "calc@h:+1",
            "h h:1",
            ":1",
            "[::1]",
            "[x]:1",
            "::1:80",
            "unix:",
            "unix:x",
            "unix:/",
            "pyroxene://h:1",
            "pyroxene://h:1/",
            "pyroxene:///calc",
            "ca lc@h:1",
            "calc@h:1\n",
        ] {
            let error = parse_address("named", uri).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{uri:?}: {error:?}");
        }
    }

    #[test]
    fn an_address_that_nobody_else_can_reach_is_refused() {
        for uri in [
            "0.0.0.0:1",
            "calc@0.0.0.0:1",
            "pyroxene://[::]:1/calc",
            "pyroxene:calc@[::ffff:0.0.0.0]:1",
            "0:1",
        ] {
            let error = parse_address("named", uri).unwrap_err().to_string();
            assert!(error.contains("every interface"), "{uri:?}: {error:?}");
        }
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert!(check_name("x", &"é".repeat(127)).is_ok());
        let long = "é".repeat(128);
        for bad in [
            "",
            " ",
            "a b",
            "a\u{7f}",
            "a\u{2028}b",
            "a\u{202e}b",
            "a\u{200b}",
            &long,
        ] {
            assert!(check_name("x", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_worker_elsewhere_is_not_reached_at_an_address_of_everybody() {
        let from = |address: &str| Caller {
            address: address.to_owned(),
            ..Caller::default()
        };
        for here in [
            "",
            "127.0.0.1:4000",
            "[::1]:4000",
            "[::ffff:127.0.0.1]:4000",
            "unix:uid=0",
        ] {
            assert_eq!(
                check_worker_address(&from(here), "127.0.0.1:1"),
                Ok(()),
                "{here}"
            );
            assert_eq!(
                check_worker_address(&from(here), "unix:/a"),
                Ok(()),
                "{here}"
            );
        }
        for elsewhere in ["10.0.0.1:4000", "[2001:db8::1]:4000", "[fe80::1%2]:4000"] {
            let caller = from(elsewhere);
            for endpoint in [
                "127.0.0.1:1",
                "localhost:1",
                "[::1]:1",
                "unix:/a",
                "0.0.0.0:1",
                "[::]:1",
            ] {
                assert!(
                    check_worker_address(&caller, endpoint).is_err(),
                    "{elsewhere} {endpoint}"
                );
            }
            assert_eq!(check_worker_address(&caller, "10.0.0.1:1"), Ok(()));
            assert_eq!(check_worker_address(&caller, "w1.example.org:1"), Ok(()));
        }
    }
}
