use super::*;
use crate::users::MAX_USERS;
use pyroxene_common::identity::{Patterns, Role, Token};
use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tempfile::TempDir;

const NOW: u64 = 1_767_225_600_000;
const KEY: &str = "ed25519:11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

struct Scene {
    _directory: TempDir,
    path: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.toml");
        Self {
            _directory: directory,
            path,
        }
    }

    fn add(&self, name: &str) -> Token {
        Users::edit_or_create(&self.path, |users| {
            users.add(name, Role::User, Patterns::any(), NOW)
        })
        .unwrap()
    }

    fn mode(&self) -> u32 {
        fs::metadata(&self.path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(&self.path, Permissions::from_mode(mode)).unwrap();
    }

    /// The error for a file with this text.
    fn complaint(&self, text: &str) -> String {
        fs::write(&self.path, text).unwrap();
        self.set_mode(0o600);
        let error = Users::read(&self.path).unwrap_err();
        let sentence = error.to_string();
        assert!(matches!(error, UsersError::Invalid { .. }), "{sentence}");
        let start = format!("{}", self.path.display());
        sentence.strip_prefix(&start).unwrap().to_owned()
    }
}

#[test]
fn a_file_is_read_as_it_is_written_and_keeps_no_token() {
    let scene = Scene::new();
    let token = scene.add("ana");
    scene.add("w1");
    scene.add("old");
    Users::edit(&scene.path, |users| {
        users.add_certificate("cy", Role::Admin, Patterns::any(), NOW)
    })
    .unwrap();
    Users::edit(&scene.path, |users| users.remove("old", NOW)).unwrap();
    let users = Users::read(&scene.path).unwrap();
    let key = token.key().unwrap().id();
    assert!(users.authenticate("ana", |stored| *stored == key).is_some());
    Users::edit(&scene.path, |users| users.revoke("w1", NOW + 1)).unwrap();
    let text = fs::read_to_string(&scene.path).unwrap();
    assert!(!text.contains(&token.expose()[4..]), "{text}");
    let ana = format!(
        "[users.ana]\nrole = \"user\"\nallow = [\"*\"]\ntoken = \"{}\"\nissued = {NOW}\n",
        format_args!("ed25519:{key}")
    );
    let removed = format!("[removed]\nold = {NOW}\n");
    let w1 = "[users.w1]\nrole = \"user\"\nallow = [\"*\"]\nissued = 1767225600000\nrevoked = 1767225600001\n";
    let cy = format!(
        "[users.cy]\nrole = \"admin\"\nallow = [\"*\"]\ncertificate = true\nissued = {NOW}\n"
    );
    assert_eq!(text, format!("{HEADING}{ana}\n{cy}\n{w1}\n{removed}"));
}

#[test]
fn names_with_dots_stay_whole() {
    let scene = Scene::new();
    scene.add("w1.example.com");
    let users = Users::read(&scene.path).unwrap();
    assert_eq!(users.iter().next().unwrap().0, "w1.example.com");
    let text = fs::read_to_string(&scene.path).unwrap();
    let broken = text.replace("\"user\"", "\"root\"");
    let complaint = scene.complaint(&broken);
    assert!(
        complaint.starts_with(", line 4, user 'w1.example.com': "),
        "{complaint}"
    );
}

#[test]
fn a_file_is_private_from_the_start_and_keeps_the_mode_it_was_given() {
    let scene = Scene::new();
    scene.add("ana");
    assert_eq!(scene.mode(), 0o600);
    scene.set_mode(0o640);
    scene.add("bob");
    assert_eq!(scene.mode(), 0o640);
    for mode in [0o660, 0o602] {
        scene.set_mode(mode);
        let error = Users::read(&scene.path).unwrap_err();
        assert!(matches!(error, UsersError::Exposed { .. }), "{error}");
        let error = Users::edit(&scene.path, |users| users.remove("ana", NOW)).unwrap_err();
        assert!(matches!(error, UsersError::Exposed { .. }), "{error}");
    }
    scene.set_mode(0o604);
    assert_eq!(Users::read(&scene.path).unwrap().iter().count(), 2);
}

#[test]
fn a_file_that_is_missing_stays_so_unless_it_is_to_be_created() {
    let scene = Scene::new();
    let is_missing = |error| matches!(error, UsersError::Missing { .. });
    assert!(is_missing(Users::read(&scene.path).unwrap_err()));
    assert!(is_missing(
        Users::edit(&scene.path, |_| Ok(())).unwrap_err()
    ));
    let directory = scene.path.parent().unwrap();
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    let nowhere = directory.join("missing").join("users.toml");
    let error = Users::edit_or_create(&nowhere, |_| Ok(())).unwrap_err();
    assert!(matches!(error, UsersError::CannotWrite { .. }), "{error}");
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let scene = Scene::new();
    scene.add("ana");
    let before = fs::read_to_string(&scene.path).unwrap();
    let failed = Users::edit(&scene.path, |users| {
        users.remove("ana", NOW)?;
        users.remove("bob", NOW)
    });
    assert!(matches!(failed, Err(UsersError::Unknown { .. })));
    assert_eq!(fs::read_to_string(&scene.path).unwrap(), before);
}

