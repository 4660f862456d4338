//! Who sees whom, and for how long somebody is here.

use super::{visitors::Visitors as _, *};
use crate::{
    directory::{DirectoryLimits, InstanceDirectory},
    presence::PresenceService,
};
use pyroxene_common::{
    identity::Patterns,
    interfaces::presence::{PresenceMember, presence::Presence as _, topic_of},
    scope::Scope,
};
use pyroxene_store::{StoreOptions, StoreUrl};

fn service(log: &VisitorLog, store: Option<Store>) -> VisitorsService {
    let limits = DirectoryLimits::default();
    let directory = InstanceDirectory::new(limits, 1, 1, tokio::time::Instant::now());
    VisitorsService {
        log: log.clone(),
        store,
        directory: DirectoryService::new(directory),
    }
}

/// What a caller with this role, called ana, sees; without a role there is no authentication.
async fn seen_by(service: &VisitorsService, role: Option<Role>) -> Vec<Visitor> {
    let identity = role.map(|role| Identity {
        name: "ana".to_owned(),
        role,
        allow: Patterns::of_role(role),
    });
    let caller = Caller {
        identity: identity.map(Arc::new),
        ..Caller::default()
    };
    let scope = Scope {
        caller: caller.into(),
        ..Scope::default()
    };
    let listing = service.clone().list(context::current());
    scope.wrap(Box::pin(listing)).await.unwrap()
}

fn names(visitors: &[Visitor]) -> Vec<&str> {
    let mut names: Vec<&str> = visitors.iter().map(|one| &*one.name).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn users_see_workers_and_themselves_and_who_looks_after_the_broker_sees_all() {
    let log = VisitorLog::default();
    log.saw(VisitorKind::Person, "ana", "192.0.2.1");
    log.saw(VisitorKind::Person, "bob", "room chat");
    log.saw(VisitorKind::TaskClient, "eve", "192.0.2.2");
    log.saw(VisitorKind::Worker, "w1", "w:1");
    let service = service(&log, None);
    for role in [None, Some(Role::Admin), Some(Role::Observer)] {
        let seen = seen_by(&service, role).await;
        assert_eq!(names(&seen), ["ana", "bob", "eve", "w1"], "{role:?}");
    }
    for role in [Role::User, Role::Worker] {
        let seen = seen_by(&service, Some(role)).await;
        assert_eq!(names(&seen), ["ana", "w1"], "{role:?}");
    }
}

#[tokio::test]
async fn many_of_one_kind_hide_nobody_of_another() {
    let log = VisitorLog::default();
    log.saw(VisitorKind::Person, "ana", "");
    for number in 0..MAX_VISITORS + 10 {
        log.saw(VisitorKind::Worker, &format!("w{number}"), "");
    }
    let seen = seen_by(&service(&log, None), None).await;
    assert_eq!(seen.len(), MAX_VISITORS + 1);
    assert!(seen.iter().any(|one| one.name == "ana"));
}

#[tokio::test]
async fn who_was_seen_in_a_time_to_come_is_not_here_for_ever() {
    let (log, now) = (VisitorLog::default(), now_ms());
    for (name, at) in [("soon", now + 30_000), ("later", now + 3_600_000)] {
        log.0.lock().saw(VisitorKind::Person, name, "", at);
    }
    let seen = seen_by(&service(&log, None), None).await;
    for one in &seen {
        assert_eq!(one.is_here, one.name == "soon", "{one:?}");
        assert!(one.last_seen_ms <= now_ms() && one.first_seen_ms <= one.last_seen_ms);
    }
}

#[tokio::test]
async fn a_member_that_is_heard_of_is_here_and_a_caller_over_http_has_no_address() {
    let log = VisitorLog::default();
    let heard = PresenceMember {
        name: "bob".to_owned(),
        session: "s1".to_owned(),
        stays_ms: 30_000,
    };
    let presence = PresenceService::noting(log.clone());
    let exchanging = presence.exchange(context::current(), topic_of("chat"), vec![heard], vec![]);
    exchanging.await.unwrap();
    log.saw_submitter(&Caller {
        name: GATEWAY.to_owned(),
        address: "192.0.2.1:5".to_owned(),
        ..Caller::default()
    });
    let seen = seen_by(&service(&log, None), None).await;
    let places: Vec<(&str, &str)> = seen.iter().map(|one| (&*one.name, &*one.place)).collect();
    assert!(places.contains(&("bob", "room chat")), "{places:?}");
    assert!(places.contains(&("unnamed over HTTP", "")), "{places:?}");
}

#[tokio::test]
async fn news_whose_writing_is_given_up_are_news_again() {
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&StoreUrl::Memory, options);
    let (store, log) = (store.await.unwrap(), VisitorLog::default());
    log.saw(VisitorKind::Person, "ana", "");
    {
        let writing = std::pin::pin!(log.write(&store));
        assert!(futures::poll!(writing).is_pending());
    }
    assert_eq!(log.0.lock().take_news().len(), 1);
}
