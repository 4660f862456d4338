//! Injects one fault after the other and heals each at its end. Always keeps enough processes healthy that
//! calls can succeed: one worker, and a name server that has told clients of it.

use crate::{
    arguments::Arguments,
    daemon::{Daemon, State},
    fault_proxy::Mode,
    harness::Shim,
    plan::{self, Fault, Kind, Role},
    stage::Stage,
    verdict::Verdict,
};
use rustix::{io::Errno, process::Signal};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// The most faults at a time.
const AT_ONCE: usize = 3;

/// How long a process must have been healthy before the conductor relies on it.
const WELL: Duration = Duration::from_secs(3);

/// How long recovery may take after the last fault has ended.
const RECOVERY: Duration = Duration::from_secs(60);

pub(crate) struct Conductor<'s> {
    stage: &'s Stage,
    verdict: &'s Verdict,
    /// The active faults, and when each ends.
    wrong: Vec<(Instant, Fault)>,
    /// Since when each daemon has had no fault.
    undisturbed: Vec<Instant>,
    clock_ms: i64,
}

impl<'s> Conductor<'s> {
    pub(crate) fn new(stage: &'s Stage, verdict: &'s Verdict) -> Self {
        Self {
            stage,
            verdict,
            wrong: Vec::new(),
            undisturbed: vec![Instant::now(); stage.daemons.len()],
            clock_ms: 0,
        }
    }

    /// Injects the faults, and waits until everything is healthy again. Returns how many faults it injected.
    pub(crate) async fn inject(mut self, arguments: &Arguments) -> usize {
        let end = arguments
            .minutes
            .map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
        let mut injected = 0;
        // All processes are healthy for a while first.
        sleep(WELL).await;
        for fault in plan::faults(arguments.seed, arguments.store).take(arguments.faults) {
            let late = end.is_some_and(|end| Instant::now() >= end);
            if late || !self.verdict.violations().is_empty() {
                break;
            }
            self.wait_until_possible(&fault).await;
            injected += 1;
            self.begin(fault, injected).await;
            self.heal_until(Instant::now() + fault.pause).await;
        }
        while !self.wrong.is_empty() {
            self.heal_next().await;
        }
        self.all_is_well().await;
        injected
    }

    /// The daemons that a fault affects.
    fn targets(&self, fault: &Fault) -> Vec<usize> {
        let of_role = |role| {
            let daemons = self.stage.daemons.iter().enumerate();
            let of_role = daemons.filter(move |(_, daemon)| daemon.role == role);
            of_role.map(|(index, _)| index).collect::<Vec<_>>()
        };
        match fault.kind {
            Kind::Kill(role)
            | Kind::Freeze(role)
            | Kind::Terminate(role)
            | Kind::Silence(role)
            | Kind::Reset(role) => {
                let all = of_role(role);
                vec![all[fault.target % all.len()]]
            }
            Kind::KillNameServers => of_role(Role::NameServer),
            _ => Vec::new(),
        }
    }

    /// Since when a daemon has been healthy.
    fn well_since(&self, index: usize) -> Option<Instant> {
        match self.stage.daemons[index].state() {
            State::Ready(at) => Some(self.undisturbed[index].max(at.into())),
            _ => None,
        }
        .filter(|since| *since <= Instant::now())
    }

    fn is_well(&self, index: usize) -> bool {
        self.well_since(index)
            .is_some_and(|since| since.elapsed() >= WELL)
    }

    fn is_possible(&self, fault: &Fault) -> bool {
        if self.wrong.len() >= AT_ONCE {
            return false;
        }
        let targets = self.targets(fault);
        let Some(first) = targets.first() else {
            // Only one fault of a disk or database at a time.
            let wrong = self.wrong.iter();
            return !wrong
                .map(|(_, other)| self.targets(other))
                .any(|other| other.is_empty());
        };
        // All name servers may have faults at once; a target must be healthy before its fault.
        let role = self.stage.daemons[*first].role;
        if role == Role::NameServer {
            return targets.iter().all(|target| self.is_well(*target));
        }
        let daemons = self.stage.daemons.iter().enumerate();
        let of_role = daemons.filter(|(_, daemon)| daemon.role == role);
        // Of workers and leaders, all of a kind must be healthy before one of them gets a fault, so that the
        // others can be called; and a name server must be healthy, from which clients know them.
        let mut of_role = of_role.map(|(index, _)| index);
        of_role.all(|index| self.is_well(index)) && self.has_told_everybody()
    }

    /// Whether a name server has been healthy for long enough to tell clients of all workers.
    fn has_told_everybody(&self) -> bool {
        let daemons = self.stage.daemons.iter().enumerate();
        let mut nameservers = daemons.filter(|(_, daemon)| daemon.role == Role::NameServer);
        nameservers.any(|(index, _)| self.is_well(index))
    }

    /// Heals faults one after the other until the new fault is possible.
    async fn wait_until_possible(&mut self, fault: &Fault) {
        let patience = Instant::now() + RECOVERY;
        while !self.is_possible(fault) {
            self.heal_until(Instant::now() + Duration::from_millis(100))
                .await;
            if Instant::now() > patience {
                let states = self.states();
                let what = format!("after {RECOVERY:?} not all are healthy: {states}");
                self.verdict.violation(what);
                return;
            }
        }
    }

