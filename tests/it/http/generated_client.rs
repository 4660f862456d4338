//! A client in another language, generated from the description of the API by a public generator: it compiles, and calls.
//! npm fetches the generator when the test runs; without node and npm the test is skipped with a line that says so.

use super::request;
use crate::harness::{Broker, in_time, seconds, turn};
use std::{fs, path::Path, process::Stdio};
use tempfile::TempDir;
use tokio::process::Command;

/// The files of the program, and what each is.
const FILES: [(&str, &str); 3] = [
    (
        "package.json",
        include_str!("generated_client/package.json"),
    ),
    (
        "tsconfig.json",
        include_str!("generated_client/tsconfig.json"),
    ),
    ("use.ts", include_str!("generated_client/use.ts")),
];

/// Runs a program in a directory. Returns what it said if it failed.
async fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let what = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match in_time(seconds(240), &what, output).await {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            Err(format!("{what}: {}", String::from_utf8_lossy(&said)))
        }
        Err(error) => Err(format!("{what}: {error}")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_generated_from_the_description_compiles_and_calls() {
    let _turn = turn().await;
    let dir = TempDir::new().unwrap();
    for (name, content) in FILES {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts"];
    if let Err(why) = run(dir.path(), "npm", &install).await {
        eprintln!("SKIPPED: npm does not get openapi-typescript and openapi-fetch: {why}");
        return;
    }
    let broker = Broker::start().workers(1).await;
    let description = request(&broker, "GET", "/openapi.json").send().await;
    assert_eq!(description.status, 200);
    fs::write(dir.path().join("openapi.json"), description.body).unwrap();
    let generate = ["openapi-typescript", "openapi.json", "-o", "broker.ts"];
    run(dir.path(), "npx", &generate).await.unwrap();
    run(dir.path(), "npx", &["tsc"]).await.unwrap();
    let address = format!("http://{}", broker.addresses());
    let called = run(dir.path(), "node", &["out/use.js", &address]).await;
    called.unwrap();
}
