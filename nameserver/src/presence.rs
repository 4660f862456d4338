//! Presence as an object: the members that are present in each space, in memory.

use crate::{topics::TopicAccess, visitors::VisitorLog};
use parking_lot::Mutex;
use pyroxene_common::{
    clean,
    interfaces::{
        presence::{
            MAX_MEMBERS, MAX_NAME, MAX_STAY_MS, PresenceError, PresenceMember, PresenceSnapshot,
            presence, room_of,
        },
        visitors::VisitorKind,
    },
    roster::{ClaimRefusal, Roster},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tarpc::context::Context;
use tokio::time::Instant;

/// The most spaces.
const MAX_SPACES: usize = 1000;

/// Answers the calls of the interface `Presence`. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct PresenceService {
    /// Notes who is present.
    visitors: VisitorLog,
    spaces: Arc<Mutex<HashMap<String, Roster>>>,
}

impl PresenceService {
    /// A service that notes who is present.
    pub(crate) fn noting(visitors: VisitorLog) -> Self {
        Self {
            visitors,
            ..Self::default()
        }
    }

    /// Runs `act` on the roster of a space. Returns the members that are present afterwards.
    fn with_roster<R>(
        &self,
        space: String,
        now: Instant,
        act: impl FnOnce(&mut Roster) -> Result<R, PresenceError>,
    ) -> Result<PresenceSnapshot, PresenceError> {
        let mut spaces = self.spaces.lock();
        if !spaces.contains_key(&space) && spaces.len() >= MAX_SPACES {
            spaces.retain(|_, roster| {
                roster.expire(now);
                !roster.is_empty()
            });
            if spaces.len() >= MAX_SPACES {
                let limit = MAX_SPACES as u64;
                return Err(PresenceError::Full { limit });
            }
        }
        let roster = spaces.entry(space).or_default();
        act(roster)?;
        Ok(roster.present(now))
    }
}

impl presence::Presence for PresenceService {
    async fn claim(
        self,
        _: Context,
        space: String,
        member: PresenceMember,
        joins: bool,
    ) -> Result<PresenceSnapshot, PresenceError> {
        check_space(&space)?;
        check(&member)?;
        let (place, name) = (place(&space), member.name.clone());
        let now = Instant::now();
        let until = now + Duration::from_millis(member.stays_ms.min(MAX_STAY_MS));
        let claimed = self.with_roster(space, now, |roster| {
            let PresenceMember { name, session, .. } = &member;
            if joins {
                roster.rejoin(session);
            }
            let claimed = roster.claim(name, session, until, MAX_MEMBERS, now);
            claimed.map_err(|refused| match refused {
                ClaimRefusal::Taken => PresenceError::Taken { name: name.clone() },
                ClaimRefusal::Left => PresenceError::Left { name: name.clone() },
                ClaimRefusal::Full => PresenceError::Full {
                    limit: MAX_MEMBERS as u64,
                },
            })
        });
        if claimed.is_ok() {
            self.visitors.saw(VisitorKind::Person, &name, &place);
        }
        claimed
    }

    async fn exchange(
        self,
        _: Context,
        space: String,
        heard: Vec<PresenceMember>,
        left: Vec<String>,
    ) -> Result<PresenceSnapshot, PresenceError> {
        check_space(&space)?;
        let mut members = heard;
        for member in &mut members {
            check(member)?;
            member.stays_ms = member.stays_ms.min(MAX_STAY_MS);
        }
        for session in &left {
            check_name("a session", session)?;
        }
        let place = place(&space);
        let heard: HashSet<String> = members.iter().map(|one| one.session.clone()).collect();
        let now = Instant::now();
        let present = self.with_roster(space, now, |roster| {
            roster.merge(PresenceSnapshot { members, left }, MAX_MEMBERS, now);
            Ok(())
        })?;
        // Who has joined long ago is still here.
        for member in &present.members {
            if heard.contains(&member.session) {
                self.visitors.saw(VisitorKind::Person, &member.name, &place);
            }
        }
        Ok(present)
    }
}

