//! The command line of the campaign.

use clap::{Parser, ValueEnum};
use std::fmt;

/// Injects faults into a broker under load, and checks its promises.
#[derive(Clone, Debug, Parser)]
#[command(name = "campaign")]
pub(crate) struct Arguments {
    /// What the faults are made from: the same seed makes the same ones.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many faults. So few as by default are a smoke test.
    #[arg(long, default_value_t = 24)]
    pub(crate) faults: usize,
    /// Which database.
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    pub(crate) store: Store,
    /// Ends after so many minutes, whatever is left.
    #[arg(long)]
    pub(crate) minutes: Option<u64>,
    /// What `cargo test` passes to all its programs: names of tests, of which this is one.
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    tests: Vec<String>,
}

/// What the name servers and accounts keep their data in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// One file for all.
    Sqlite,
    /// A server of its own.
    Postgres,
}

impl Arguments {
    /// The arguments; none if something else than a campaign is asked for.
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
