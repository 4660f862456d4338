//! Contexts of client commands.

use crate::harness::{Broker, Ran, SecuredBroker};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_gives_what_neither_a_flag_nor_a_variable_gives() {
    let broker = Broker::start().workers(1).await;
    let dir = broker.dir();
    let addresses = broker.addresses();
    let add = ["context", "add", "here", "--nameserver", &addresses];
    Ran::in_dir(dir, &add).await.out();
    // Nobody listens there.
    let add = ["context", "add", "nowhere", "--nameserver", "127.0.0.1:1"];
    Ran::in_dir(dir, &add).await.out();

    let call = ["call", "calculator", "factorial", "5"];
    let with = |more: &[&'static str]| [&call, more].concat();
    assert_eq!(
        Ran::in_dir(dir, &with(&["--context", "here"])).await.out(),
        "120"
    );
    let variable = [("PYROXENE_CONTEXT", "here")];
    assert_eq!(Ran::with(dir, &variable, &call).await.out(), "120");
    let before = ["--context", "here", "call", "calculator", "factorial", "5"];
    assert_eq!(Ran::in_dir(dir, &before).await.out(), "120");

    Ran::in_dir(dir, &["context", "use", "nowhere"]).await.out();
    Ran::in_dir(dir, &call).await.error(3);
    Ran::in_dir(dir, &["context", "use", "here"]).await.out();
    assert_eq!(Ran::in_dir(dir, &call).await.out(), "120");
    let variable = [("PYROXENE_NAMESERVER", "127.0.0.1:1")];
    Ran::with(dir, &variable, &call).await.error(3);
    let flag = [&call[..], &["--nameserver", &addresses]].concat();
    let variables = [
        ("PYROXENE_NAMESERVER", "127.0.0.1:1"),
        ("PYROXENE_CONTEXT", "nowhere"),
    ];
    assert_eq!(Ran::with(dir, &variables, &flag).await.out(), "120");

    let listed = Ran::in_dir(dir, &["context", "list", "--json"])
        .await
        .json();
    assert_eq!(
        listed,
        json!([
            {"name": "here", "used": true, "nameserver": addresses, "user": null},
            {"name": "nowhere", "used": false, "nameserver": "127.0.0.1:1", "user": null},
        ])
    );
    Ran::in_dir(dir, &["context", "remove", "here"]).await.out();
    let ran = Ran::in_dir(dir, &["context", "show"]).await;
    assert!(ran.error(2).contains("no context is in use"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_counts_for_its_own_broker_alone_and_can_be_turned_off() {
    let broker = Broker::start().await;
    let dir = broker.dir();
    let addresses = broker.addresses();
    // Nothing can be asked with it: there is no such file.
    let login = "--tls-ca none.crt --user ana --token-file none.token";
    let login: Vec<&str> = login.split(' ').collect();
    for (name, nameserver) in [("far", "127.0.0.1:1"), ("here", &addresses)] {
        let add = ["context", "add", name, "--nameserver", nameserver];
        Ran::in_dir(dir, &[&add[..], &login].concat()).await.out();
    }
    let list = ["list", "--nameserver", &addresses];
    let by_variable = [("PYROXENE_NAMESERVER", &*addresses)];
    Ran::in_dir(dir, &["context", "use", "far"]).await.out();
    Ran::in_dir(dir, &list).await.out();
    Ran::with(dir, &by_variable, &["list"]).await.out();
    let named = ["list", "--context", "far", "--nameserver", &addresses];
    Ran::in_dir(dir, &named).await.out();

    Ran::in_dir(dir, &["context", "use", "here"]).await.out();
    assert!(Ran::in_dir(dir, &list).await.error(2).contains("none.crt"));
    Ran::in_dir(dir, &[&list[..], &["--context", "none"]].concat())
        .await
        .out();
    let none = [("PYROXENE_CONTEXT", "none")];
    Ran::with(dir, &none, &list).await.out();
    // The home of a service is often no directory.
    let no_home = [("XDG_CONFIG_HOME", "/dev/null")];
    Ran::with(dir, &no_home, &list).await.out();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_that_is_not_there_is_an_error() {
    let broker = Broker::start().await;
    let dir = broker.dir();
    let addresses = broker.addresses();
    let add = ["context", "add", "prod", "--nameserver", &addresses];
    Ran::in_dir(dir, &add).await.out();
    let ran = Ran::in_dir(dir, &["list", "--context", "prd"]).await;
    assert_eq!(ran.error(2), "there is no context 'prd'");
    assert_eq!(ran.hint(), "did you mean 'prod'?");
    assert!(Ran::in_dir(dir, &add).await.error(2).contains("already"));
    let ran = Ran::in_dir(dir, &["context", "add", "../prod"]).await;
    assert!(ran.error(2).contains("no name for a context"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_names_the_file_of_a_token_and_not_the_token() {
    let broker = Broker::start().await;
    let dir = broker.dir();
    let options = [
        "--user",
        "ana",
        "--token-file",
        "ana.token",
        "--tls-ca",
        "ca.crt",
    ];
    let add = [&["context", "add", "prod"], &options[..]].concat();
    Ran::in_dir(dir, &add).await.out();
    let shown = Ran::in_dir(dir, &["context", "show", "prod", "--json"]).await;
    let file = dir.join("pyroxene/contexts/prod.toml");
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    assert_eq!(
        shown.json(),
        json!({
            "name": "prod", "used": false, "file": file.to_string_lossy(),
            "options": {
                "tls-ca": path("ca.crt"), "token-file": path("ana.token"), "user": "ana",
            },
        })
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let ran = Ran::in_dir(dir, &["list", "--context", "prod"]).await;
    assert!(ran.error(2).contains("other users can write"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_context_logs_in_unless_another_user_is_named() {
    let broker = SecuredBroker::with_tokens_over_tls().await;
    let dir = broker.dir();
    let addresses = broker.addresses();
    let path = |name: &str| broker.keys.path(name);
    let (authority, ana, oli) = (path("ca.crt"), path("ana.token"), path("oli.token"));
    let add = ["context", "add", "prod", "--nameserver", &addresses];
    let options = [
        "--tls-ca",
        &authority,
        "--user",
        "ana",
        "--token-file",
        &ana,
    ];
    Ran::in_dir(dir, &[&add[..], &options].concat()).await.out();

    let whoami = ["whoami", "--json", "--context", "prod"];
    let name = |ran: &Ran| ran.json()[0]["user"].clone();
    assert_eq!(name(&Ran::in_dir(dir, &whoami).await), "ana");
    let other = ["--user", "oli", "--token-file", &oli];
    let other = [&whoami[..], &other].concat();
    assert_eq!(name(&Ran::in_dir(dir, &other).await), "oli");
    // Ana's token is not tried for somebody else, whose token is in the environment.
    let token = fs::read_to_string(&oli).unwrap();
    let variables = [("PYROXENE_USER", "oli"), ("PYROXENE_TOKEN", token.trim())];
    assert_eq!(name(&Ran::with(dir, &variables, &whoami).await), "oli");
}
