//! Failing disks, and copied files: acknowledged changes are there.

#[path = "../../../tests/machine/disk.rs"]
mod failing;

use crate::place::{Place, open};
use failing::{Disk, Imaged, fill_disk_beside, run_on_a_small_disk};
use pyroxene_objects::{AccountsDatabase, AccountsObject, interfaces::accounts::AccountsError};
use rustix::io::Errno;
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

const NAME: &str = "disk::the_process_on_the_disk";
const PLACE: &str = "PYROXENE_TEST_DISK_ACCOUNTS";

/// The process on the disk: for every line that it reads, it adds 1 to the account of ana. The line is the
/// request's id.
#[tokio::test]
async fn the_process_on_the_disk() {
    let Ok(url) = std::env::var(PLACE) else {
        return;
    };
    let bank = open(&url).await;
    bank.open("ana", "0").await.unwrap();
    say("open".to_owned());
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        if line == "close" {
            let closed = bank.0.close().await;
            say(closed.map_or_else(|error| error.to_string(), |()| "closed".to_owned()));
            continue;
        }
        say(match bank.update("ana", "1", &line).await {
            Ok(balance) => balance,
            Err(AccountsError::Broken { sentence }) => format!("broken: {sentence}"),
            Err(error) => format!("{error:?}"),
        });
    }
}

/// Sends a line to the test, whatever else is on standard output.
fn say(line: String) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n> {line}")
        .and_then(|()| out.flush())
        .unwrap();
}

/// A process that serves accounts. Dropping it kills it.
struct Teller {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Teller {
    fn on(disk: &Disk) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(PLACE, format!("sqlite:{}", disk.file().display()))
            .envs(disk.variables())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut teller = Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert_eq!(teller.line(), "open");
        teller
    }

    fn line(&mut self) -> String {
        let lines = self.stdout.by_ref().lines().map(Result::unwrap);
        let mut said = lines.filter_map(|line| Some(line.strip_prefix("> ")?.to_owned()));
        said.next().expect("it still runs")
    }

    fn adds(&mut self, request: &str) -> String {
        writeln!(self.stdin, "{request}").unwrap();
        self.line()
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_failing_disk_is_called_what_it_is_and_nothing_acknowledged_is_lost() {
    let disk = Disk::new();
    let mut teller = Teller::on(&disk);
    assert_eq!(teller.adds("r1"), "1");
    // The write fails once, and the change is tried again after the log was restored.
    disk.next_sync_fails(Imaged::Log);
    assert_eq!(teller.adds("r2"), "2");
    assert!(!disk.a_sync_is_to_fail());
    let faults: [fn(&Disk); 4] = [
        |disk| disk.writes_fail_with(Errno::IO.raw_os_error()),
        |disk| disk.writes_fail_with(Errno::NOSPC.raw_os_error()),
        |disk| disk.writes_fail_with(Errno::DQUOT.raw_os_error()),
        |disk| disk.writes_are_cut_short(),
    ];
    let words = ["disk fails", "disk is full", "disk is full", "disk is full"];
    for ((fail, words), request) in faults.iter().zip(words).zip(["r3", "r4", "r5", "r6"]) {
        fail(&disk);
        let said = teller.adds(request);
        assert!(
            said.starts_with("broken: ") && said.contains(words),
            "{said}"
        );
        disk.writes_fail_with(0);
        // A refused change counts once when it is repeated.
        assert_eq!(teller.adds(request), request[1..]);
    }
    drop(teller);
    let (_dir, file) = disk.after_power_failure();
    let bank = open(&format!("sqlite:{}", file.display())).await;
    assert_eq!(bank.query("ana").await.unwrap(), "6");
}

#[tokio::test]
async fn a_path_that_is_not_a_regular_file_is_refused() {
    let database: AccountsDatabase = "sqlite:/dev/null".parse().unwrap();
    let error = AccountsObject::open(&database).await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert!(error.to_string().ends_with("it is not a file"), "{error}");
}

const SMALL_DISK: &str = "PYROXENE_TEST_SMALL_DISK_ACCOUNTS";

#[tokio::test]
async fn the_process_on_a_small_disk() {
    use pyroxene_objects::AccountsDatabaseError;
    let Ok(place) = std::env::var(SMALL_DISK) else {
        return;
    };
    let url = format!("sqlite:{place}/bank.db");
    let _ = open(&url).await.0.close().await;
    fill_disk_beside(format!("{place}/bank.db").as_ref());
    let opened = AccountsObject::open(&url.parse().unwrap()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, AccountsDatabaseError::Disk { .. }));
    assert!(error.to_string().contains("its disk is full"), "{error}");
}

#[test]
fn a_disk_without_room_for_the_files_beside_accounts_is_called_full() {
    run_on_a_small_disk("disk::the_process_on_a_small_disk", SMALL_DISK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_closed_accounts_is_a_backup_by_itself() {
    let place = Place::sqlite().await;
    let bank = place.open().await;
    bank.open("ana", "1").await.unwrap();
    for number in 1..=20 {
        bank.update("ana", "1", &format!("r{number}"))
            .await
            .unwrap();
    }
    bank.0.close().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    fs::copy(place.url.strip_prefix("sqlite:").unwrap(), &copy).unwrap();
    let copied = open(&format!("sqlite:{}", copy.display())).await;
    assert_eq!(copied.query("ana").await.unwrap(), "21");
    let late = bank.update("ana", "1", "late").await;
    assert_eq!(late, Err(AccountsError::Unavailable));
}

#[tokio::test]
async fn a_close_that_leaves_changes_in_the_log_alone_is_an_error() {
    let disk = Disk::new();
    let mut teller = Teller::on(&disk);
    assert_eq!(teller.adds("r1"), "1");
    disk.syncs_fail_with(Errno::IO.raw_os_error());
    // The connection is given up after this, and its log with it.
    let said = teller.adds("r2");
    assert!(said.contains("disk fails"), "{said}");
    let said = teller.adds("close");
    assert!(said.contains("disk fails"), "{said}");
}

#[test]
fn what_forgets_is_refused() {
    use pyroxene_objects::AccountsDatabase;
    for (text, words) in [
        ("memory:", "forgotten"),
        ("sqlite::memory:", "in memory"),
        ("sqlite:file:x?mode=memory&cache=shared", "file:"),
    ] {
        let error = text.parse::<AccountsDatabase>().unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_that_must_exist_are_not_made() {
    use pyroxene_objects::{AccountsDatabase, AccountsObject};
    for place in [Place::sqlite().await, Place::postgres().await] {
        let database: AccountsDatabase = place.url.parse().unwrap();
        let database = database.must_exist();
        let error = AccountsObject::open(&database).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("cannot use"), "{said}");
        assert!(said.contains("there are no accounts"), "{said}");
        place.open().await.open("ana", "1").await.unwrap();
        AccountsObject::open(&database)
            .await
            .unwrap()
            .close()
            .await
            .unwrap();
    }
}
