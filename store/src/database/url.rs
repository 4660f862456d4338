//! The address of a database, as `--store` and `--accounts-db` take it.

use crate::database::postgres;
use std::{fmt, path::PathBuf, str::FromStr};

/// The address of a database: `sqlite:FILE`, `memory:`, or `postgres://USER@HOST/DATABASE`. Its output never
/// contains a password.
///
/// ```
/// use pyroxene_store::StoreUrl;
///
/// assert_eq!("sqlite:broker.db".parse(), Ok(StoreUrl::Sqlite("broker.db".into())));
/// assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
///
/// let url: StoreUrl = "postgres://ana:secret@db.example:5433/broker".parse()?;
/// assert_eq!(url.to_string(), "postgres://db.example:5433/broker");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// The memory of this process: it is lost with the process.
    Memory,
    /// A PostgreSQL server and database, as [`postgres::connect_options`] takes it.
    Postgres(String),
}

/// Why a text is not the address of a database. It does not contain the text, which may contain a password.
///
/// ```
/// use pyroxene_store::StoreUrl;
///
/// let error = "sqlite::memory:".parse::<StoreUrl>().unwrap_err();
/// assert!(error.to_string().contains("memory: is a store in memory"));
/// let error = "mysql://ana:secret@db.example/broker".parse::<StoreUrl>().unwrap_err();
/// assert!(!error.to_string().contains("secret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidStoreUrl(pub(crate) String);

impl InvalidStoreUrl {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            postgres::connect_options(text)?;
            return Ok(Self::Postgres(text.to_owned()));
        }
        match text.strip_prefix("sqlite:") {
            Some(file) if !file.is_empty() => sqlite_file(file).map(Self::Sqlite),
            _ => Err(InvalidStoreUrl::new(
                "a database is given as sqlite:FILE or postgres://USER@HOST/DATABASE; a store can also \
                 be memory:",
            )),
        }
    }
}

/// SQLite gives some names a special meaning: databases in memory, which lose what they acknowledged, and
/// parameters. Taken as the name of a file, each would be a file that nobody expects.
fn sqlite_file(file: &str) -> Result<PathBuf, InvalidStoreUrl> {
    let refused = |why: &str| {
        let message = format!("{why}; give the path of a file, as sqlite:FILE");
        Err(InvalidStoreUrl(message))
    };
    if file.starts_with(':') {
        return refused(
            "SQLite's databases in memory are not supported (memory: is a store in memory)",
        );
    }
    if file.starts_with("file:") {
        return refused("SQLite's file: addresses are not supported");
    }
    if file.starts_with("//") {
        return refused("sqlite:// is not supported, because programs read it differently");
    }
    if file.contains('?') {
        return refused("SQLite's parameters after '?' are not supported");
    }
    Ok(file.into())
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(formatter, "sqlite:{}", file.display()),
            Self::Memory => formatter.write_str("memory:"),
            Self::Postgres(url) => match postgres::connect_options(url) {
                Ok(options) => formatter.write_str(&postgres::address(&options)),
                Err(_) => formatter.write_str("postgres://"),
            },
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_what_kind_of_store_it_is() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        assert_eq!("sqlite:/a/b".parse(), Ok(StoreUrl::Sqlite("/a/b".into())));
        assert_eq!("sqlite:b.db".parse(), Ok(StoreUrl::Sqlite("b.db".into())));
        let postgres = "postgres://u:p@h/d";
        assert_eq!(postgres.parse(), Ok(StoreUrl::Postgres(postgres.into())));
        for wrong in ["", "sqlite:", "mysql://u:secret@h/d", "/a/b"] {
            let error = wrong.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains("sqlite:FILE") && !error.contains("secret"));
        }
    }

    #[test]
    fn special_forms_of_sqlite_are_refused_by_name() {
        for (text, named) in [
            ("sqlite::memory:", "in memory"),
            ("sqlite:file:x.db", "file:"),
            ("sqlite:file:x?mode=memory&cache=shared", "file:"),
            ("sqlite:///a/b", "sqlite://"),
            ("sqlite://b.db", "sqlite://"),
            ("sqlite:b.db?mode=memory", "'?'"),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
            assert!(error.contains("sqlite:FILE"), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url: StoreUrl = "postgres://ana:secret@db.example:5433/bank"
            .parse()
            .unwrap();
        assert_eq!(url.to_string(), "postgres://db.example:5433/bank");
        assert!(!format!("{url:?}").contains("secret"));
    }
}