    async fn begin(&mut self, fault: Fault, number: usize) {
        let daemons: Vec<&Daemon> = self.daemons(&fault);
        let names: Vec<&str> = daemons.iter().map(|daemon| &*daemon.name).collect();
        let names = names.join(" ");
        let what = match fault.kind {
            Kind::Clock => format!("{} by {} s", fault.kind, fault.step_ms / 1000),
            Kind::EndConnections => fault.kind.to_string(),
            kind => format!("{kind} {names} for {:.1} s", fault.lasts.as_secs_f64()),
        };
        self.verdict.note(&format!("{number:4}  {what}"));
        match daemons.is_empty() {
            true => self.happen_to_machine(&fault).await,
            false => {
                for daemon in daemons {
                    happen(&fault, daemon).await;
                }
            }
        }
        for target in self.targets(&fault) {
            // Not healthy until it is healed.
            self.undisturbed[target] = Instant::now() + Duration::from_secs(3600);
        }
        self.wrong.push((Instant::now() + fault.lasts, fault));
    }

    fn daemons(&self, fault: &Fault) -> Vec<&'s Daemon> {
        let targets = self.targets(fault).into_iter();
        targets.map(|target| &self.stage.daemons[target]).collect()
    }

    async fn happen_to_machine(&mut self, fault: &Fault) {
        let disk = self.disk();
        match fault.kind {
            Kind::Clock => {
                self.clock_ms += fault.step_ms;
                disk.clock_is_ahead_by(self.clock_ms);
            }
            Kind::SlowDisk => disk.syncs_take(fault.lasts / 5),
            Kind::FailingDisk => disk.syncs_fail_with(Errno::IO.raw_os_error()),
            Kind::FullDisk => disk.writes_fail_with(Errno::NOSPC.raw_os_error()),
            _ => self.happen_to_database(fault).await,
        }
    }

    /// The machine on which the store is.
    fn disk(&self) -> &'s Shim {
        let database = self.stage.database.as_ref();
        database.map_or(&self.stage.machine, |(shim, _)| shim)
    }

    async fn happen_to_database(&self, fault: &Fault) {
        let Some((_, database)) = &self.stage.database else {
            return;
        };
        let mut database = database.lock().await;
        match fault.kind {
            Kind::KillDatabase => database.kill().await,
            Kind::FreezeDatabase => database.freeze(),
            Kind::EndConnections => database.end_connections().await,
            _ => {}
        }
    }

    /// Heals the faults that end before this time.
    async fn heal_until(&mut self, time: Instant) {
        loop {
            let next = self.wrong.iter().map(|(until, _)| *until).min();
            match next.filter(|next| *next <= time) {
                Some(_) => self.heal_next().await,
                None => return sleep_until(time).await,
            }
        }
    }

    /// Waits for the end of the next fault, and heals it.
    async fn heal_next(&mut self) {
        let ends = self.wrong.iter().enumerate();
        let Some((next, until)) = ends
            .map(|(index, (until, _))| (index, *until))
            .min_by_key(|(_, until)| *until)
        else {
            return;
        };
        sleep_until(until).await;
        let (_, fault) = self.wrong.swap_remove(next);
        let disk = self.disk();
        for daemon in self.daemons(&fault) {
            heal(&fault, daemon).await;
        }
        match fault.kind {
            Kind::SlowDisk => disk.syncs_take(Duration::ZERO),
            Kind::FailingDisk => disk.syncs_fail_with(0),
            Kind::FullDisk => disk.writes_fail_with(0),
            Kind::KillDatabase | Kind::FreezeDatabase => {
                if let Some((_, database)) = &self.stage.database {
                    let mut database = database.lock().await;
                    match fault.kind {
                        Kind::KillDatabase => database.recover().await,
                        _ => database.thaw(),
                    }
                }
            }
            _ => {}
        }
        for target in self.targets(&fault) {
            self.undisturbed[target] = Instant::now();
        }
    }

    fn states(&self) -> String {
        let daemons = self.stage.daemons.iter().enumerate();
        let states = daemons.map(|(index, daemon)| {
            let well = if self.is_well(index) {
                "healthy"
            } else {
                "not healthy"
            };
            format!("{} is {:?}, {well}", daemon.name, daemon.state())
        });
        states.collect::<Vec<_>>().join("; ")
    }

    /// Checks that every daemon is ready in time after the last fault.
    async fn all_is_well(&self) {
        let healed = Instant::now();
        let all = 0..self.stage.daemons.len();
        while !all.clone().all(|index| self.is_well(index)) {
            if healed.elapsed() > RECOVERY {
                let states = self.states();
                let what = format!("{RECOVERY:?} after the last fault: {states}");
                return self.verdict.violation(what);
            }
            sleep(Duration::from_millis(100)).await;
        }
        self.verdict.note("      all processes are healthy");
    }
}

async fn happen(fault: &Fault, daemon: &Daemon) {
    match fault.kind {
        Kind::Kill(_) | Kind::KillNameServers => daemon.take_down(Signal::KILL).await,
        Kind::Freeze(_) => daemon.signal(Signal::STOP).await,
        Kind::Terminate(_) => daemon.take_down(Signal::TERM).await,
        Kind::Silence(_) => daemon.proxy.set(Mode::Blackhole),
        Kind::Reset(_) => daemon.proxy.set(Mode::Reset),
        _ => {}
    }
}

async fn heal(fault: &Fault, daemon: &Daemon) {
    match fault.kind {
        Kind::Kill(_) | Kind::KillNameServers | Kind::Terminate(_) => daemon.bring_up(),
        Kind::Freeze(_) => daemon.signal(Signal::CONT).await,
        Kind::Silence(_) | Kind::Reset(_) => daemon.proxy.set(Mode::Pass),
        _ => {}
    }
}
