//! `inspect` returns what the request asked for, and nothing that the certificate does not say clearly.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use pyroxene_certs::{
    CertificateAuthority, CertificateRequest, CertificateRole, CertsError, inspect, inspect_der,
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use std::time::{Duration, SystemTime};

/// 2026-03-01T12:00:00Z
const NOON: Duration = Duration::from_secs(1_772_366_400);

fn at_noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOON
}

/// A self-signed certificate with these subject attributes.
fn with_subject(attributes: &[(DnType, &str)]) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a\x1b.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in attributes {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.self_signed(&key).unwrap().pem()
}

#[test]
fn what_was_asked_for_is_told() {
    let authority = CertificateAuthority::in_memory_at(at_noon()).unwrap();
    for role in CertificateRole::ALL.map(Some).into_iter().chain([None]) {
        let mut request = CertificateRequest::new("w1");
        (request.role, request.now, request.days) = (role, at_noon(), 30);
        let issued = authority.issue(&request).unwrap();
        let info = inspect(&issued.certificate_pem).unwrap();
        assert_eq!(info.name.as_deref(), Some("w1"));
        assert_eq!(info.role, role);
        assert!(!info.is_authority);
        let hosts: &[&str] = match role {
            Some(CertificateRole::User | CertificateRole::Observer) => &[],
            None | Some(CertificateRole::Admin | CertificateRole::Worker) => {
                &["localhost", "127.0.0.1", "::1", "w1"]
            }
        };
        assert_eq!(info.hosts, hosts);
        assert_eq!(info.issuer, authority.info().subject);
        assert_ne!(info.serial, authority.info().serial);
    }
}

#[test]
fn json_has_the_documented_shape() {
    let authority = CertificateAuthority::in_memory_at(at_noon()).unwrap();
    let mut request = CertificateRequest::new("w1");
    (request.role, request.now) = (Some(CertificateRole::Worker), at_noon());
    request.sans = vec!["10.0.0.1".parse().unwrap()];
    let issued = authority.issue(&request).unwrap();
    let info = inspect(&issued.certificate_pem).unwrap();
    assert_eq!(
        serde_json::to_value(&info).unwrap(),
        json!({
            "subject": "CN=w1, OU=worker",
            "name": "w1",
            "role": "worker",
            "is_authority": false,
            "hosts": ["10.0.0.1"],
            "not_before": "2026-03-01T11:00:00Z",
            "not_after": "2027-03-01T12:00:00Z",
            "issuer": authority.info().subject,
            "serial": info.serial,
            "sha256": info.sha256,
        })
    );
    assert_eq!(info.sha256.len(), 64);
}

#[test]
fn an_authority_has_a_name_of_its_own_and_no_role() {
    let authority = CertificateAuthority::in_memory_at(at_noon()).unwrap();
    let info = authority.info();
    assert!(info.is_authority);
    assert_eq!((&info.name, info.role), (&None, None));
    assert_eq!(info.issuer, info.subject);
    assert_eq!(
        info.not_after,
        at_noon() + Duration::from_secs(86_400 * 3650)
    );
    let other = CertificateAuthority::in_memory_at(at_noon()).unwrap();
    assert_ne!(info.subject, other.info().subject);
}

#[test]
fn a_subject_that_is_not_clear_is_nobody() {
    let organization = (DnType::OrganizationName, "admin");
    let info = inspect(&with_subject(&[organization])).unwrap();
    assert_eq!((info.name, info.role), (None, None));
    let info = inspect(&with_subject(&[
        (DnType::CommonName, "../ada"),
        (DnType::OrganizationalUnitName, "Admin"),
    ]))
    .unwrap();
    assert_eq!((info.name, info.role), (None, None));
    // The same attribute under its object identifier: rcgen writes both.
    let info = inspect(&with_subject(&[
        (DnType::CommonName, "ada"),
        (DnType::CustomDnType(vec![2, 5, 4, 3]), "bob"),
        (DnType::OrganizationalUnitName, "user"),
        (DnType::CustomDnType(vec![2, 5, 4, 11]), "admin"),
    ]))
    .unwrap();
    assert_eq!((info.name, info.role), (None, None));
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    let info = inspect(&with_subject(&[(DnType::CommonName, "a\x1b[2J\n")])).unwrap();
    assert!(!info.subject.contains(char::is_control), "{info:?}");
    assert_eq!(info.hosts, ["a\u{fffd}.example"]);
}

#[test]
fn what_is_damaged_is_no_certificate_and_no_panic() {
    let authority = CertificateAuthority::in_memory().unwrap();
    let issued = authority.issue(&CertificateRequest::new("w1")).unwrap();
    for text in ["", "nonsense", &issued.key_pem] {
        let error = inspect(text).unwrap_err();
        assert!(matches!(error, CertsError::NotACertificate { .. }));
        assert!(error.to_string().contains("no PEM certificate"), "{error}");
    }
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    for end in 0..der.len() {
        assert!(inspect_der(&der[..end]).is_err(), "{end}");
        let mut perturbed = der.to_vec();
        for change in [0x01, 0x80, 0xff] {
            perturbed[end] = der[end] ^ change;
            // The changed bytes may still be a certificate; then its content can be serialised.
            if let Ok(info) = inspect_der(&perturbed) {
                serde_json::to_string(&info).unwrap();
            }
        }
    }
    let mut longer = der.to_vec();
    longer.push(0);
    assert!(inspect_der(&longer).is_err());
}
