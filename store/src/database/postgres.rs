//! PostgreSQL: the addresses of servers, and the checks that refuse unsuitable ones.

mod schema;
mod search_path;
mod server;

pub use schema::{Layout, Schema};
pub use server::check_server;

use crate::database::InvalidStoreUrl;
use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use std::{env, net::IpAddr};
use url::Url;

/// The parameters that an address may have after `?`. `target_session_attrs` is checked here.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// How to connect to the server and database of an address such as
/// `postgres://USER@HOST:PORT/DATABASE?sslmode=require`.
///
/// Without `sslmode`, here or in the variable `PGSSLMODE`, a server on another machine must show a
/// certificate for the host name of the address (`verify-full`), from an authority that this machine or
/// `sslrootcert` trusts. A `search_path` in the options is not passed on: it selects the [`Schema`].
///
/// # Errors
///
/// An address that cannot be parsed, names several hosts, or has an unsupported parameter. No parameter is
/// ignored.
pub fn connect_options(text: &str) -> Result<PgConnectOptions, InvalidStoreUrl> {
    read(text).map(|(options, _)| options)
}

/// The options of an address, and the schema that it names.
fn read(text: &str) -> Result<(PgConnectOptions, Option<String>), InvalidStoreUrl> {
    if authority(text).contains(',') {
        return Err(several_hosts());
    }
    let unreadable = |error: &dyn std::fmt::Display| {
        InvalidStoreUrl(format!(
            "the address of the PostgreSQL server cannot be read: {error}"
        ))
    };
    let mut url = Url::parse(text).map_err(|error| unreadable(&error))?;
    let mut kept = Vec::new();
    let mut schema = None;
    for (name, value) in url.query_pairs() {
        match &*name {
            "target_session_attrs" => check_session_attributes(&value)?,
            "host" | "hostaddr" if value.contains(',') => return Err(several_hosts()),
            known if is_known(known) => {
                let split = search_path::split(known, &value)?;
                if let Some(named) = split.schema {
                    search_path::set_once(&mut schema, named)?;
                }
                kept.extend(split.rest.map(|rest| (name.into_owned(), rest)));
            }
            _ => return Err(unknown_parameter(&name)),
        }
    }
    match kept.is_empty() {
        true => url.set_query(None),
        false => {
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
    }
    let options = PgConnectOptions::from_url(&url).map_err(|error| match error {
        sqlx::Error::Configuration(cause) => unreadable(&cause),
        error => unreadable(&error),
    })?;
    // In an address, an IPv6 address is in brackets; everywhere else it is not.
    let host = options.get_host().strip_prefix('[');
    let host = host.and_then(|host| host.strip_suffix(']'));
    let options = match host.map(str::to_owned) {
        Some(host) => options.host(&host),
        None => options,
    };
    let says_how =
        url.query_pairs().any(|(name, _)| name == "sslmode") || env::var_os("PGSSLMODE").is_some();
    let options = match says_how || is_within_machine(&options) {
        true => options,
        false => options.ssl_mode(PgSslMode::VerifyFull),
    };
    // Nothing here depends on the format of floats, and poolers refuse the parameter.
    Ok((options.extra_float_digits(None), schema))
}

/// Whether the connection stays on this machine: over a Unix socket or a loopback address.
fn is_within_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse().is_ok_and(is_loopback)
}

fn is_known(name: &str) -> bool {
    PARAMETERS.contains(&name) || name.starts_with("options[")
}

