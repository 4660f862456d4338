//! Who the name server takes for itself.

use super::*;

fn authority() -> Authority {
    Authority::new(None, Duration::from_secs(60), Arc::default()).unwrap()
}

#[test]
fn the_name_server_itself_gets_a_ticket_that_its_gate_takes() {
    let authority = authority();
    let admission = authority.login_by_certificate(&own_caller()).unwrap();
    assert_eq!(admission.identity.name, OWN_NAME);
    assert_eq!(admission.identity.role, Role::Admin);
    let end = tokio_util::sync::CancellationToken::new();
    let admitted = authority
        .gate()
        .admit(Some(admission.ticket.as_bytes()), &end);
    let admitted = admitted.unwrap().unwrap();
    assert_eq!(admitted.identity().name, OWN_NAME);
}

#[test]
fn nobody_can_be_mistaken_for_the_name_server_itself() {
    let authority = authority();
    let holder = Holder {
        name: OWN_NAME.to_owned(),
        role: Some(Role::Admin),
    };
    let stranger = Caller {
        address: "192.0.2.1:1".to_owned(),
        certificate: Some(holder),
        ..Caller::default()
    };
    let refused = authority.login_by_certificate(&stranger).unwrap_err();
    assert!(matches!(refused, AccessError::NoRole { .. }), "{refused}");
    let from_elsewhere = Caller {
        address: "192.0.2.1:1".to_owned(),
        ..own_caller()
    };
    let refused = authority.login_by_certificate(&from_elsewhere).unwrap_err();
    assert_eq!(refused, AccessError::NoCertificate);
    assert!(pyroxene_common::access::check_user_name(OWN_NAME).is_err());
}

#[test]
fn what_others_revoke_stays_revoked_and_is_told() {
    let authority = authority();
    let revoked = |name: &str, until_ms| Revocation {
        name: name.to_owned(),
        until_ms,
    };
    let before = authority.revocations.borrow().version;
    authority.revoked_elsewhere(vec![revoked("bob", 5), revoked("ana", 7)]);
    authority.revoked_elsewhere(vec![revoked("bob", 3)]);
    let after = authority.revocations.borrow().clone();
    assert_eq!(after.revoked, [revoked("ana", 7), revoked("bob", 5)]);
    assert_eq!(after.version, before.wrapping_add(1));
}
