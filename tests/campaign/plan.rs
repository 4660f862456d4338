//! The kinds of faults, and their schedule, which depends only on the seed.

use crate::arguments::Store;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{fmt, time::Duration};

/// The role of a process in the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    NameServer,
    Worker,
    Leader,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InjectedFaultKind {
    /// A process is killed, and started again at the end.
    Kill(Role),
    /// All name servers are killed at once, and started again at the end.
    KillNameServers,
    /// A process is suspended.
    Freeze(Role),
    /// A process is asked to end, and started again at the end.
    Terminate(Role),
    /// The network to a process loses all data without an error.
    Silence(Role),
    /// The connections to a process are reset.
    Reset(Role),
    /// The clock of the machine with the store is set, and stays so.
    Clock,
    /// `fsync` takes long.
    SlowDisk,
    /// `fsync` fails.
    FailingDisk,
    /// All writes fail.
    FullDisk,
    /// The database server is killed, and started again at the end.
    KillDatabase,
    /// The database server is suspended.
    FreezeDatabase,
    /// The connections to the database server are ended.
    EndConnections,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: InjectedFaultKind,
    /// A random number that selects the target among the possible ones.
    pub(crate) target: usize,
    /// How long it lasts.
    pub(crate) lasts: Duration,
    /// The time until the next fault, which may be sooner than the end of this one.
    pub(crate) pause: Duration,
    /// By how much the clock is set, in milliseconds.
    pub(crate) step_ms: i64,
}

const PROCESS: [InjectedFaultKind; 16] = {
    use InjectedFaultKind::{Freeze, Kill, KillNameServers, Reset, Silence, Terminate};
    use Role::{Leader, NameServer, Worker};
    [
        Kill(NameServer),
        Kill(Worker),
        Kill(Leader),
        KillNameServers,
        Freeze(NameServer),
        Freeze(Worker),
        Freeze(Leader),
        Terminate(NameServer),
        Terminate(Worker),
        Terminate(Leader),
        Silence(NameServer),
        Silence(Worker),
        Silence(Leader),
        Reset(NameServer),
        Reset(Worker),
        Reset(Leader),
    ]
};

/// By how much a clock is set, in milliseconds.
const STEPS: [i64; 8] = [
    2_000, 30_000, 600_000, 3_600_000, -2_000, -30_000, -600_000, -3_600_000,
];

/// The endless sequence of faults of a seed.
pub(crate) fn faults(seed: u64, store: Store) -> impl Iterator<Item = Fault> {
    let mut random = StdRng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        let millis =
            |random: &mut StdRng, from, to| Duration::from_millis(random.random_range(from..to));
        Fault {
            kind: kind(&mut random, store),
            target: random.random_range(0..1000),
            // Most are short; some are longer than any lease.
            lasts: match random.random_range(0..3) {
                0 => millis(&mut random, 100, 5_000),
                _ => millis(&mut random, 100, 1_500),
            },
            pause: millis(&mut random, 100, 2_000),
            step_ms: STEPS[random.random_range(0..STEPS.len())],
        }
    })
}

fn kind(random: &mut StdRng, store: Store) -> InjectedFaultKind {
    let of_store: &[InjectedFaultKind] = match store {
        Store::Sqlite => &[
            InjectedFaultKind::Clock,
            InjectedFaultKind::SlowDisk,
            InjectedFaultKind::FailingDisk,
            InjectedFaultKind::FullDisk,
        ],
        Store::Postgres => &[
            InjectedFaultKind::Clock,
            InjectedFaultKind::SlowDisk,
            InjectedFaultKind::KillDatabase,
            InjectedFaultKind::FreezeDatabase,
            InjectedFaultKind::EndConnections,
        ],
    };
    match random.random_range(0..3) {
        0 => of_store[random.random_range(0..of_store.len())],
        _ => PROCESS[random.random_range(0..PROCESS.len())],
    }
}

impl fmt::Display for InjectedFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(_) => f.write_str("kill"),
            Self::KillNameServers => f.write_str("kill all name servers"),
            Self::Freeze(_) => f.write_str("freeze"),
            Self::Terminate(_) => f.write_str("terminate"),
            Self::Silence(_) => f.write_str("silence"),
            Self::Reset(_) => f.write_str("reset connections of"),
            Self::Clock => f.write_str("set the clock of the machine with the store"),
            Self::SlowDisk => f.write_str("slow disk"),
            Self::FailingDisk => f.write_str("failing disk"),
            Self::FullDisk => f.write_str("full disk"),
            Self::KillDatabase => f.write_str("kill the database server"),
            Self::FreezeDatabase => f.write_str("freeze the database server"),
            Self::EndConnections => f.write_str("end the connections of the database server"),
        }
    }
}
