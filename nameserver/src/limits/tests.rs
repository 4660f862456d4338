use super::*;
use pyroxene_common::{access::ConnectionQuota, identity::Patterns};

fn identity(name: &str, role: Role) -> Identity {
    Identity {
        name: name.to_owned(),
        role,
        allow: Patterns::any(),
    }
}

fn overrides(changes: &[&str]) -> LimitOverrides {
    let changes = changes.iter().map(|text| text.parse().unwrap());
    changes.collect()
}

#[test]
fn what_the_users_file_says_goes_before_the_command_line_and_that_before_the_defaults() {
    let limiter = Limiter::new(overrides(&["tasks=7", "polls=8"]), &overrides(&["tasks=9"]));
    let mut users = Users::default();
    users.add("ana", Role::User, Patterns::any(), 0).unwrap();
    users.limit("ana", &["tasks=5".parse().unwrap()]).unwrap();
    limiter.set_users(&users);
    let ana = identity("ana", Role::User);
    let limits = limiter.limits_of(Some(&ana));
    assert_eq!(limits.get(Limit::Tasks), 5);
    assert_eq!(limits.get(Limit::Polls), 8);
    assert_eq!(limits.get(Limit::Watches), 10_000);
    assert_eq!(limiter.limits_of_user("ana"), limits);
    assert_eq!(limiter.limits_of_user("bob").get(Limit::Tasks), 7);
    for (name, share) in [("", 100), ("ana", 75)] {
        assert_eq!(limiter.limits_of_user(name).get(Limit::Share), share);
        assert_eq!(limiter.limit_of_user(name, Limit::Share), share);
    }
    assert_eq!(limiter.limit_of_user("ana", Limit::Tasks), 5);
    assert_eq!(limiter.limit_of_user("bob", Limit::Tasks), 7);
    let allowance = limiter.allowance(Some(&ana));
    assert_eq!((allowance.tasks, allowance.all_tasks), (5, 9));
}

#[test]
fn what_is_held_is_bounded_for_each_and_for_all_and_comes_back() {
    let totals = overrides(&["polls=3"]);
    let limiter = Arc::new(Limiter::new(overrides(&["polls=2"]), &totals));
    let (ana, bob) = (identity("ana", Role::User), identity("bob", Role::Admin));
    let hold = |who: &Identity| limiter.acquire(Some(who), Limit::Polls);
    let held = [hold(&ana).unwrap(), hold(&ana).unwrap()];
    let refused = hold(&ana).unwrap_err();
    assert_eq!(refused.user, LimitOwner::User("ana".to_owned()));
    let of_bob = hold(&bob).unwrap();
    assert_eq!(hold(&bob).unwrap_err().user, LimitOwner::Everybody);
    assert_eq!(limiter.used(Limit::Polls, "ana"), Some(2));
    assert_eq!(limiter.used_by_all(Limit::Polls), Some(3));
    drop((held, of_bob));
    assert_eq!(limiter.used_by_all(Limit::Polls), Some(0));
    assert!(hold(&ana).is_ok());
}

#[test]
fn what_is_done_for_a_user_counts_as_that_users() {
    let limiter = Limiter::new(overrides(&["chat_messages=1"]), &LimitOverrides::default());
    let say = |name| limiter.spend_for(name, &[(Limit::ChatMessages, 1)]);
    for _ in 0..10 {
        say("ana").unwrap();
    }
    assert_eq!(
        say("ana").unwrap_err().user,
        LimitOwner::User("ana".to_owned())
    );
    assert!(say("bob").is_ok() && say("").is_ok());
    let ana = identity("ana", Role::User);
    assert!(
        limiter
            .spend(Some(&ana), &[(Limit::ChatMessages, 1)])
            .is_err()
    );
}

#[test]
fn connections_are_counted_for_users_alone() {
    let limiter = Arc::new(Limiter::new(
        overrides(&["connections=1"]),
        &LimitOverrides::default(),
    ));
    let connections = ConnectionCounter(Arc::clone(&limiter));
    let ana = identity("ana", Role::User);
    let first = connections.count(&ana).unwrap();
    assert_eq!(
        connections.count(&ana).unwrap_err().limit,
        Limit::Connections
    );
    assert_eq!(limiter.used(Limit::Connections, "ana"), Some(1));
    assert_eq!(limiter.used(Limit::Connections, ANONYMOUS), None);
    drop(first);
    assert_eq!(limiter.used_by_all(Limit::Connections), Some(0));
    assert_eq!(Limits::of(LimitClass::User).get(Limit::Connections), 1_000);
    assert_eq!(
        Limits::of(LimitClass::Trusted).get(Limit::Connections),
        10_000
    );
    assert_eq!(
        Limits::of(LimitClass::Anonymous).get(Limit::Connections),
        UNLIMITED
    );
}
