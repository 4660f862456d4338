use super::*;

const NOW: u64 = 1_767_225_600_000;

fn users_with(name: &str) -> (Users, Token) {
    let mut users = Users::default();
    let token = users.add(name, Role::User, Patterns::any(), NOW).unwrap();
    (users, token)
}

/// Logs in with a token.
fn authenticate(users: &Users, name: &str, token: &Token) -> Option<Identity> {
    let own = token.key().unwrap().id();
    users.authenticate(name, |key| *key == own)
}

#[test]
fn a_token_is_good_for_its_user_alone() {
    let (mut users, token) = users_with("ana");
    let allow = Patterns::default();
    let other = users.add("w1", Role::Worker, allow.clone(), NOW).unwrap();
    let identity = authenticate(&users, "w1", &other).unwrap();
    assert_eq!(
        (identity.name.as_str(), identity.role),
        ("w1", Role::Worker)
    );
    assert_eq!(identity.allow, allow);
    assert!(authenticate(&users, "ana", &token).is_some());
    assert_eq!(authenticate(&users, "ana", &other), None);
    assert_eq!(authenticate(&users, "bob", &token), None);
    assert_eq!(authenticate(&users, "", &token), None);
    assert_eq!(users.identity("w1"), Some(identity));
    assert_eq!(users.identity("bob"), None);
}

#[test]
fn names_are_checked_and_nobody_is_added_twice() {
    let (mut users, token) = users_with("ana");
    let before = users.clone();
    let mut add = |name| users.add(name, Role::Admin, Patterns::any(), NOW);
    assert!(matches!(add("ana"), Err(UsersError::Exists { .. })));
    for name in ["", "a b", "../x", &"a".repeat(65)] {
        assert!(matches!(add(name), Err(UsersError::InvalidName(_))));
    }
    assert_eq!(users, before);
    assert!(authenticate(&users, "ana", &token).is_some());
}

#[test]
fn rotation_replaces_a_token() {
    let (mut users, old) = users_with("ana");
    let new = users.rotate("ana", NOW + 5).unwrap();
    assert_eq!(authenticate(&users, "ana", &old), None);
    assert!(authenticate(&users, "ana", &new).is_some());
    let (_, user) = users.iter().next().unwrap();
    assert_eq!((user.issued_ms(), user.revoked_ms()), (NOW + 5, None));
    assert_eq!(users.revocations(NOW + 5), []);
}

#[test]
fn revoking_ends_token_and_tickets_until_then_and_rotation_begins_anew() {
    let (mut users, old) = users_with("ana");
    users.revoke("ana", NOW + 5).unwrap();
    assert_eq!(authenticate(&users, "ana", &old), None);
    assert_eq!(users.identity("ana"), None);
    let (name, until_ms) = ("ana".to_owned(), NOW + 5);
    let revocations = [Revocation { name, until_ms }];
    assert_eq!(users.revocations(NOW + 5), revocations);

    users.revoke("ana", NOW).unwrap();
    assert_eq!(
        users.revocations(NOW + 5),
        revocations,
        "the clock went back"
    );

    let new = users.rotate("ana", NOW + 9).unwrap();
    assert!(authenticate(&users, "ana", &new).is_some());
    assert!(users.identity("ana").is_some());
    assert_eq!(
        users.revocations(NOW + 5),
        revocations,
        "old tickets stay void"
    );
}

/// A revoked user must not be able to log in with the key that stands for a missing token.
#[test]
fn a_revoked_user_has_no_token_at_all() {
    let (mut users, _) = users_with("ana");
    users.revoke("ana", NOW).unwrap();
    // Even a verification that accepts every key does not authenticate a user without a token.
    assert_eq!(users.authenticate("ana", |_| true), None);
    assert_eq!(users.authenticate("bob", |_| true), None);
    let user = users.users.get_mut("ana").unwrap();
    assert_eq!((user.is_active(), &user.token), (false, &None));
}

