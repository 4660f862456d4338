//! Tests of logins, tickets and revocations.

use super::*;
use crate::users::replace_domain_key;
use crate::visitors::VisitorLog;
use pyroxene_client::DelegateTicketIssuer;
use pyroxene_common::{
    identity::{Addressee, Audience, HolderKey, Token},
    reload::Reload,
    tls::CertificateHolder,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use tempfile::TempDir;

const LIFE: Duration = Duration::from_secs(60);

/// An authority with this users file, if any, which accepts only the certificates of listed names.
fn authority(users: Option<&Path>) -> TicketAuthority {
    authority_that_takes(CertificatePolicy::Listed, users)
}

fn authority_that_takes(certificates: CertificatePolicy, users: Option<&Path>) -> TicketAuthority {
    let users = users.map(Path::to_owned);
    TicketAuthority::new(
        users,
        certificates,
        LIFE,
        Arc::default(),
        VisitorLog::default(),
        Sessions::of_process(),
    )
    .unwrap()
}

/// A users file after `change`.
fn file(change: impl FnOnce(&mut Users)) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.toml");
    edit(&path, change);
    (directory, path)
}

fn edit(path: &Path, change: impl FnOnce(&mut Users)) {
    Users::edit_or_create(path, |users| {
        change(users);
        Ok(())
    })
    .unwrap();
}

fn by_certificate(name: &str, role: Option<Role>) -> Caller {
    Caller {
        address: "192.0.2.1:1".to_owned(),
        certificate: Some(CertificateHolder {
            name: name.to_owned(),
            role,
        }),
        ..Caller::default()
    }
}

fn log_in(authority: &TicketAuthority, caller: &Caller) -> Result<Identity, AccessError> {
    let holder = HolderKey::of_process().unwrap().id();
    let admission = authority.login_by_certificate(caller, holder)?;
    Ok(admission.identity)
}

#[test]
fn nobody_gets_a_ticket_in_the_name_of_the_name_server_itself() {
    let authority = authority(None);
    let refused = log_in(&authority, &by_certificate(OWN_NAME, Some(Role::Admin)));
    assert!(matches!(refused, Err(AccessError::NoRole { .. })));
    for caller in [
        own_caller(),
        Caller {
            address: "192.0.2.1:1".to_owned(),
            ..own_caller()
        },
    ] {
        let refused = log_in(&authority, &caller);
        assert_eq!(refused, Err(AccessError::NoCertificate));
    }
    assert!(pyroxene_common::identity::check_user_name(OWN_NAME).is_err());
    assert!(pyroxene_common::identity::is_reserved(OWN_NAME));
}

#[test]
fn with_a_users_file_certificates_count_for_listed_names_alone() {
    let (_directory, path) = file(|users| {
        let any = Patterns::any;
        users.add_certificate("ana", Role::User, any(), 1).unwrap();
        users.add("rob", Role::Admin, any(), 1).unwrap();
        users.remove("rob", 2).unwrap();
        users.revoke_certificate("eve", 2).unwrap();
    });
    let strict = authority(Some(&path));
    let open = authority_that_takes(CertificatePolicy::Any, Some(&path));
    let admin = |name: &str| by_certificate(name, Some(Role::Admin));
    for authority in [&strict, &open] {
        let ana = log_in(authority, &admin("ana")).unwrap();
        assert_eq!(ana.role, Role::User, "the file says what she may do");
        for name in ["rob", "eve"] {
            let refused = log_in(authority, &admin(name));
            assert!(matches!(refused, Err(AccessError::Revoked { .. })));
        }
    }
    let refused = log_in(&strict, &admin("cy"));
    assert!(matches!(refused, Err(AccessError::NotListed { .. })));
    assert_eq!(log_in(&open, &admin("cy")).unwrap().role, Role::Admin);
}

/// Logs in with a token, with or without a challenge.
fn log_in_by_token(
    authority: &TicketAuthority,
    caller: &Caller,
    token: &Token,
    nonce: Option<[u8; 32]>,
) -> Result<LoginTicket, AccessError> {
    let holder = HolderKey::of_process().unwrap().id();
    let proof = pyroxene_common::identity::LoginProof {
        nonce: &nonce.unwrap_or([0; 32]),
        exporter: None,
        holder: &holder,
        user: "ana",
    };
    let signature = proof.sign(&token.key().unwrap());
    authority.login(caller, "ana", holder, &signature)
}