/// What a visitor's place is called whose room this is the space of.
fn place(space: &str) -> String {
    room_of(space).map_or_else(|| space.to_owned(), |room| format!("room {room}"))
}

/// Checks the name of a space and the caller's rights on it. Call it before the first await.
fn check_space(space: &str) -> Result<(), PresenceError> {
    check_name("the name of a space", space)?;
    let keeper = TopicAccess::current();
    if keeper.may_use_presence(space) {
        return Ok(());
    }
    let sentence = keeper.denied("presence space", space);
    Err(PresenceError::Denied { sentence })
}

fn check(member: &PresenceMember) -> Result<(), PresenceError> {
    check_name("the name of a member", &member.name)?;
    check_name("a session", &member.session)
}

fn check_name(what: &str, name: &str) -> Result<(), PresenceError> {
    if !name.is_empty() && name.chars().nth(MAX_NAME).is_none() && clean::is_line(name) {
        return Ok(());
    }
    let sentence =
        format!("{what} must have 1 to {MAX_NAME} characters, none of them a control character");
    Err(PresenceError::Invalid { sentence })
}

#[cfg(test)]
mod tests {
    use super::{presence::Presence as _, *};
    use tarpc::context;

    fn heard(name: &str, session: &str) -> PresenceMember {
        PresenceMember {
            name: name.to_owned(),
            session: session.to_owned(),
            stays_ms: 30_000,
        }
    }

    async fn claim(
        service: &PresenceService,
        space: &str,
        member: PresenceMember,
    ) -> Result<usize, PresenceError> {
        let claiming = service
            .clone()
            .claim(context::current(), space.to_owned(), member, true);
        Ok(claiming.await?.members.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_taken_once_in_each_space_until_it_is_not_heard_of() {
        let service = PresenceService::default();
        assert_eq!(claim(&service, "a", heard("ana", "1")).await, Ok(1));
        assert_eq!(claim(&service, "b", heard("ana", "2")).await, Ok(1));
        let taken = claim(&service, "a", heard("ana", "2")).await;
        assert_eq!(taken.unwrap_err().to_string(), "'ana' is there already");
        tokio::time::sleep(Duration::from_secs(20)).await;
        let heard_again = vec![heard("ana", "1"), heard("bob", "3")];
        let telling =
            service
                .clone()
                .exchange(context::current(), "a".to_owned(), heard_again, vec![]);
        assert_eq!(telling.await.unwrap().members.len(), 2);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(claim(&service, "a", heard("ana", "2")).await.is_err());
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(claim(&service, "a", heard("ana", "2")).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_left_is_not_brought_back_by_one_who_heard_of_it_before() {
        let service = PresenceService::default();
        claim(&service, "a", heard("ana", "1")).await.unwrap();
        let leaving = service.clone().exchange(
            context::current(),
            "a".to_owned(),
            vec![],
            vec!["1".to_owned()],
        );
        assert_eq!(leaving.await.unwrap().members, []);
        let late =
            service
                .clone()
                .claim(context::current(), "a".to_owned(), heard("ana", "1"), false);
        let left = late.await.unwrap_err();
        assert_eq!(left.to_string(), "'ana' has left");
        assert_eq!(claim(&service, "a", heard("ana", "2")).await, Ok(1));
        let name_is_taken = claim(&service, "a", heard("ana", "1")).await;
        assert!(matches!(name_is_taken, Err(PresenceError::Taken { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn spaces_are_bounded_and_forgotten() {
        let service = PresenceService::default();
        for number in 0..MAX_SPACES {
            claim(&service, &number.to_string(), heard("ana", "1"))
                .await
                .unwrap();
        }
        let one_more = claim(&service, "x", heard("ana", "1")).await;
        assert!(matches!(one_more, Err(PresenceError::Full { .. })));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(claim(&service, "x", heard("ana", "1")).await, Ok(1));
    }
}