#[test]
fn what_is_not_there_cannot_be_changed() {
    let (mut users, token) = users_with("ana");
    let is_unknown = |error: UsersError| matches!(error, UsersError::Unknown { .. });
    assert!(is_unknown(users.remove("bob", NOW).unwrap_err()));
    assert!(is_unknown(users.rotate("bob", NOW).unwrap_err()));
    assert!(is_unknown(users.revoke("bob", NOW).unwrap_err()));
    users.remove("ana", NOW).unwrap();
    assert_eq!(authenticate(&users, "ana", &token), None);
    assert!(is_unknown(users.remove("ana", NOW).unwrap_err()));
}

#[test]
fn the_tickets_of_who_is_removed_stay_void_also_when_the_name_is_used_again() {
    let void_at = |users: &Users, now| {
        let pairs = users.revocations(now).into_iter();
        let pairs: Vec<_> = pairs.map(|r| (r.name, r.until_ms - NOW)).collect();
        pairs
    };
    let void = |users: &Users| void_at(users, NOW);
    let (mut users, _) = users_with("ana");
    users.revoke("ana", NOW + 5).unwrap();
    users.remove("ana", NOW + 3).unwrap();
    assert_eq!(void(&users), [("ana".to_owned(), 5)]);
    users.add("ana", Role::User, Patterns::any(), NOW).unwrap();
    assert_eq!(void(&users), [("ana".to_owned(), 5)]);
    users.revoke("ana", NOW + 4).unwrap();
    assert_eq!(void(&users), [("ana".to_owned(), 5)]);
    users.revoke("ana", NOW + 9).unwrap();
    assert_eq!(void(&users), [("ana".to_owned(), 9)]);

    users.rotate("ana", NOW + 10).unwrap();
    for (name, at) in [("bob", 20), ("carl", LONGEST_TICKET_MS + 20)] {
        users.add(name, Role::User, Patterns::any(), NOW).unwrap();
        users.remove(name, NOW + at).unwrap();
    }
    let expected = [
        ("ana".to_owned(), 9),
        ("carl".to_owned(), LONGEST_TICKET_MS + 20),
    ];
    let later = void_at(&users, NOW + LONGEST_TICKET_MS + 20);
    assert_eq!(later, expected, "nobody's ticket lasts a day");
    assert!(users.was_removed("bob"), "but no certificate comes back");
}

#[test]
fn who_logs_in_by_certificate_alone_has_no_token_and_can_be_revoked() {
    let mut users = Users::default();
    let any = Patterns::any();
    users
        .add_certificate("ana", Role::Admin, any.clone(), NOW)
        .unwrap();
    assert_eq!(users.identity("ana").unwrap().role, Role::Admin);
    assert_eq!(users.authenticate("ana", |_| true), None);
    users.revoke("ana", NOW + 1).unwrap();
    assert_eq!(users.identity("ana"), None);
    // A name that is not listed is revoked too, until it is listed.
    users.revoke_certificate("bob", NOW + 2).unwrap();
    assert!(users.was_removed("bob") && !users.contains("bob"));
    assert_eq!(users.revocations(NOW + 2).len(), 2);
    users
        .add_certificate("bob", Role::User, any, NOW + 3)
        .unwrap();
    assert!(users.identity("bob").is_some());
    let token = users.rotate("bob", NOW + 4).unwrap();
    assert!(authenticate(&users, "bob", &token).is_some());
}

#[test]
fn of_those_who_were_removed_the_first_are_forgotten_when_there_are_too_many() {
    let mut users = Users::default();
    for number in 0..=MAX_REMOVED {
        let at = NOW + u64::try_from(number).unwrap();
        users.mark_removed(&format!("u{number}"), at);
    }
    assert_eq!(users.removed.len(), MAX_REMOVED);
    assert!(!users.was_removed("u0") && users.was_removed("u1"));
}

#[test]
fn there_are_not_more_users_than_can_be_read_again() {
    let (mut users, _) = users_with("ana");
    let user = users.users["ana"].clone();
    users.users = (0..MAX_USERS - 1)
        .map(|number| (number.to_string(), user.clone()))
        .collect();
    users.add("last", Role::User, Patterns::any(), NOW).unwrap();
    let full = users.add("one", Role::User, Patterns::any(), NOW);
    assert!(matches!(full, Err(UsersError::Full)));
    assert!(users.check().is_ok());
}
