//! Shared by the daemons: ready lines, signals, the drain.

use crate::{
    failure::{Exit, Failure},
    output::print,
};
use pyroxene_common::{endpoint::Endpoint, host::DrainReport, signal::StopSignals};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    fmt::Display,
    io::{self, Read},
    thread,
};
use tokio::{net::TcpListener, sync::oneshot};

/// Catches the signals that ask a process to stop in order.
pub(crate) fn catch_signals() -> Result<StopSignals, Failure> {
    StopSignals::listen()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot catch signals: {error}")))
}

/// Detects the end of the parent process, which holds the other end of standard input.
pub(crate) struct ParentProcess(Option<oneshot::Receiver<()>>);

impl ParentProcess {
    /// Watches standard input, if `watched`.
    pub(crate) fn watch(watched: bool) -> Self {
        if !watched {
            return Self(None);
        }
        let (sender, receiver) = oneshot::channel();
        // A separate thread, which does not keep the process from ending.
        thread::spawn(move || {
            let mut ignored = [0; 1024];
            let mut stdin = io::stdin().lock();
            loop {
                match stdin.read(&mut ignored) {
                    Ok(0) => break,
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
            let _ = sender.send(());
        });
        Self(Some(receiver))
    }

    /// Waits until standard input closes; without end, if it is not watched.
    pub(crate) async fn gone(&mut self) {
        match &mut self.0 {
            Some(receiver) => {
                let _ = receiver.await;
                // The receiver is finished, and must not be awaited again.
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }
}

/// Raises the limit of open files to the allowed maximum. Each connection is a file, and the usual limit is
/// low only for programs that use select(2).
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Tells the starter of the daemon, and systemd, that it is ready.
pub(crate) fn report_ready(line: &str) -> Result<(), Failure> {
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    match print(line) {
        // A closed output does not matter: the daemon is ready all the same.
        Err(failure) if failure.exit == Exit::Done => Ok(()),
        other => other,
    }
}

/// Waits until the daemon is asked to stop.
pub(crate) async fn shutdown_requested(signals: &mut StopSignals, parent: &mut ParentProcess) {
    tokio::select! {
        () = signals.next() => tracing::info!("asked to stop; finishing calls in flight"),
        () = parent.gone() => tracing::info!("the parent has ended; finishing calls in flight"),
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}

/// The work of a connection that is still open when the drain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionWork {
    /// They run calls, which are lost.
    Calls,
    /// They watch, which never finishes.
    Watches,
}

/// Waits for the start of a daemon. A daemon that is asked to stop before it is ready ends in order, whatever
/// its start waits for.
pub(crate) async fn start_unless_stopped<T>(
    signals: &mut StopSignals,
    parent: &mut ParentProcess,
    starting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        // A start that fails at once is reported, even if a request to stop has come meanwhile.
        biased;
        outcome = starting => outcome,
        () = shutdown_requested(signals, parent) => Err(Failure::quiet(Exit::Done)),
    }
}

/// The failure of a daemon that has stopped, and has left data in the log of a SQLite file.
pub(crate) fn not_in_order(error: &dyn Display) -> Failure {
    Failure::new(Exit::Failed, format!("stopped, but not in order: {error}")).hint(
        "nothing is lost while the -wal file stays beside the file; a copy of the file alone is no backup",
    )
}

/// Waits for the drain. A second signal ends it at once.
pub(crate) async fn drain(
    signals: &mut StopSignals,
    shutdown: impl Future<Output = Result<DrainReport, Failure>>,
    busy: ConnectionWork,
) -> Result<(), Failure> {
    tokio::select! {
        drained = shutdown => {
            match (drained?.abandoned, busy) {
                (0, _) | (_, ConnectionWork::Watches) => tracing::info!("stopped"),
                (abandoned, ConnectionWork::Calls) => {
                    tracing::warn!(abandoned, "stopped with connections still at work");
                }
            }
            Ok(())
        }
        () = signals.next() => {
            tracing::warn!("asked to stop a second time; ending at once");
            Err(Failure::quiet(Exit::Failed))
        }
    }
}

/// Fails with `AddrInUse` if another process listens at this port.
pub(crate) async fn check_free(endpoint: &Endpoint) -> io::Result<()> {
    let Endpoint::Tcp { host, port } = endpoint else {
        return Ok(());
    };
    match TcpListener::bind((host.as_str(), *port)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        // Other errors are reported by the attempt to listen.
        _ => Ok(()),
    }
}

/// The failure of a daemon that cannot listen.
pub(crate) fn cannot_listen(endpoint: &Endpoint, error: &io::Error) -> Failure {
    let failure = Failure::new(
        Exit::Failed,
        format!("cannot listen on {endpoint}: {error}"),
    );
    match error.kind() {
        io::ErrorKind::AddrInUse => failure
            .hint("another process listens there; stop it or choose another address with --listen"),
        io::ErrorKind::PermissionDenied => {
            failure.hint("choose an address that you may use with --listen")
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_has_a_hint() {
        let endpoint = "127.0.0.1:9090".parse().unwrap();
        let error = io::Error::from(io::ErrorKind::AddrInUse);
        let failure = cannot_listen(&endpoint, &error);
        let sentence = failure.message.unwrap();
        assert!(sentence.starts_with("cannot listen on 127.0.0.1:9090: "));
        assert!(failure.hint.unwrap().contains("--listen"));
        assert_eq!(failure.exit, Exit::Failed);
    }
}
