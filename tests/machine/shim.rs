//! A machine whose clock can be set and whose disk can fail, for the processes that run on it. It is a small
//! library (`shim.c`) between these processes and the C library, and a control file that tells the library
//! what fails.

#![allow(dead_code, reason = "several suites share it, and each uses a part")]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// The machine. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Shim(Arc<Files>);

#[derive(Debug)]
struct Files {
    library: PathBuf,
    control: PathBuf,
    file: fs::File,
    _dir: TempDir,
}

/// A field of the control file.
#[derive(Clone, Copy)]
enum Field {
    ClockMs,
    SyncErrno,
    SyncMs,
    WriteErrno,
    NextSync,
}

/// A file of which an image is kept (see [`Disk`](super::Disk)).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Imaged {
    Database = 1,
    Log = 2,
}

impl Shim {
    /// A machine on which nothing fails yet.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let library = dir.path().join("shim.so");
        compile(include_str!("shim.c"), &library);
        let control = dir.path().join("control");
        let file = fs::File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&control)
            .unwrap();
        file.write_all_at(&[0; 64], 0).unwrap();
        // A database server may run as another user.
        for (path, mode) in [(dir.path(), 0o755), (&library, 0o755), (&control, 0o666)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Self(Arc::new(Files {
            library,
            control,
            file,
            _dir: dir,
        }))
    }

    /// The environment of a process on this machine.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.0.library), ("SHIM", &self.0.control)]
    }

    fn tell(&self, field: Field, value: i64) {
        let at = 8 * field as u64;
        self.0.file.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }

    fn told(&self, field: Field) -> i64 {
        let mut value = [0; 8];
        self.0
            .file
            .read_exact_at(&mut value, 8 * field as u64)
            .unwrap();
        i64::from_ne_bytes(value)
    }

    /// Sets the clock this many milliseconds ahead of the real one.
    pub(crate) fn clock_is_ahead_by(&self, ms: i64) {
        self.tell(Field::ClockMs, ms);
    }

    /// Makes `fsync` fail with this error number; 0 ends it.
    pub(crate) fn syncs_fail_with(&self, errno: i32) {
        self.tell(Field::SyncErrno, errno.into());
    }

    /// Makes the next `fsync` of a file fail with `EIO`.
    pub(crate) fn next_sync_fails(&self, file: Imaged) {
        self.tell(Field::NextSync, file as i64);
    }

    /// Whether that failure is still to come.
    pub(crate) fn a_sync_is_to_fail(&self) -> bool {
        self.told(Field::NextSync) != 0
    }

    /// Makes every `fsync` take this long.
    pub(crate) fn syncs_take(&self, time: Duration) {
        self.tell(Field::SyncMs, i64::try_from(time.as_millis()).unwrap());
    }

    /// Makes writes to files fail with this error number; 0 ends it.
    pub(crate) fn writes_fail_with(&self, errno: i32) {
        self.tell(Field::WriteErrno, errno.into());
    }

    /// Makes writes to files write one half, and then fail with `ENOSPC`.
    pub(crate) fn writes_are_cut_short(&self) {
        const SHORT: i64 = -1;
        self.tell(Field::WriteErrno, SHORT);
    }
}

fn compile(source: &str, library: &Path) {
    let mut compiler = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-x", "c", "-", "-ldl", "-o"])
        .arg(library)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a C compiler: the linker is one");
    let mut stdin = compiler.stdin.take().unwrap();
    stdin.write_all(source.as_bytes()).unwrap();
    drop(stdin);
    let compiled = compiler.wait_with_output().unwrap();
    assert!(compiled.status.success(), "{compiled:?}");
}
