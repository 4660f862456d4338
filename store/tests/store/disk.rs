//! Failing disks: after a power failure, acknowledged writes are there, whatever the disk did before.

#[path = "../../../tests/machine/disk.rs"]
mod failing;

use crate::harness::{LONG, call, dispatcher};
use failing::{Disk, Imaged, fill_disk_beside, run_on_a_small_disk};
use pyroxene_store::{NewStoredTask, Store, StoreError, StoreOptions, StoreUrl, StoredTaskId};
use rustix::io::Errno;
use std::{
    collections::HashSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const NAME: &str = "disk::the_process_on_the_disk";
const PLACE: &str = "PYROXENE_TEST_DISK_STORE";

/// The process on the disk: it opens the store, and then follows commands, one on each line.
#[tokio::test]
async fn the_process_on_the_disk() {
    let Some(file) = std::env::var_os(PLACE) else {
        return;
    };
    let url = StoreUrl::Sqlite(file.into());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let owner = dispatcher(&store, LONG).await;
    say("open".to_owned());
    for line in std::io::stdin().lines() {
        let body = match line.unwrap().as_str() {
            "renew" => {
                store.renew(owner).await.unwrap();
                say("renewed".to_owned());
                continue;
            }
            "close" => {
                let closed = store.close().await;
                say(closed.map_or_else(|error| kind(&error).to_owned(), |()| "closed".to_owned()));
                continue;
            }
            "small" => 10,
            _ => 400_000,
        };
        let task = NewStoredTask::new("calc", "run", vec![b'x'; body]);
        say(match store.submit(vec![task]).await {
            Ok(submitted) => format!("submitted {}", submitted[0].id),
            Err(error) => format!("refused {}", kind(&error)),
        });
    }
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Io(_) => "io",
        StoreError::Full(_) => "full",
        _ => "otherwise",
    }
}

/// Sends a line to the test, whatever else is on standard output.
fn say(line: String) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n> {line}")
        .and_then(|()| out.flush())
        .unwrap();
}

/// A process that has the store open. Dropping it kills it.
struct Writer {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    acknowledged: HashSet<StoredTaskId>,
}

impl Writer {
    fn on(disk: &Disk) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(PLACE, disk.file())
            .envs(disk.variables())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut writer = Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            acknowledged: HashSet::new(),
        };
        assert_eq!(writer.line(), "open");
        writer
    }

    fn line(&mut self) -> String {
        let lines = self.stdout.by_ref().lines().map(Result::unwrap);
        let mut said = lines.filter_map(|line| Some(line.strip_prefix("> ")?.to_owned()));
        said.next().expect("it still runs")
    }

    fn told(&mut self, order: &str) -> String {
        writeln!(self.stdin, "{order}").unwrap();
        self.line()
    }

    /// A commit that does not wait for the disk.
    fn renews(&mut self) {
        assert_eq!(self.told("renew"), "renewed");
    }

    /// Submits a task; returns the answer of the process.
    fn submits(&mut self, size: &str) -> String {
        let said = self.told(size);
        match said.strip_prefix("submitted ") {
            Some(id) => {
                self.acknowledged.insert(id.parse().unwrap());
                "submitted".to_owned()
            }
            None => said,
        }
    }

    fn submits_well(&mut self, count: usize, size: &str) {
        for _ in 0..count {
            assert_eq!(self.submits(size), "submitted");
            self.renews();
        }
    }

    fn killed(mut self) -> HashSet<StoredTaskId> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::take(&mut self.acknowledged)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A disk with an empty store.
async fn disk() -> Disk {
    let disk = Disk::new();
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&StoreUrl::Sqlite(disk.file()), options).await;
    store.unwrap().close().await.unwrap();
    disk
}

async fn holds(file: &Path, acknowledged: &HashSet<StoredTaskId>) {
    let url = StoreUrl::Sqlite(file.to_owned());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    assert_eq!(store.check().await.unwrap(), [""; 0]);
    let mut lost = 0;
    for id in acknowledged {
        lost += usize::from(store.task(*id).await.unwrap().is_none());
    }
    assert_eq!(lost, 0, "of {} acknowledged tasks", acknowledged.len());
    store.close().await.unwrap();
}

async fn power_fails(disk: &Disk, acknowledged: &HashSet<StoredTaskId>) {
    let (_dir, file) = disk.after_power_failure();
    holds(&file, acknowledged).await;
}

