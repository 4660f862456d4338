//! An authority on disk: its files are private, none is lost, and errors name the problem.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use pyroxene_certs::{
    CertificateAuthority, CertificateRequest, CertsError, IssuedCertificate, MAX_DAYS, San,
    inspect, read,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tempfile::{TempDir, tempdir};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The names of the files in a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn authority() -> (TempDir, CertificateAuthority) {
    let directory = tempdir().unwrap();
    let authority = CertificateAuthority::create(directory.path()).unwrap();
    (directory, authority)
}

fn issue(authority: &CertificateAuthority, name: &str) -> IssuedCertificate {
    authority.issue(&CertificateRequest::new(name)).unwrap()
}

#[test]
fn keys_and_new_directories_are_their_owners_alone() {
    let parent = tempdir().unwrap();
    let directory = parent.path().join("certs");
    let authority = CertificateAuthority::create(&directory).unwrap();
    let (certificate, key) = issue(&authority, "w1")
        .save(&directory, "w1", false)
        .unwrap();
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("ca.key")), 0o600);
    assert_eq!(mode(&key), 0o600);
    // Everybody may read certificates, if the umask allows it.
    assert_eq!(mode(&certificate) & 0o600, 0o600);
    assert_eq!(files(&directory), ["ca.crt", "ca.key", "w1.crt", "w1.key"]);
}

#[test]
fn an_authority_is_never_overwritten() {
    let (directory, authority) = authority();
    let error = CertificateAuthority::create(directory.path()).unwrap_err();
    let expected = directory.path().join("ca.crt");
    assert!(matches!(error, CertsError::Exists { path } if path == expected));
    // A single remaining file of an authority is not overwritten either.
    fs::remove_file(expected).unwrap();
    let key = fs::read(directory.path().join("ca.key")).unwrap();
    let error = authority.save(directory.path()).unwrap_err();
    assert!(matches!(error, CertsError::Exists { path } if path.ends_with("ca.key")));
    assert_eq!(fs::read(directory.path().join("ca.key")).unwrap(), key);
    assert_eq!(files(directory.path()), ["ca.key"]);
}

#[test]
fn a_certificate_is_overwritten_on_demand_alone() {
    let (directory, authority) = authority();
    let (old, new) = (issue(&authority, "w1"), issue(&authority, "w1"));
    let (certificate, key) = old.save(directory.path(), "w1", false).unwrap();
    let error = new.save(directory.path(), "w1", false).unwrap_err();
    assert!(error.to_string().contains("w1.crt exists already"));
    assert_eq!(read(&certificate).unwrap(), old.certificate_pem);
    assert_eq!(read(&key).unwrap(), old.key_pem);
    new.save(directory.path(), "w1", true).unwrap();
    assert_eq!(read(&certificate).unwrap(), new.certificate_pem);
    assert_eq!(read(&key).unwrap(), new.key_pem);
    assert_eq!(mode(&key), 0o600);
    assert_eq!(files(directory.path()).len(), 4);
}

#[test]
fn what_fails_half_way_leaves_nothing() {
    let (directory, authority) = authority();
    let issued = issue(&authority, "w1");
    // A dangling link counts as an existing file.
    symlink("nowhere", directory.path().join("w1.key")).unwrap();
    let error = issued.save(directory.path(), "w1", false).unwrap_err();
    assert!(matches!(error, CertsError::Exists { .. }), "{error}");
    let error = issued.save(directory.path(), "w1", true).unwrap_err();
    assert!(matches!(error, CertsError::NotAFile { .. }), "{error}");
    assert_eq!(files(directory.path()), ["ca.crt", "ca.key", "w1.key"]);
    let nowhere = directory.path().join("nowhere");
    let error = issued.save(&nowhere, "w1", false).unwrap_err();
    assert!(matches!(error, CertsError::CannotWrite { .. }), "{error}");
}

#[test]
fn names_never_leave_the_directory() {
    let (directory, authority) = authority();
    for name in ["../w1", "ca", "a/b"] {
        let error = authority.issue(&CertificateRequest::new(name)).unwrap_err();
        assert!(matches!(error, CertsError::InvalidName { .. }), "{error}");
        let error = issue(&authority, "w1")
            .save(directory.path(), name, true)
            .unwrap_err();
        assert!(matches!(error, CertsError::InvalidName { .. }), "{error}");
    }
}