#[tokio::test(start_paused = true)]
async fn a_login_is_good_once_and_a_wrong_one_is_counted() {
    let mut token = None;
    let (_directory, path) = file(|users| {
        token = Some(users.add("ana", Role::User, Patterns::any(), 1).unwrap());
    });
    let token = token.unwrap();
    let authority = authority(Some(&path));
    let caller = Caller {
        address: "192.0.2.1:1".to_owned(),
        ..Caller::default()
    };
    let nonce = caller.login.issue();
    assert!(log_in_by_token(&authority, &caller, &token, nonce).is_ok());
    for nonce in [nonce, None] {
        let replayed = log_in_by_token(&authority, &caller, &token, nonce);
        assert_eq!(replayed, Err(AccessError::NoChallenge));
    }
    let wrong = Token::generate().unwrap();
    let with = |token: &Token| {
        let nonce = caller.login.issue();
        log_in_by_token(&authority, &caller, token, nonce)
    };
    for _ in 0..5 {
        assert_eq!(with(&wrong), Err(AccessError::WrongToken));
    }
    let refused = with(&wrong);
    assert!(matches!(refused, Err(AccessError::TooManyAttempts { .. })));
    // Correct credentials are accepted whatever failed before.
    assert!(with(&token).is_ok());
}

#[test]
fn a_task_runs_with_the_rights_that_its_submitter_has_now() {
    let (_directory, path) = file(|users| {
        let allow = |text: &str| Patterns::try_from(vec![text.parse().unwrap()]).unwrap();
        users.add("ana", Role::User, allow("echo"), 1).unwrap();
        users
            .add("oli", Role::Observer, Patterns::any(), 1)
            .unwrap();
        users.add("rev", Role::User, Patterns::any(), 1).unwrap();
        users.revoke("rev", 2).unwrap();
    });
    let authority = authority(Some(&path));
    let may = |name, certificate_role, object| {
        let submitter = TaskSubmitter {
            name,
            certificate_role,
            submitted_ms: 5,
        };
        authority.submitter(submitter, object, "sleep")
    };
    assert_eq!(may("ana", None, "echo").unwrap().role, Role::User);
    for (name, role, object, why) in [
        ("ana", None, "text", "'ana' (user) may not call text.sleep"),
        (
            "oli",
            None,
            "echo",
            "'oli' (observer) may not call echo.sleep",
        ),
        ("rev", None, "echo", "the access of 'rev' was revoked"),
        ("bob", None, "echo", "'bob' is not a user any more"),
        (
            "bob",
            Some("admin"),
            "echo",
            "'bob' is not in the users file",
        ),
        ("", None, "echo", "it was submitted without authentication"),
        (OWN_NAME, Some("admin"), "echo", "names no role"),
    ] {
        let refused = may(name, role, object).unwrap_err();
        assert!(refused.contains(why), "{name}: {refused}");
    }
    let open = authority_that_takes(CertificatePolicy::Listed, None);
    let submitter = |name, submitted_ms| TaskSubmitter {
        name,
        certificate_role: Some("admin"),
        submitted_ms,
    };
    open.merge_revocations(vec![Revocation {
        name: "bob".to_owned(),
        until_ms: 5,
    }]);
    assert!(open.submitter(submitter("bob", 6), "echo", "sleep").is_ok());
    open.submitter(submitter("bob", 5), "echo", "sleep")
        .unwrap_err();
}

#[test]
fn a_ticket_for_a_task_ends_with_the_rights_that_it_has() {
    let (_directory, path) = file(|users| {
        users.add("ana", Role::User, Patterns::any(), 1).unwrap();
    });
    let authority = UsersReload(Arc::new(authority(Some(&path))));
    let ana = authority.0.identity_of("ana", None).unwrap();
    let ticket = || {
        let audience = Audience::Task {
            addressee: Addressee::Worker {
                name: "w1".to_owned(),
                key: HolderKey::of_process().unwrap().id(),
            },
            object: "echo".to_owned(),
            method: "sleep".to_owned(),
        };
        authority.0.ticket(&ana, audience)
    };
    ticket().unwrap();
    edit(&path, |users| users.revoke("ana", 2).unwrap());
    authority.reload().unwrap();
    assert_eq!(ticket().unwrap_err(), "the access of 'ana' was revoked");
}

