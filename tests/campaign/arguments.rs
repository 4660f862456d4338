//! The command line of the campaign.

use clap::{Parser, ValueEnum};
use std::fmt;

/// Injects faults into a broker under load, and checks its promises.
#[derive(Clone, Debug, Parser)]
#[command(name = "campaign")]
pub(crate) struct Arguments {
    /// The seed of the faults: the same seed makes the same faults.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The number of faults. The default is a smoke test.
    #[arg(long, default_value_t = 24)]
    pub(crate) faults: usize,
    /// The database.
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    pub(crate) store: Store,
    /// Ends after this many minutes, even if faults are left.
    #[arg(long)]
    pub(crate) minutes: Option<u64>,
    /// The arguments that `cargo test` passes to every program: names of tests, of which this is one.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    tests: Vec<String>,
}

/// Where the name servers and accounts keep their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// SQLite files.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

impl Arguments {
    /// The arguments; none if no campaign is asked for.
    pub(crate) fn read() -> Option<Self> {
        let arguments = Self::parse();
        let mut names = arguments.tests.iter().filter(|name| !name.starts_with('-'));
        let named = names.all(|name| "campaign".contains(name.as_str()));
        let listing = arguments.tests.iter().any(|flag| flag == "--list");
        (named && !listing).then_some(arguments)
    }
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.store {
            Store::Sqlite => "sqlite",
            Store::Postgres => "postgres",
        };
        let Self { seed, faults, .. } = self;
        write!(f, "--seed {seed} --faults {faults} --store {store}")
    }
}