#[test]
fn what_is_no_authority_is_said_of_the_file() {
    let empty = tempdir().unwrap();
    let error = CertificateAuthority::open(empty.path()).unwrap_err();
    assert!(matches!(error, CertsError::NoAuthority { .. }), "{error}");

    let spoil = |file: &str, text: Option<&str>| -> (PathBuf, CertsError) {
        let (directory, _) = authority();
        let path = directory.path().join(file);
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        (
            path,
            CertificateAuthority::open(directory.path()).unwrap_err(),
        )
    };
    for file in ["ca.crt", "ca.key"] {
        let (spoiled, error) = spoil(file, None);
        assert!(matches!(error, CertsError::Unreadable { path, .. } if path == spoiled));
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "nonsense", damaged] {
            let (spoiled, error) = spoil(file, Some(text));
            assert!(matches!(error, CertsError::Unusable { path, .. } if path == spoiled));
        }
    }
    let (_, other) = authority();
    let (_, error) = spoil("ca.crt", Some(other.certificate_pem()));
    assert!(error.to_string().contains("belongs to another"), "{error}");
    let holder = issue(&other, "w1");
    let (_, error) = spoil("ca.crt", Some(&holder.certificate_pem));
    assert!(error.to_string().contains("of an authority"), "{error}");
}

#[test]
fn files_that_are_too_large_or_no_text_are_not_read() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("x.crt");
    for content in [vec![b'a'; 1024 * 1024 + 1], vec![0xff; 10]] {
        fs::write(&path, content).unwrap();
        assert!(matches!(read(&path), Err(CertsError::Unreadable { .. })));
    }
    fs::write(&path, vec![b'a'; 1024 * 1024]).unwrap();
    assert!(read(&path).is_ok());
}

#[test]
fn an_authority_that_has_expired_or_soon_will_issues_nothing_that_cannot_be_used() {
    let now = SystemTime::now();
    let expired = CertificateAuthority::in_memory_at(now - 3651 * DAY).unwrap();
    let error = expired.issue(&CertificateRequest::new("w1")).unwrap_err();
    assert!(matches!(error, CertsError::Expired { .. }), "{error}");

    let directory = tempdir().unwrap();
    let ending = CertificateAuthority::in_memory_at(now - 3640 * DAY).unwrap();
    ending.save(directory.path()).unwrap();
    let ending = CertificateAuthority::open(directory.path()).unwrap();
    let mut request = CertificateRequest::new("w1");
    let error = ending.issue(&request).unwrap_err();
    assert!(matches!(error, CertsError::OutlivesAuthority { .. }));
    request.days = 9;
    let issued = ending.issue(&request).unwrap();
    let info = inspect(&issued.certificate_pem).unwrap();
    assert!(info.not_after <= ending.info().not_after);
}

#[test]
fn days_times_and_hosts_have_bounds() {
    let authority = CertificateAuthority::in_memory().unwrap();
    let mut request = CertificateRequest::new("w1");
    for days in [0, MAX_DAYS + 1, u32::MAX] {
        request.days = days;
        let error = authority.issue(&request).unwrap_err();
        assert!(matches!(error, CertsError::InvalidDays(_)), "{error}");
    }
    request.days = MAX_DAYS;
    assert!(authority.issue(&request).is_ok());
    request.sans = vec![San::Dns("not a name".to_owned())];
    let error = authority.issue(&request).unwrap_err();
    assert!(matches!(error, CertsError::InvalidSan(_)), "{error}");
    let epoch = SystemTime::UNIX_EPOCH;
    for time in [epoch - DAY, epoch, epoch + 3_000_000 * DAY] {
        let error = CertificateAuthority::in_memory_at(time).unwrap_err();
        assert!(matches!(error, CertsError::InvalidTime), "{error}");
    }
}

#[test]
fn keys_are_in_no_debug_output() {
    let authority = CertificateAuthority::in_memory().unwrap();
    let issued = issue(&authority, "w1");
    let text = format!("{authority:?} {issued:?}");
    assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE"));
}
