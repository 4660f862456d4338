//! Injects one fault after the other and heals each at its end. Always keeps enough processes healthy that
//! calls can succeed: one worker, and a name server that has told clients of it.

use crate::{
    arguments::Arguments,
    broker::CampaignBroker,
    daemon::{Daemon, DaemonState},
    fault_proxy::Mode,
    harness::Shim,
    plan::{self, Fault, InjectedFaultKind, Role},
    report::CampaignReport,
};
use rustix::{io::Errno, process::Signal};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// The most faults at a time.
const MAX_ACTIVE_FAULTS: usize = 3;

/// How long a process must have been healthy before the conductor relies on it.
const HEALTHY_TIME: Duration = Duration::from_secs(3);

/// How long recovery may take after the last fault has ended.
const RECOVERY: Duration = Duration::from_secs(60);

pub(crate) struct FaultInjector<'s> {
    stage: &'s CampaignBroker,
    verdict: &'s CampaignReport,
    /// The active faults, and when each ends.
    active: Vec<(Instant, Fault)>,
    /// Since when each daemon has had no fault.
    undisturbed: Vec<Instant>,
    clock_ms: i64,
}

impl<'s> FaultInjector<'s> {
    pub(crate) fn new(stage: &'s CampaignBroker, verdict: &'s CampaignReport) -> Self {
        Self {
            stage,
            verdict,
            active: Vec::new(),
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
        sleep(HEALTHY_TIME).await;
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
        while !self.active.is_empty() {
            self.heal_next().await;
        }
        self.wait_until_healthy().await;
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
            InjectedFaultKind::Kill(role)
            | InjectedFaultKind::Freeze(role)
            | InjectedFaultKind::Terminate(role)
            | InjectedFaultKind::Silence(role)
            | InjectedFaultKind::Reset(role) => {
                let all = of_role(role);
                vec![all[fault.target % all.len()]]
            }
            InjectedFaultKind::KillNameServers => of_role(Role::NameServer),
            _ => Vec::new(),
        }
    }

    /// Since when a daemon has been healthy.
    fn well_since(&self, index: usize) -> Option<Instant> {
        match self.stage.daemons[index].state() {
            DaemonState::Ready(at) => Some(self.undisturbed[index].max(at.into())),
            _ => None,
        }
        .filter(|since| *since <= Instant::now())
    }

    fn is_well(&self, index: usize) -> bool {
        self.well_since(index)
            .is_some_and(|since| since.elapsed() >= HEALTHY_TIME)
    }

    fn is_possible(&self, fault: &Fault) -> bool {
        if self.active.len() >= MAX_ACTIVE_FAULTS {
            return false;
        }
        let targets = self.targets(fault);
        let Some(first) = targets.first() else {
            // Only one fault of a disk or database at a time.
            let wrong = self.active.iter();
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
        of_role.all(|index| self.is_well(index)) && self.has_healthy_nameserver()
    }

    /// Whether a name server has been healthy for long enough to tell clients of all workers.
    fn has_healthy_nameserver(&self) -> bool {
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
            InjectedFaultKind::Clock => format!("{} by {} s", fault.kind, fault.step_ms / 1000),
            InjectedFaultKind::EndConnections => fault.kind.to_string(),
            kind => format!("{kind} {names} for {:.1} s", fault.lasts.as_secs_f64()),
        };
        self.verdict.note(&format!("{number:4}  {what}"));
        match daemons.is_empty() {
            true => self.apply_to_machine(&fault).await,
            false => {
                for daemon in daemons {
                    apply_to_daemon(&fault, daemon).await;
                }
            }
        }
        for target in self.targets(&fault) {
            // Not healthy until it is healed.
            self.undisturbed[target] = Instant::now() + Duration::from_secs(3600);
        }
        self.active.push((Instant::now() + fault.lasts, fault));
    }

