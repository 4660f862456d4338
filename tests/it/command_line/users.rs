//! Users as an administrator keeps them: the file, and what is printed about it.

use crate::harness::Ran;
use futures::future::join_all;
use serde_json::json;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};
use tempfile::TempDir;

struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("users.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// Runs `pyroxene users` on the file.
    async fn users(&self, arguments: &[&str]) -> Ran {
        let all = [&["users"], arguments, &["--users", "users.toml"]].concat();
        Ran::in_dir(self.0.path(), &all).await
    }

    /// Adds a user, who gets this token.
    async fn add(&self, name: &str, flags: &[&str]) -> String {
        let ran = self.users(&[&["add", name], flags].concat()).await;
        token(&ran)
    }

    async fn state(&self, name: &str) -> String {
        let ran = self.users(&["list"]).await;
        let mut lines = ran.out().lines().map(str::split_whitespace);
        let mut line = lines.find(|line| line.clone().next() == Some(name));
        let state = line.as_mut().and_then(|line| line.next_back());
        state.unwrap_or_else(|| panic!("{ran:?}")).to_owned()
    }
}

/// What a command printed, which must be a token alone.
fn token(ran: &Ran) -> String {
    let token = ran.out();
    assert_eq!(token.len(), 47, "{ran:?}");
    assert!(token.starts_with("prx_"), "{ran:?}");
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    assert!(token.chars().all(is_base64), "{ran:?}");
    token.to_owned()
}

