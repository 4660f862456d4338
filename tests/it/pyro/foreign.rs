//! Pyro5's own tests, fetched by pip, with this broker in the place of Pyro's name server and daemon.

use super::{
    python::{Python, finished},
    test_objects,
};
use crate::harness::{Broker, PYROXENE, turn};
use std::{fs, path::PathBuf};

/// How many of them pass at least.
const AT_LEAST: usize = 70;

impl Python {
    /// The unpacked source distribution of Pyro5; `None` if pip cannot fetch it.
    async fn pyro_source(&self, broker: &Broker) -> Option<PathBuf> {
        let place = self.home.join("source");
        let source = place.join("pyro5-5.17");
        if !source.exists() {
            fs::create_dir_all(&place).unwrap();
            let mut pip = self.command(broker, "python");
            pip.args([
                "-m",
                "pip",
                "--quiet",
                "download",
                "--no-deps",
                "--no-binary",
                ":all:",
            ])
            .args(["Pyro5==5.17", "--dest"])
            .arg(&place);
            let fetched = finished(pip, "pip download").await;
            if fetched.code != Some(0) {
                eprintln!(
                    "SKIPPED, because pip cannot fetch Pyro5's source: {}",
                    fetched.stderr
                );
                return None;
            }
            let mut tar = tokio::process::Command::new("tar");
            tar.arg("xzf")
                .arg(place.join("pyro5-5.17.tar.gz"))
                .arg("-C")
                .arg(&place);
            assert_eq!(finished(tar, "tar").await.code, Some(0));
        }
        Some(source)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyro5s_own_tests_of_its_name_server_and_daemon_pass() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    // Only its directory is used: the tests start name servers of their own.
    let broker = Broker::start().workers(0).await;
    let Some(source) = python.pyro_source(&broker).await else {
        return;
    };
    let objects = test_objects::serve().await;
    let location = objects.local_addr().to_string();
    let arguments = [&*source.display().to_string(), PYROXENE, &location];
    let ran = python.script(&broker, "foreign_tests.py", &arguments).await;
    let passed = ran
        .stdout
        .lines()
        .filter(|line| line.starts_with("passed "));
    let passed = passed.count();
    assert!(passed >= AT_LEAST, "{passed} passed: {ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyro5s_own_examples_run() {
    let Some(python) = Python::with_pyro().await else {
        return;
    };
    let _turn = turn().await;
    let broker = Broker::start().workers(0).await;
    let Some(source) = python.pyro_source(&broker).await else {
        return;
    };
    let source = source.display().to_string();
    let ran = python.script(&broker, "examples.py", &[&source]).await;
    assert!(!ran.stdout.contains("failed"), "{ran:?}");
    let passed = ran.stdout.lines().filter(|line| line.starts_with("passed"));
    assert!(passed.count() >= 12, "{ran:?}");
}
