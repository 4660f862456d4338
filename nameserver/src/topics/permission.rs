//! Decides which caller may use which topic, and which presence space.
//!
//! A worker keeps topics for the objects that it hosts, so it may use the topics that its patterns cover:
//!
//! - the topic of a chat room, and the presence of its members, belong to the object of that name: a worker
//!   that may host `chat` may read and append to `pyroxene.chat/chat`;
//! - every other topic is covered by a pattern for `topic:NAME`, such as `topic:prices` or `topic:*`.

use pyroxene_common::{
    access::denials,
    identity::{Identity, Role},
    interfaces::presence,
};
use std::sync::Arc;

/// The prefix of topic names in patterns.
const TOPIC: &str = "topic:";

/// The rights of a caller on topics and presence. Without authentication there is no identity, and everything
/// is allowed.
#[derive(Clone, Debug)]
pub(crate) struct TopicAccess(Option<Arc<Identity>>);

impl TopicAccess {
    /// The caller of the call that runs on this thread. Call it before the first await.
    pub(crate) fn current() -> Self {
        Self(pyroxene_common::scope::current().caller.identity.clone())
    }

    /// Whether the caller may read a topic and append to it.
    pub(crate) fn may_use(&self, topic: &str) -> bool {
        self.covers(|identity| match presence::room_of(topic) {
            Some(room) => identity.allow.allows(room, None),
            None => identity.allow.allows(&format!("{TOPIC}{topic}"), None),
        })
    }

    /// Whether the caller may report and read the presence of a space: that of a chat room that it may host.
    pub(crate) fn may_use_presence(&self, space: &str) -> bool {
        self.covers(|identity| {
            presence::room_of(space).is_some_and(|room| identity.allow.allows(room, None))
        })
    }

    fn covers(&self, covered: impl FnOnce(&Identity) -> bool) -> bool {
        match self.0.as_deref() {
            None => true,
            Some(identity) => match identity.role {
                Role::Admin => true,
                Role::Worker => covered(identity),
                Role::User | Role::Observer => false,
            },
        }
    }

    /// The error message for a denied caller. The denial is logged.
    pub(crate) fn denied(&self, what: &str, name: &str) -> String {
        let what = format!("the {what} '{name}'");
        let Some(identity) = self.0.as_deref() else {
            return format!("nobody may use {what}");
        };
        denials::log(identity, &what);
        let Identity { name, role, .. } = identity;
        format!("'{name}' ({role}) may not use {what}: none of its patterns covers it")
    }
}

/// Which methods of topics a role may call: workers those that add or read entries, admins also those that
/// remove them. Which topics a worker may use is checked in each call.
pub(crate) fn may_call(role: Role, method: &str) -> bool {
    match role {
        Role::Admin => true,
        Role::Worker => matches!(method, "append" | "read" | "list"),
        Role::User | Role::Observer => false,
    }
}

/// Which roles may call presence.
pub(crate) fn may_call_presence(role: Role, _method: &str) -> bool {
    matches!(role, Role::Admin | Role::Worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(role: Role, allow: &[&str]) -> TopicAccess {
        let allow: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
        TopicAccess(Some(Arc::new(Identity {
            name: "w".to_owned(),
            role,
            allow: allow.try_into().unwrap(),
        })))
    }

    #[test]
    fn a_worker_may_use_what_its_patterns_cover() {
        let chat = presence::topic_of("chat");
        for (allow, topic, allowed) in [
            ("chat", chat.as_str(), true),
            ("text", &chat, false),
            ("topic:*", &chat, false),
            ("*", &chat, true),
            ("chat", "prices", false),
            ("prices", "prices", false),
            ("topic:prices", "prices", true),
            ("topic:p*", "prices", true),
            ("topic:prices", "price", false),
            ("*", "prices", true),
        ] {
            let worker = keeper(Role::Worker, &[allow]);
            assert_eq!(worker.may_use(topic), allowed, "{allow} {topic}");
            let tells = allowed && topic == chat;
            assert_eq!(worker.may_use_presence(topic), tells, "{allow} {topic}");
            assert!(keeper(Role::Admin, &[]).may_use(topic));
            assert!(!keeper(Role::User, &[allow]).may_use(topic));
            assert!(TopicAccess(None).may_use(topic) && TopicAccess(None).may_use_presence(topic));
        }
    }

    #[test]
    fn workers_take_nothing_away() {
        assert!(may_call(Role::Worker, "append") && may_call(Role::Worker, "read"));
        assert!(!may_call(Role::Worker, "remove") && !may_call(Role::Worker, "keep"));
        assert!(may_call(Role::Admin, "remove"));
        assert!(!may_call(Role::User, "read") && !may_call(Role::Observer, "list"));
    }
}
