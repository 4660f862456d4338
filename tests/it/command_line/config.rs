//! Configuration files of daemons.

use crate::harness::{Ran, start_command, start_command_with, write_private};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt};
use tempfile::TempDir;

const NAMESERVER: &str = r#"
[common]
log = "json"
[nameserver]
listen = "127.0.0.1:0"
store = "memory:"
settle = "1s"
"#;

/// What is in force for a key, in what `config show --json` printed.
fn shown<'a>(told: &'a Value, key: &str) -> &'a Value {
    let mut entries = told.as_array().unwrap().iter();
    let entry = entries.find(|entry| entry["key"] == key);
    entry.unwrap_or_else(|| panic!("{key} is not shown: {told}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_overrides_a_variable_which_overrides_the_file() {
    let dir = TempDir::new().unwrap();
    write_private(dir.path().join("broker.toml"), NAMESERVER);
    let words = ["--config", "broker.toml", "--exit-with-parent"];
    for (environment, flags, is_json) in [
        (&[][..], &[][..], true),
        (&[("PYROXENE_LOG", "pretty")], &[], false),
        (&[("PYROXENE_LOG", "pretty")], &["--log", "json"], true),
    ] {
        let logs = TempDir::new_in(dir.path()).unwrap();
        write_private(logs.path().join("broker.toml"), NAMESERVER);
        let words = [&words, flags].concat();
        let mut nameserver = start_command_with(logs.path(), environment, "nameserver", &words);
        nameserver.ready("ready nameserver").await;
        nameserver.terminate().await;
        let log = nameserver.log();
        let first = log.lines().next().unwrap();
        let parsed = serde_json::from_str::<Value>(first);
        assert_eq!(parsed.is_ok(), is_json, "{environment:?} {flags:?}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_force_is_shown_with_where_it_comes_from() {
    let dir = TempDir::new().unwrap();
    write_private(dir.path().join("broker.toml"), NAMESERVER);
    let show = ["config", "show", "nameserver", "--json"];
    let environment = [
        ("PYROXENE_CONFIG", "broker.toml"),
        ("PYROXENE_SETTLE", "2s"),
    ];
    let told = Ran::with(dir.path(), &environment, &show).await.json();
    for (key, value, source, place) in [
        ("log", json!("json"), "file", json!("broker.toml:3")),
        (
            "listen",
            json!("127.0.0.1:0"),
            "file",
            json!("broker.toml:5"),
        ),
        ("settle", json!("2s"), "variable", json!("PYROXENE_SETTLE")),
        ("insecure", json!("false"), "default", Value::Null),
        ("tls-cert", Value::Null, "default", Value::Null),
    ] {
        let expected = json!({"key": key, "value": value, "source": source, "place": place});
        assert_eq!(*shown(&told, key), expected);
    }
    let ran = Ran::in_dir(dir.path(), &["config", "show", "worke"]).await;
    assert!(ran.error(2).contains("'worke'"), "{ran:?}");
    assert_eq!(ran.hint(), "did you mean 'worker'?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_starts_a_broker() {
    let dir = TempDir::new().unwrap();
    write_private(dir.path().join("broker.toml"), NAMESERVER);
    let flags = ["--config", "broker.toml", "--exit-with-parent"];
    let mut nameserver = start_command(dir.path(), "nameserver", &flags);
    let address = nameserver.ready("ready nameserver").await;
    let more = format!(
        "{NAMESERVER}[worker]\nnameserver = '{address}'\nname = 'w1'\nobjects = ['echo', 'text']\ntag = ['gpu']\n"
    );
    write_private(dir.path().join("broker.toml"), &more);
    let mut worker = start_command(dir.path(), "worker", &flags);
    worker.ready("ready worker w1").await;
    let list = ["list", "--tag", "gpu", "--json", "--nameserver", &address];
    let listed = Ran::in_dir(dir.path(), &list).await.json();
    let names: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|o| &o["name"])
        .collect();
    assert_eq!(names, ["echo", "text"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_the_file_names_its_line_and_what_was_meant() {
    let dir = TempDir::new().unwrap();
    let text =
        "[nameserver]\nlisten = \"127.0.0.1:0\"\nusrs = \"users.toml\"\ninsecure = \"yes\"\n";
    write_private(dir.path().join("broker.toml"), text);
    let words = [
        "nameserver",
        "--config",
        "broker.toml",
        "--store",
        "memory:",
    ];
    let ran = Ran::in_dir(dir.path(), &words).await;
    assert_eq!(
        ran.error(2),
        "broker.toml:3: unknown key 'usrs' ('pyroxene config check broker.toml' shows 1 more)"
    );
    assert_eq!(ran.hint(), "did you mean 'users'?");

    let check = ["config", "check", "broker.toml"];
    let ran = Ran::in_dir(dir.path(), &check).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let wrong_type =
        "error: broker.toml:4: insecure: it is a string, but has to be true or false\n";
    assert!(ran.stderr.ends_with(wrong_type), "{ran:?}");
    let ran = Ran::in_dir(dir.path(), &["config", "check", "broker.toml", "--json"]).await;
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&told["ok"], &told["mistakes"][0]["line"]),
        (&json!(false), &json!(3))
    );

    write_private(dir.path().join("broker.toml"), NAMESERVER);
    let ran = Ran::in_dir(dir.path(), &check).await;
    assert_eq!(ran.out(), "broker.toml is in order");
    let missing = Ran::in_dir(dir.path(), &["config", "check", "none.toml"]).await;
    assert!(missing.error(2).contains("none.toml"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_in_the_file_stays_there() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("broker.toml");
    write_private(
        &file,
        "[nameserver]\nstore = \"postgres://pyroxene:secret@db:5432/broker\"\n",
    );
    let show = ["config", "show", "nameserver", "--config", "broker.toml"];
    let ran = Ran::in_dir(dir.path(), &show).await;
    assert!(ran.out().contains("postgres://db:5432/broker"), "{ran:?}");
    assert!(!ran.out().contains("secret"), "{ran:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = Ran::in_dir(dir.path(), &show).await;
    assert!(ran.error(2).contains("chmod 600"), "{ran:?}");
}