#[test]
fn a_link_to_no_file_is_not_replaced_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink(directory.path().join("nothing"), &link).unwrap();
    let error = Users::edit_or_create(&link, |_| Ok(())).unwrap_err();
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        told.push_str(&error.to_string());
        cause = error.source();
    }
    assert!(told.contains("a link to no file"), "{told}");
    assert!(link.is_symlink() && !link.exists());
}

#[test]
fn a_link_stays_a_link() {
    let scene = Scene::new();
    scene.add("ana");
    let link = scene.path.with_file_name("link.toml");
    std::os::unix::fs::symlink(&scene.path, &link).unwrap();
    Users::edit(&link, |users| users.remove("ana", NOW)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(Users::read(&scene.path).unwrap().iter().count(), 0);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let scene = Scene::new();
    let user =
        format!("[users.ana]\nrole = \"user\"\nallow = [\"*\"]\ntoken = \"{KEY}\"\nissued = 1\n");
    for (text, expected) in [
        ("x = 1\n".to_owned(), ", line 1: unknown field `x`"),
        (
            user.replace("\"user\"", "\"root\""),
            ", line 2, user 'ana': unknown variant `root`",
        ),
        (
            user.replace("\"*\"", "\"a b\""),
            ", line 3, user 'ana': 'a b' is not a pattern",
        ),
        (
            user.replace("ed25519", "sha256"),
            ", line 4, user 'ana': the public key of a token is",
        ),
        (
            user.replace("issued = 1\n", ""),
            ", line 1, user 'ana': missing field `issued`",
        ),
        (
            format!("{user}admin = true\n"),
            ", line 6, user 'ana': unknown field `admin`",
        ),
        (
            format!("{user}{user}"),
            ", line 6, user 'ana': duplicate key",
        ),
        (
            user.replace("= 1\n", "= -1\n"),
            ", line 5, user 'ana': invalid value",
        ),
        (
            user.replace("= 1\n", "= 253402300800000\n"),
            ", user 'ana': a time is after",
        ),
        (
            user.replace("ana", "\"a b\""),
            ": 'a b' is not a name for a user",
        ),
        (
            "[removed]\nana = 253402300800000\n".to_owned(),
            ", user 'ana': a time is after",
        ),
        ("[users".to_owned(), ", line 1"),
    ] {
        let complaint = scene.complaint(&text);
        assert!(complaint.starts_with(expected), "{complaint}");
        assert!(!complaint.contains('\n'), "{complaint}");
    }
    let token = Token::generate().unwrap().expose();
    let complaint = scene.complaint(&user.replace(KEY, &token));
    assert!(!complaint.contains(&token[4..]), "{complaint}");
}

#[test]
fn a_file_is_bounded() {
    let scene = Scene::new();
    let user = |number| format!("[users.u{number}]\nrole = \"user\"\nallow = []\nissued = 1\n");
    let many: String = (0..=MAX_USERS).map(user).collect();
    let complaint = scene.complaint(&many);
    assert!(complaint.contains("there are 10001 users"), "{complaint}");
    let complaint = scene.complaint(&"#\n".repeat(MAX_FILE / 2 + 1));
    assert!(complaint.contains("more bytes"), "{complaint}");
    fs::write(&scene.path, [0xff]).unwrap();
    let error = Users::read(&scene.path).unwrap_err().to_string();
    assert!(error.contains("UTF-8"), "{error}");
    let nested = format!("x = {}", "[".repeat(100_000));
    scene.complaint(&nested);
}

#[test]
fn a_file_that_could_not_be_read_again_is_not_written() {
    let scene = Scene::new();
    scene.add("ana");
    let before = fs::read_to_string(&scene.path).unwrap();
    let pattern = "x".repeat(500).parse().unwrap();
    let allow = Patterns::try_from(vec![pattern; 3]).unwrap();
    let outcome = Users::edit(&scene.path, |users| {
        let user = users.users["ana"].clone();
        for number in 0..MAX_USERS - 1 {
            let user = crate::users::User {
                allow: allow.clone(),
                ..user.clone()
            };
            users.users.insert(format!("u{number}"), user);
        }
        Ok(())
    });
    assert!(matches!(outcome, Err(UsersError::Invalid { .. })));
    assert_eq!(fs::read_to_string(&scene.path).unwrap(), before);
}

#[test]
fn those_who_edit_at_once_lose_nothing_and_those_who_read_see_whole_files() {
    let scene = Scene::new();
    scene.add("first");
    let (barrier, done) = (Barrier::new(9), AtomicBool::new(false));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            barrier.wait();
            while !done.load(Ordering::Relaxed) {
                Users::read(&scene.path).unwrap();
            }
        });
        let (scene, barrier) = (&scene, &barrier);
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                scope.spawn(move || {
                    barrier.wait();
                    for number in 0..4 {
                        scene.add(&format!("w{writer}-{number}"));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    assert_eq!(Users::read(&scene.path).unwrap().iter().count(), 33);
    let directory = fs::read_dir(scene.path.parent().unwrap()).unwrap();
    assert_eq!(directory.count(), 2, "the file and its lock");
}
