//! axe-core's rules on every page, in both colours, wide and narrow. axe-core is not permissively licensed, so it
//! is no part of this project: npm fetches it when the test runs, and without npm the test is skipped with a
//! line that says so.

use super::window::{Window, open};
use crate::harness::{Broker, in_time, seconds, turn};
use std::{fs, path::Path, process::Stdio};
use tempfile::TempDir;
use tokio::process::Command;

const AXE: &str = "axe-core@4.14.1";

const PAGES: [&str; 9] = [
    "/",
    "/objects",
    "/objects/calculator/matrix_multiply",
    "/workers",
    "/workers/w1",
    "/tasks",
    "/chat",
    "/topics/news",
    "/domain",
];

/// Hands over the serious faults: rule, and the first elements that break it.
const CHECK: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations
        .filter((fault) => fault.impact === 'serious' || fault.impact === 'critical')
        .map((fault) => fault.id + ': ' + fault.nodes.slice(0, 3).map((node) => node.target.join(' ') + ' ' + (node.any[0]?.message || node.failureSummary)).join('; '))));
";

/// The text of axe-core, from npm.
async fn fetch_axe(dir: &Path) -> Option<String> {
    let npm = Command::new("npm")
        .args(["pack", "--silent", AXE])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output();
    let output = match in_time(seconds(120), "npm pack", npm).await {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            eprintln!("SKIPPED: npm does not get {AXE}: {why}");
            return None;
        }
        Err(_) => {
            eprintln!("SKIPPED: npm is not installed, which fetches {AXE}");
            return None;
        }
    };
    let archive = String::from_utf8(output.stdout).unwrap();
    let unpacked = Command::new("tar")
        .args(["xzf", archive.trim()])
        .current_dir(dir)
        .status();
    assert!(unpacked.await.unwrap().success());
    Some(fs::read_to_string(dir.join("package/axe.min.js")).unwrap())
}

async fn faults(window: &Window, axe: &str, about: &str) -> Vec<String> {
    // The policy of contents forbids foreign scripts; what the driver runs is the driver's.
    window.run(axe).await;
    let found = window.run_async(CHECK).await;
    let found: Vec<String> = serde_json::from_value(found).unwrap();
    found
        .into_iter()
        .map(|fault| format!("{about}: {fault}"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_has_a_serious_fault_by_the_rules_of_axe() {
    let _turn = turn().await;
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start().worker("w1", &["--objects", "chat"]).await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    let Some(axe) = fetch_axe(dir.path()).await else {
        return;
    };
    broker
        .run(&["topic", "append", "news", "hello"])
        .await
        .out();
    broker
        .run(&["submit", "echo", "fail", "message=x"])
        .await
        .out();
    let mut found = Vec::new();
    for (colours, width) in [("Light", 1440), ("Dark", 1440), ("Light", 390)] {
        window.resize(width, 900).await;
        window.go("/").await;
        window.click(".theme button", colours).await;
        for page in PAGES {
            window.go(page).await;
            window.is_live().await;
            found
                .extend(faults(&window, &axe, &format!("{page}, {colours}, {width} pixels")).await);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    window.close().await;
}