#[tokio::test]
async fn a_token_is_printed_alone_and_kept_nowhere() {
    let scene = Scene::new();
    let ran = scene.users(&["add", "ana", "--role", "user"]).await;
    let ana = token(&ran);
    assert_eq!(
        ran.stderr,
        "note: ana may call every object; --allow PATTERN restricts that\n"
    );
    let mode = fs::metadata(scene.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let narrow = ["add", "w1", "--role", "worker", "--allow", "calc*"];
    let ran = scene.users(&narrow).await;
    assert_eq!(ran.stderr, "");
    let w1 = token(&ran);
    assert_ne!(ana, w1);
    for entry in fs::read_dir(scene.0.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for token in [&ana, &w1] {
            assert!(!text.contains(&token[4..]), "{text}");
        }
    }
}

#[tokio::test]
async fn list_shows_everything_but_hashes() {
    let scene = Scene::new();
    scene.add("ana", &["--role", "admin"]).await;
    let allow = ["--role=user", "--allow=a.q*,text", "--allow=calculator"];
    scene.add("bob", &allow).await;
    let ran = scene.users(&["list"]).await;
    let expected = "\
NAME  ROLE   ALLOW                 LIMITS  STATE
ana   admin  *                             active
bob   user   a.q* text calculator          active";
    assert_eq!(ran.out(), expected);

    assert!(scene.users(&["revoke", "bob"]).await.out().is_empty());
    let ran = scene.users(&["list", "--json"]).await;
    assert!(!ran.stdout.contains("sha256"), "{ran:?}");
    let mut listed = ran.json();
    let times = [("ana", "issued"), ("bob", "issued"), ("bob", "revoked")];
    for (user, (_, key)) in [0, 1, 1].into_iter().zip(times) {
        let time = listed[user][key].take();
        let time = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
        assert!(time.elapsed().unwrap().as_secs() < 60);
    }
    let expected = json!([
        {"name": "ana", "role": "admin", "allow": ["*"], "limits": {}, "certificate": false, "issued": null, "revoked": null},
        {"name": "bob", "role": "user", "allow": ["a.q*", "text", "calculator"], "limits": {}, "certificate": false, "issued": null, "revoked": null},
    ]);
    assert_eq!(listed.to_string(), expected.to_string());
}

#[tokio::test]
async fn a_user_is_rotated_revoked_and_removed() {
    let scene = Scene::new();
    let old = scene.add("ana", &["--role", "observer"]).await;
    let new = token(&scene.users(&["rotate", "ana"]).await);
    assert_ne!(old, new);
    assert!(scene.users(&["revoke", "ana"]).await.out().is_empty());
    assert_eq!(scene.state("ana").await, "revoked");
    assert!(!scene.text().contains("sha256:"), "{}", scene.text());
    token(&scene.users(&["rotate", "ana"]).await);
    assert_eq!(scene.state("ana").await, "active");
    assert!(scene.users(&["remove", "ana"]).await.out().is_empty());
    assert_eq!(scene.users(&["list", "--json"]).await.out(), "[]");
}

#[tokio::test]
async fn every_change_is_told_as_json_to_who_asks_for_it() {
    let scene = Scene::new();
    let json = async |arguments: &[&str]| {
        let ran = scene.users(&[arguments, &["--json"]].concat()).await;
        ran.json()
    };
    let mut added = json(&["add", "ana", "--role", "user", "--allow", "a"]).await;
    let first = added["token"].take();
    assert!(first.as_str().unwrap().starts_with("prx_"), "{first}");
    let expected = json!({"added": "ana", "token": null, "token_file": null});
    assert_eq!(added.to_string(), expected.to_string());
    let cy = ["add", "cy", "--role", "admin", "--certificate"];
    let expected = json!({"added": "cy", "token": null, "token_file": null});
    assert_eq!(json(&cy).await, expected);
    let mut rotated = json(&["rotate", "ana"]).await;
    assert_ne!(rotated["token"].take(), first);
    let expected = json!({"rotated": "ana", "token": null, "token_file": null});
    assert_eq!(rotated, expected);
    let to_file = ["rotate", "ana", "--token-out", "ana.token"];
    let expected = json!({"rotated": "ana", "token": null, "token_file": "ana.token"});
    assert_eq!(json(&to_file).await, expected);
    let limits = ["set", "ana", "--limit", "tasks=7"];
    let expected = json!({"set": "ana", "limits": {"tasks": 7}});
    assert_eq!(json(&limits).await, expected);
    assert_eq!(json(&["revoke", "ana"]).await, json!({"revoked": "ana"}));
    let stranger = ["revoke", "eve", "--certificate"];
    assert_eq!(json(&stranger).await, json!({"revoked": "eve"}));
    assert_eq!(json(&["remove", "ana"]).await, json!({"removed": "ana"}));
    let expected = json!({"rotated_key": "users.toml.key"});
    assert_eq!(json(&["rotate-key"]).await, expected);

    for verb in ["rotate", "remove", "revoke"] {
        let ran = scene.users(&[verb, "bob", "--json"]).await;
        let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!((error["kind"].as_str(), ran.code), (Some("usage"), Some(2)));
        assert!(error["error"].to_string().contains("bob"), "{error}");
        assert_eq!(ran.stdout, "");
    }
}

#[tokio::test]
async fn mistakes_are_told_and_change_nothing() {
    let scene = Scene::new();
    for command in [&["list"][..], &["remove", "ana"], &["rotate", "ana"]] {
        let ran = scene.users(command).await;
        assert_eq!(ran.error(2), "there is no users file users.toml");
        assert!(ran.stderr.contains("hint: 'pyroxene users add'"), "{ran:?}");
    }
    assert_eq!(fs::read_dir(scene.0.path()).unwrap().count(), 0);

    scene.add("ana", &["--role", "admin"]).await;
    let before = scene.text();
    let ran = scene.users(&["add", "ana", "--role", "user"]).await;
    assert!(ran.error(2).contains("there is a user 'ana' already"));
    for verb in ["remove", "rotate", "revoke"] {
        let ran = scene.users(&[verb, "bob"]).await;
        assert!(ran.error(2).contains("there is no user 'bob'"), "{ran:?}");
    }
    let many = ["--allow=a"; 65];
    for wrong in [
        &["add", "a b", "--role", "user"][..],
        &["add", "bob", "--role", "root"],
        &["add", "bob"],
        &["add", "bob", "--role", "user", "--allow", "a b"],
        &[&["add", "bob", "--role", "user"], &many[..]].concat(),
    ] {
        scene.users(wrong).await.error(2);
    }
    assert_eq!(scene.text(), before);

    let nowhere = ["users", "add", "ana", "--role=user", "--users=no/users"];
    Ran::in_dir(scene.0.path(), &nowhere).await.error(1);
}

#[tokio::test]
async fn a_corrupt_file_is_told_with_its_place_and_left_as_it_is() {
    let scene = Scene::new();
    scene.add("ana", &["--role", "admin"]).await;
    let corrupt = scene.text().replace("\"admin\"", "\"root\"");
    fs::write(scene.file(), &corrupt).unwrap();
    for command in [&["list"][..], &["add", "bob", "--role", "user"]] {
        let ran = scene.users(command).await;
        let sentence = ran.error(2);
        assert!(
            sentence.contains("users.toml, line 4, user 'ana': "),
            "{ran:?}"
        );
    }
    assert_eq!(scene.text(), corrupt);

    fs::set_permissions(scene.file(), Permissions::from_mode(0o666)).unwrap();
    let ran = scene.users(&["list"]).await;
    assert!(ran.error(2).contains("others can write"), "{ran:?}");
}

#[tokio::test]
async fn those_who_add_at_once_lose_nobody() {
    let scene = Scene::new();
    let names: Vec<_> = (0..8).map(|number| format!("user-{number}")).collect();
    let adding = names.iter().map(|name| scene.add(name, &["--role=user"]));
    let tokens = join_all(adding).await;
    assert_eq!(tokens.len(), 8);
    let listed = scene.users(&["list", "--json"]).await.json();
    let listed = listed.as_array().unwrap().iter();
    let listed: Vec<_> = listed.map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(listed, names);
}