#[tokio::test]
async fn after_a_failed_fsync_of_the_log_nothing_acknowledged_is_lost() {
    let disk = disk().await;
    let mut writer = Writer::on(&disk);
    writer.submits_well(3, "small");
    // These frames of the log wait for the next fsync, which fails; they are not written again.
    disk.next_sync_fails(Imaged::Log);
    assert_eq!(writer.submits("small"), "refused io");
    assert!(!disk.a_sync_is_to_fail());
    writer.submits_well(30, "small");
    power_fails(&disk, &writer.killed()).await;
}

#[tokio::test]
async fn a_process_that_starts_after_a_failed_fsync_makes_the_log_whole_first() {
    let disk = disk().await;
    let mut writer = Writer::on(&disk);
    writer.submits_well(3, "small");
    disk.next_sync_fails(Imaged::Log);
    assert_eq!(writer.submits("small"), "refused io");
    let mut acknowledged = writer.killed();
    let mut next = Writer::on(&disk);
    next.submits_well(10, "small");
    acknowledged.extend(next.killed());
    power_fails(&disk, &acknowledged).await;
}

#[tokio::test]
async fn a_failed_fsync_of_a_checkpoint_loses_nothing() {
    for file in [Imaged::Database, Imaged::Log] {
        let disk = disk().await;
        let mut writer = Writer::on(&disk);
        writer.submits_well(2, "large");
        disk.next_sync_fails(file);
        // Each task is a hundred pages; after some thousand, the log is copied to the file.
        let mut submitted = 0;
        while disk.a_sync_is_to_fail() {
            writer.submits("large");
            writer.renews();
            submitted += 1;
            assert!(submitted < 200, "nothing is copied to the file");
        }
        writer.submits_well(50, "large");
        power_fails(&disk, &writer.killed()).await;
    }
}

#[tokio::test]
async fn a_close_that_leaves_data_in_the_log_alone_is_an_error() {
    let faults: [fn(&Disk); 2] = [
        |disk| disk.syncs_fail_with(Errno::IO.raw_os_error()),
        |disk| disk.writes_fail_with(Errno::NOSPC.raw_os_error()),
    ];
    for (fail, kind) in faults.iter().zip(["io", "full"]) {
        let disk = disk().await;
        let mut writer = Writer::on(&disk);
        writer.submits_well(3, "small");
        fail(&disk);
        assert_eq!(writer.told("close"), kind);
        power_fails(&disk, &writer.killed()).await;
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_called_what_it_is_and_used_again_once_it_can() {
    let faults: [fn(&Disk); 4] = [
        |disk| disk.writes_fail_with(Errno::IO.raw_os_error()),
        |disk| disk.writes_fail_with(Errno::NOSPC.raw_os_error()),
        |disk| disk.writes_fail_with(Errno::DQUOT.raw_os_error()),
        |disk| disk.writes_are_cut_short(),
    ];
    for (fail, kind) in faults.iter().zip(["io", "full", "full", "full"]) {
        let disk = disk().await;
        let mut writer = Writer::on(&disk);
        writer.submits_well(3, "small");
        fail(&disk);
        for _ in 0..3 {
            assert_eq!(writer.submits("small"), format!("refused {kind}"));
        }
        disk.writes_fail_with(0);
        writer.submits_well(10, "small");
        power_fails(&disk, &writer.killed()).await;
    }
}

#[tokio::test]
async fn the_file_of_a_closed_store_is_a_backup_by_itself() {
    let disk = disk().await;
    let url = StoreUrl::Sqlite(disk.file());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let submitted = store.submit(vec![call("calc"); 20]).await.unwrap();
    store.close().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    fs::copy(disk.file(), &copy).unwrap();
    drop(store);
    let ids = submitted.iter().map(|one| one.id).collect();
    holds(&copy, &ids).await;
}

const SMALL_DISK: &str = "PYROXENE_TEST_SMALL_DISK_STORE";

#[tokio::test]
async fn the_process_on_a_small_disk() {
    let Some(place) = std::env::var_os(SMALL_DISK) else {
        return;
    };
    let file = Path::new(&place).join("state.db");
    let url = StoreUrl::Sqlite(file.clone());
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&url, options.clone()).await.unwrap();
    store.submit(vec![call("calc")]).await.unwrap();
    let _ = store.close().await;
    drop(store);
    fill_disk_beside(&file);
    let error = Store::open(&url, options.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    fs::remove_file(file.with_file_name("ballast")).unwrap();
    Store::open(&url, options).await.unwrap();
}

#[test]
fn a_disk_without_room_for_the_files_beside_a_store_is_called_full() {
    run_on_a_small_disk("disk::the_process_on_a_small_disk", SMALL_DISK);
}
