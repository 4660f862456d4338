use super::*;

const NOW: u64 = 1_767_225_600_000;

fn users_with(name: &str) -> (Users, Token) {
    let mut users = Users::default();
    let token = users.add(name, Role::User, Patterns::any(), NOW).unwrap();
    (users, token)
}

#[test]
fn a_token_is_good_for_its_user_alone() {
    let (mut users, token) = users_with("ana");
    let allow = Patterns::default();
    let other = users.add("w1", Role::Worker, allow.clone(), NOW).unwrap();
    let identity = users.authenticate("w1", &other).unwrap();
    assert_eq!(
        (identity.name.as_str(), identity.role),
        ("w1", Role::Worker)
    );
    assert_eq!(identity.allow, allow);
    assert!(users.authenticate("ana", &token).is_some());
    assert_eq!(users.authenticate("ana", &other), None);
    assert_eq!(users.authenticate("bob", &token), None);
    assert_eq!(users.authenticate("", &token), None);
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
    assert!(users.authenticate("ana", &token).is_some());
}

#[test]
fn rotation_replaces_a_token() {
    let (mut users, old) = users_with("ana");
    let new = users.rotate("ana", NOW + 5).unwrap();
    assert_eq!(users.authenticate("ana", &old), None);
    assert!(users.authenticate("ana", &new).is_some());
    let (_, user) = users.iter().next().unwrap();
    assert_eq!((user.issued_ms(), user.revoked_ms()), (NOW + 5, None));
    assert_eq!(users.revocations(), []);
}

#[test]
fn revoking_ends_token_and_tickets_until_then_and_rotation_begins_anew() {
    let (mut users, old) = users_with("ana");
    users.revoke("ana", NOW + 5).unwrap();
    assert_eq!(users.authenticate("ana", &old), None);
    assert_eq!(users.identity("ana"), None);
    let (name, until_ms) = ("ana".to_owned(), NOW + 5);
    let revocations = [Revocation { name, until_ms }];
    assert_eq!(users.revocations(), revocations);

    users.revoke("ana", NOW).unwrap();
    assert_eq!(users.revocations(), revocations, "the clock went back");

    let new = users.rotate("ana", NOW + 9).unwrap();
    assert!(users.authenticate("ana", &new).is_some());
    assert!(users.identity("ana").is_some());
    assert_eq!(users.revocations(), revocations, "old tickets stay void");
}

/// Whoever has no token does not have the token of which nothing is known either.
#[test]
fn a_revoked_user_has_no_token_at_all() {
    let (mut users, _) = users_with("ana");
    users.revoke("ana", NOW).unwrap();
    let token = Token::generate().unwrap();
    assert!(!token.hash().is(&TokenHash::OF_NOTHING));
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
    assert_eq!(users.authenticate("ana", &token), None);
    assert!(is_unknown(users.remove("ana", NOW).unwrap_err()));
}

#[test]
fn the_tickets_of_who_is_removed_stay_void_also_when_the_name_is_used_again() {
    let void = |users: &Users| {
        let pairs = users.revocations().into_iter();
        let pairs: Vec<_> = pairs.map(|r| (r.name, r.until_ms - NOW)).collect();
        pairs
    };
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
    for (name, at) in [("bob", 20), ("carl", REMOVED_FOR_MS + 20)] {
        users.add(name, Role::User, Patterns::any(), NOW).unwrap();
        users.remove(name, NOW + at).unwrap();
    }
    let expected = [
        ("ana".to_owned(), 9),
        ("carl".to_owned(), REMOVED_FOR_MS + 20),
    ];
    assert_eq!(void(&users), expected, "nobody's ticket lasts a day");
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
