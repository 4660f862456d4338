//! Reloading files when they change, or on SIGHUP.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

/// How often files are checked for changes.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A value that was read from files and can be reloaded.
pub trait Reload: Send + Sync {
    /// The files.
    fn files(&self) -> Vec<PathBuf>;

    /// Reloads the files. On an error, which is a message, nothing changes.
    fn reload(&self) -> Result<(), String>;
}

/// Detects that a file was written or replaced: device, inode, size and times.
type Fingerprint = Option<(u64, u64, u64, i64, i64, i64, i64)>;

fn fingerprint(path: &Path) -> Fingerprint {
    // Follows links, because mounted secrets are replaced by changing a link.
    let seen = fs::metadata(path).ok()?;
    Some((
        seen.dev(),
        seen.ino(),
        seen.size(),
        seen.mtime(),
        seen.mtime_nsec(),
        seen.ctime(),
        seen.ctime_nsec(),
    ))
}

fn fingerprints(what: &dyn Reload) -> Vec<Fingerprint> {
    what.files().iter().map(|path| fingerprint(path)).collect()
}

fn reload_and_log(what: &dyn Reload) {
    let files = what.files();
    match what.reload() {
        Ok(()) => tracing::info!(?files, "reloaded"),
        Err(error) => tracing::warn!(error, "cannot reload; keeping the former contents"),
    }
}

/// Reloads `what` whenever one of its files changes, as long as this future is polled.
pub async fn reload_on_change(what: impl Reload) {
    let mut seen = fingerprints(&what);
    let mut looks = interval(FILE_CHECK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let now = fingerprints(&what);
        if now != seen {
            // Files that are replaced one after the other match only once all of them are replaced. Each
            // change triggers another reload.
            reload_and_log(&what);
            seen = now;
        }
    }
}

/// Reloads everything on every SIGHUP, as long as this future is polled.
pub async fn reload_on_hangup(everything: Vec<Box<dyn Reload>>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        for what in &everything {
            reload_and_log(&**what);
        }
    }
    Ok(())
}