    fn daemons(&self, fault: &Fault) -> Vec<&'s Daemon> {
        let targets = self.targets(fault).into_iter();
        targets.map(|target| &self.stage.daemons[target]).collect()
    }

    async fn apply_to_machine(&mut self, fault: &Fault) {
        let disk = self.disk();
        match fault.kind {
            InjectedFaultKind::Clock => {
                self.clock_ms += fault.step_ms;
                disk.clock_is_ahead_by(self.clock_ms);
            }
            InjectedFaultKind::SlowDisk => disk.syncs_take(fault.lasts / 5),
            InjectedFaultKind::FailingDisk => disk.syncs_fail_with(Errno::IO.raw_os_error()),
            InjectedFaultKind::FullDisk => disk.writes_fail_with(Errno::NOSPC.raw_os_error()),
            _ => self.apply_to_database(fault).await,
        }
    }

    /// The machine on which the store is.
    fn disk(&self) -> &'s Shim {
        let database = self.stage.database.as_ref();
        database.map_or(&self.stage.machine, |(shim, _)| shim)
    }

    async fn apply_to_database(&self, fault: &Fault) {
        let Some((_, database)) = &self.stage.database else {
            return;
        };
        let mut database = database.lock().await;
        match fault.kind {
            InjectedFaultKind::KillDatabase => database.kill().await,
            InjectedFaultKind::FreezeDatabase => database.freeze(),
            InjectedFaultKind::EndConnections => database.end_connections().await,
            _ => {}
        }
    }

    /// Heals the faults that end before this time.
    async fn heal_until(&mut self, time: Instant) {
        loop {
            let next = self.active.iter().map(|(until, _)| *until).min();
            match next.filter(|next| *next <= time) {
                Some(_) => self.heal_next().await,
                None => return sleep_until(time).await,
            }
        }
    }

    /// Waits for the end of the next fault, and heals it.
    async fn heal_next(&mut self) {
        let ends = self.active.iter().enumerate();
        let Some((next, until)) = ends
            .map(|(index, (until, _))| (index, *until))
            .min_by_key(|(_, until)| *until)
        else {
            return;
        };
        sleep_until(until).await;
        let (_, fault) = self.active.swap_remove(next);
        let disk = self.disk();
        for daemon in self.daemons(&fault) {
            heal(&fault, daemon).await;
        }
        match fault.kind {
            InjectedFaultKind::SlowDisk => disk.syncs_take(Duration::ZERO),
            InjectedFaultKind::FailingDisk => disk.syncs_fail_with(0),
            InjectedFaultKind::FullDisk => disk.writes_fail_with(0),
            InjectedFaultKind::KillDatabase | InjectedFaultKind::FreezeDatabase => {
                if let Some((_, database)) = &self.stage.database {
                    let mut database = database.lock().await;
                    match fault.kind {
                        InjectedFaultKind::KillDatabase => database.recover().await,
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
    async fn wait_until_healthy(&self) {
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

async fn apply_to_daemon(fault: &Fault, daemon: &Daemon) {
    match fault.kind {
        InjectedFaultKind::Kill(_) | InjectedFaultKind::KillNameServers => {
            daemon.take_down(Signal::KILL).await
        }
        InjectedFaultKind::Freeze(_) => daemon.signal(Signal::STOP).await,
        InjectedFaultKind::Terminate(_) => daemon.take_down(Signal::TERM).await,
        InjectedFaultKind::Silence(_) => daemon.proxy.set(Mode::Blackhole),
        InjectedFaultKind::Reset(_) => daemon.proxy.set(Mode::Reset),
        _ => {}
    }
}

async fn heal(fault: &Fault, daemon: &Daemon) {
    match fault.kind {
        InjectedFaultKind::Kill(_)
        | InjectedFaultKind::KillNameServers
        | InjectedFaultKind::Terminate(_) => daemon.bring_up(),
        InjectedFaultKind::Freeze(_) => daemon.signal(Signal::CONT).await,
        InjectedFaultKind::Silence(_) | InjectedFaultKind::Reset(_) => daemon.proxy.set(Mode::Pass),
        _ => {}
    }
}
