//! A machine whose clock is set and whose disk fails, for the daemons that are started on it: a small
//! library (`shim.c`) between them and the C library, and the file that tells it what is wrong.

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// The machine. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Shim(Arc<Files>);

#[derive(Debug)]
struct Files {
    library: PathBuf,
    control: PathBuf,
    file: fs::File,
    _dir: TempDir,
}

/// Where in the control file something is told.
#[derive(Clone, Copy)]
enum Field {
    ClockMs,
    SyncErrno,
    SyncMs,
    WriteErrno,
}

#[allow(dead_code, reason = "two programs share it, and each uses a part")]
impl Shim {
    /// A machine on which nothing is wrong yet.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let library = dir.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/harness/shim.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("there is a C compiler: the linker is one");
        assert!(compiled.status.success(), "{compiled:?}");
        let control = dir.path().join("control");
        let file = fs::File::create(&control).unwrap();
        file.write_all_at(&[0; 64], 0).unwrap();
        // A database server may run as somebody else.
        for path in [dir.path(), &library, &control] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(Arc::new(Files {
            library,
            control,
            file,
            _dir: dir,
        }))
    }

    /// What a daemon on this machine has in its environment.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.0.library), ("SHIM", &self.0.control)]
    }

    fn tell(&self, field: Field, value: i64) {
        let at = 8 * field as u64;
        self.0.file.write_all_at(&value.to_ne_bytes(), at).unwrap();
    }

    /// Sets the clock: so many milliseconds ahead of the true one.
    pub(crate) fn clock_is_ahead_by(&self, ms: i64) {
        self.tell(Field::ClockMs, ms);
    }

    /// Makes `fsync` fail with this error number; 0 ends that.
    pub(crate) fn syncs_fail_with(&self, errno: i32) {
        self.tell(Field::SyncErrno, errno.into());
    }

    /// Makes `fsync` take so long.
    pub(crate) fn syncs_take(&self, time: Duration) {
        self.tell(Field::SyncMs, i64::try_from(time.as_millis()).unwrap());
    }

    /// Makes writes to files fail with this error number; 0 ends that.
    pub(crate) fn writes_fail_with(&self, errno: i32) {
        self.tell(Field::WriteErrno, errno.into());
    }
}