#[test]
fn a_key_that_was_replaced_or_removed_signs_and_opens_nothing_any_more() {
    let (_directory, path) = file(|users| {
        users.add("ana", Role::User, Patterns::any(), 1).unwrap();
    });
    let authority = UsersReload(Arc::new(authority(Some(&path))));
    let key = || authority.0.issuer().key;
    let version = || authority.0.void_tickets.borrow().version;
    let (first, before) = (key(), version());
    authority.reload().unwrap();
    assert_eq!((key(), version()), (first.clone(), before));
    replace_domain_key(&path).unwrap();
    authority.reload().unwrap();
    let second = key();
    assert_ne!(first, second);
    assert_ne!(before, version(), "workers are told");
    fs::remove_file(path.with_file_name("users.toml.key")).unwrap();
    authority.reload().unwrap();
    assert_ne!(second, key());
    // A key file that others could have read is refused, and the previous key stays in use.
    let exposed = path.with_file_name("users.toml.key");
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let third = key();
    authority.reload().unwrap_err();
    assert_eq!(third, key());
}

#[test]
fn what_others_revoke_stays_revoked_and_is_told() {
    let authority = authority(None);
    let revoked = |name: &str, until_ms| Revocation {
        name: name.to_owned(),
        until_ms,
    };
    let before = authority.void_tickets.borrow().version;
    authority.merge_revocations(vec![revoked("bob", 5), revoked("ana", 7)]);
    authority.merge_revocations(vec![revoked("bob", 3)]);
    let after = authority.void_tickets.borrow().clone();
    assert_eq!(after.revoked, [revoked("ana", 7), revoked("bob", 5)]);
    assert_eq!(after.version, before.wrapping_add(1));
}

#[tokio::test]
async fn a_session_ends_with_its_time_its_logout_its_token_and_a_revocation_that_others_tell() {
    const LONG: Duration = Duration::from_secs(60);
    let mut tokens = Vec::new();
    let (_directory, path) = file(|users| {
        for name in ["ana", "bob", "cy"] {
            let token = users.add(name, Role::User, Patterns::any(), 1).unwrap();
            tokens.push((name, token.key().unwrap().id()));
        }
    });
    let authority = Arc::new(authority(Some(&path)));
    let begin = |user: usize, life| {
        let (name, key) = tokens[user];
        authority.begin_session(name, key, life).unwrap()
    };
    let user_of = |session: &str| {
        let identity = authority.identity_of_session(session);
        identity.map(|identity| identity.name)
    };
    // The first: one that begins within the same millisecond counts from the next.
    assert_eq!(user_of(&begin(0, Duration::ZERO)), None);
    let session = begin(0, LONG);
    assert_eq!(user_of(&session).as_deref(), Some("ana"));
    assert_eq!(user_of(""), None);
    // The token of another user begins none.
    let refused = authority.begin_session("ana", tokens[1].1, LONG);
    assert_eq!(refused, Err(AccessError::WrongToken));

    let other = begin(0, LONG);
    let logout = authority.end_session(&session);
    assert!(logout.is_some_and(|logout| logout.name == "ana"));
    assert_eq!(user_of(&session), None);
    assert_eq!(user_of(&other).as_deref(), Some("ana"));
    let rotated = begin(1, LONG);
    edit(&path, |users| drop(users.rotate("bob", 2).unwrap()));
    UsersReload(Arc::clone(&authority)).reload().unwrap();
    assert_eq!(user_of(&rotated), None);
    let revoked = begin(2, LONG);
    authority.merge_revocations(vec![Revocation {
        name: "cy".to_owned(),
        until_ms: IssuerClock::Own.now_ms() + 1,
    }]);
    assert_eq!(user_of(&revoked), None);
    // A session that does not count any more has no end that others would have to know.
    assert_eq!(authority.end_session(&revoked), None);
    assert_eq!(authority.end_session(&rotated), None);
    assert_eq!(user_of(&other).as_deref(), Some("ana"));

    // The same users and key, and no store that tells of logouts.
    let elsewhere = self::authority(Some(&path));
    assert_eq!(elsewhere.identity_of_session(&other), None);
}
