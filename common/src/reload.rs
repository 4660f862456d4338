//! Reading files again when they change, or when SIGHUP asks for it.

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

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Something that was read from files and can be read again.
pub trait Reload: Send + Sync {
    /// The files.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads them again. On an error, which is a sentence, everything stays as it was.
    fn reload(&self) -> Result<(), String>;
}

/// What tells whether a file was written or replaced: device, inode, size and times.
type Fingerprint = Option<(u64, u64, u64, i64, i64, i64, i64)>;

fn fingerprint(path: &Path) -> Fingerprint {
    // Follows links, because that is how mounted secrets are replaced.
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

fn look(what: &dyn Reload) -> Vec<Fingerprint> {
    what.files().iter().map(|path| fingerprint(path)).collect()
}

fn read_again(what: &dyn Reload) {
    let files = what.files();
    match what.reload() {
        Ok(()) => tracing::info!(?files, "read again"),
        Err(error) => tracing::warn!(error, "cannot read again; going on as before"),
    }
}

/// Reads something again whenever one of its files changes, for as long as it is polled.
pub async fn follow_files(what: impl Reload) {
    let mut seen = look(&what);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let now = look(&what);
        if now != seen {
            // Files that are replaced one after the other fit together only once all of them are
            // there; each change leads back here.
            read_again(&what);
            seen = now;
        }
    }
}

/// Reads everything again on every SIGHUP, for as long as it is polled.
pub async fn follow_hangups(everything: Vec<Box<dyn Reload>>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        for what in &everything {
            read_again(&**what);
        }
    }
    Ok(())
}
