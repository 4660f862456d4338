//! A process that is started again when it has ended, unless it has to be down.

use crate::{fault_proxy::FaultProxy, harness::ledger, plan::Role, report::CampaignReport};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// How long a process may take to start, if no fault delays it.
const START: Duration = Duration::from_secs(60);

/// How long a process may take to end after `SIGTERM`, with all that it drains.
const END: Duration = Duration::from_secs(30);

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DaemonState {
    Down,
    Starting,
    Ready(Instant),
}

/// Makes the command that starts the process.
pub(crate) type Launch = Box<dyn Fn() -> Command + Send + Sync>;

/// Successive processes with one name, behind one proxy.
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) proxy: FaultProxy,
    shared: Arc<DaemonShared>,
    _running: AbortOnDropHandle<()>,
}

struct DaemonShared {
    name: String,
    role: Role,
    dir: PathBuf,
    launch: Launch,
    state: watch::Sender<DaemonState>,
    /// Whether the process should run.
    wanted: watch::Sender<bool>,
    /// The running process.
    pid: Mutex<Option<Pid>>,
    /// The address at which the process listens, updated each time that it is ready.
    address: watch::Sender<Option<String>>,
    verdict: CampaignReport,
}

impl Daemon {
    pub(crate) fn start(
        name: &str,
        role: Role,
        proxy: FaultProxy,
        dir: &Path,
        verdict: &CampaignReport,
        launch: Launch,
    ) -> Self {
        let shared = Arc::new(DaemonShared {
            name: name.to_owned(),
            role,
            dir: dir.to_owned(),
            launch,
            state: watch::Sender::new(DaemonState::Starting),
            wanted: watch::Sender::new(true),
            pid: Mutex::default(),
            address: watch::Sender::new(None),
            verdict: verdict.clone(),
        });
        let running = Arc::clone(&shared);
        Self {
            name: name.to_owned(),
            role,
            proxy,
            shared,
            _running: AbortOnDropHandle::new(tokio::spawn(async move { running.run().await })),
        }
    }

    pub(crate) fn state(&self) -> DaemonState {
        *self.shared.state.borrow()
    }

    /// Waits until the process is ready. Returns whether it was in time.
    pub(crate) async fn is_ready(&self) -> bool {
        let mut state = self.shared.state.subscribe();
        let ready = state.wait_for(|state| matches!(state, DaemonState::Ready(_)));
        timeout(START, ready).await.is_ok()
    }

    /// The process's own address, whenever it changes.
    pub(crate) fn addresses(&self) -> watch::Receiver<Option<String>> {
        self.shared.address.subscribe()
    }

    /// Ends the process with a signal, and does not start it again.
    pub(crate) async fn take_down(&self, signal: Signal) {
        self.shared.wanted.send_replace(false);
        self.signal(signal).await;
    }

    /// Starts the process again.
    pub(crate) fn bring_up(&self) {
        self.shared.wanted.send_replace(true);
    }

    pub(crate) async fn signal(&self, signal: Signal) {
        if let Some(pid) = *self.shared.pid.lock().await {
            let _ = kill_process(pid, signal);
        }
    }
}

impl DaemonShared {
    async fn run(&self) {
        let mut wanted = self.wanted.subscribe();
        loop {
            let _ = wanted.wait_for(|wanted| *wanted).await;
            self.state.send_replace(DaemonState::Starting);
            let log = self.dir.join(format!("{}.log", self.name));
            let stderr = fs::File::options().create(true).append(true).open(&log);
            // An address that the previous process has written is not this process's.
            let _ = fs::remove_file(ledger::address_file(&self.dir, &self.name));
            let mut child = (self.launch)()
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(stderr.unwrap())
                .spawn()
                .unwrap();
            let id = child.id().and_then(|id| i32::try_from(id).ok());
            *self.pid.lock().await = id.and_then(Pid::from_raw);
            self.live(&mut child).await;
            // From here on, another process may have this id.
            let mut pid = self.pid.lock().await;
            *pid = None;
            drop(pid);
            self.state.send_replace(DaemonState::Down);
            if *self.wanted.borrow() {
                self.died(&log);
                sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// Runs the process to its end.
    async fn live(&self, child: &mut Child) {
        let _input = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = async {
            match self.role {
                Role::Leader => loop {
                    let file = ledger::address_file(&self.dir, &self.name);
                    match fs::read_to_string(file) {
                        Ok(address) => break address,
                        Err(_) => sleep(Duration::from_millis(20)).await,
                    }
                },
                _ => match lines.next_line().await {
                    Ok(Some(line)) => line.rsplit(' ').next().unwrap_or_default().to_owned(),
                    _ => std::future::pending().await,
                },
            }
        };
        tokio::select! {
            _ = child.wait() => return,
            address = ready => {
                self.address.send_replace(Some(address));
                self.state.send_replace(DaemonState::Ready(Instant::now()));
            }
        }
        // Later output is discarded, but has to be read.
        let drained = async { while let Ok(Some(_)) = lines.next_line().await {} };
        let mut wanted = self.wanted.subscribe();
        let told = async {
            let _ = wanted.wait_for(|wanted| !*wanted).await;
            sleep(END).await;
        };
        tokio::select! {
            _ = child.wait() => return,
            () = async { tokio::join!(drained, std::future::pending::<()>()); } => {}
            () = told => {}
        }
        let name = &self.name;
        self.verdict
            .violation(format!("{name} has not ended {END:?} after its signal"));
        let _ = child.kill().await;
    }

    /// Reports that the process has ended without being asked to.
    fn died(&self, log: &Path) {
        self.verdict.count("processes ended by themselves");
        let text = fs::read_to_string(log).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.is_empty());
        let (name, last) = (&self.name, last.unwrap_or_default());
        self.verdict
            .note(&format!("  {name} has ended by itself: {last}"));
        if text.contains("panicked at") {
            self.verdict.violation(format!("{name} panicked: {last}"));
            let _ = fs::rename(log, log.with_extension("panicked"));
        }
    }
}