/// The part between the scheme and the path, without the user.
fn authority(text: &str) -> &str {
    let after = text.split_once("://").map_or(text, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

fn several_hosts() -> InvalidStoreUrl {
    InvalidStoreUrl::new(
        "an address with several PostgreSQL hosts is not supported; name the one that always leads to \
         the primary",
    )
}

/// A store and accounts need a server that accepts writes, whatever the address asks for.
fn check_session_attributes(value: &str) -> Result<(), InvalidStoreUrl> {
    match value {
        "read-write" | "primary" => Ok(()),
        _ => Err(InvalidStoreUrl::new(
            "target_session_attrs can only be read-write or primary, because a standby cannot be \
             written to",
        )),
    }
}

fn unknown_parameter(name: &str) -> InvalidStoreUrl {
    let known = PARAMETERS.join(", ");
    InvalidStoreUrl(format!(
        "the parameter '{name}' of the PostgreSQL address is not supported; supported are {known}"
    ))
}

/// The server and the database, without user, password and parameters.
pub fn address(options: &PgConnectOptions) -> String {
    let server = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None if options.get_host().contains(':') => {
            format!("[{}]:{}", options.get_host(), options.get_port())
        }
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres://{server}/{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let refused = connect_options(text).map(|options| address(&options));
        let sentence = refused.unwrap_err().to_string();
        assert!(!sentence.contains("secret"), "{sentence}");
        sentence
    }

    #[test]
    fn ipv6_addresses_are_hosts() {
        let options = connect_options("postgres://u@[::1]:5433/d").unwrap();
        assert_eq!(options.get_host(), "::1");
        assert_eq!(address(&options), "postgres://[::1]:5433/d");
        let options = connect_options("postgres://u@h/d?hostaddr=::1").unwrap();
        assert_eq!(options.get_host(), "::1");
    }

    #[test]
    fn parameters_are_used_or_refused() {
        let options = connect_options("postgres://u:secret@h/d?host=/run/pg&sslmode=disable");
        assert_eq!(address(&options.unwrap()), "postgres:///run/pg/d");
        let options = connect_options("postgres://h/d?options[work_mem]=1MB").unwrap();
        assert_eq!(options.get_options(), Some("-c work_mem=1MB"));
        let sentence = refusal("postgres://u:secret@h/d?connect_timeout=3");
        assert!(sentence.contains("'connect_timeout'"), "{sentence}");
        assert!(sentence.contains("sslmode"), "{sentence}");
        let sentence = refusal("postgres://u:secret@h:port/d");
        assert!(sentence.contains("cannot be read"), "{sentence}");
        let sentence = refusal("postgres://u:secret@h/d?sslmode=perhaps");
        assert!(sentence.contains("cannot be read"), "{sentence}");
    }

    #[test]
    fn a_search_path_names_a_schema_and_is_not_sent() {
        let text = "postgres://h/d?options[search_path]=a&options=-c%20work_mem%3D1MB";
        let (options, schema) = read(text).unwrap();
        assert_eq!(schema.as_deref(), Some("a"));
        assert_eq!(options.get_options(), Some("-c work_mem=1MB"));
        assert_eq!(read("postgres://h/d").unwrap().1, None);
        let sentence = refusal("postgres://u:secret@h/d?options[search_path]=a,public");
        assert!(sentence.contains("search_path"), "{sentence}");
        refusal("postgres://u:secret@h/d?options[search_path]=a&options=-csearch_path%3Db");
    }

    #[test]
    fn a_server_on_another_machine_is_verified_unless_it_is_said_otherwise() {
        let mode = |text: &str| format!("{:?}", connect_options(text).unwrap().get_ssl_mode());
        for elsewhere in ["db.example", "10.0.0.1", "[2001:db8::1]:5433"] {
            let text = format!("postgres://u@{elsewhere}/d");
            assert_eq!(mode(&text), "VerifyFull", "{text}");
            assert_eq!(mode(&format!("{text}?sslmode=disable")), "Disable");
            assert_eq!(mode(&format!("{text}?sslmode=verify-ca")), "VerifyCa");
        }
        for here in ["127.0.0.1", "[::1]:5433", "localhost"] {
            assert_eq!(mode(&format!("postgres://u@{here}/d")), "Prefer", "{here}");
        }
        assert_eq!(mode("postgres://u@h/d?host=/run/pg"), "Prefer");
    }

    #[test]
    fn session_attributes_that_are_not_kept_are_refused() {
        connect_options("postgres://h/d?target_session_attrs=read-write").unwrap();
        connect_options("postgres://h/d?target_session_attrs=primary").unwrap();
        for value in ["any", "standby", "prefer-standby", "read-only", ""] {
            let sentence = refusal(&format!("postgres://h/d?target_session_attrs={value}"));
            assert!(sentence.contains("read-write"), "{sentence}");
        }
        for several in [
            "postgres://u:secret@h1,h2/d",
            "postgres://u@h1:5432,h2:5433/d",
            "postgres://u@h/d?host=h1,h2",
        ] {
            assert!(refusal(several).contains("several"), "{several}");
        }
    }
}
