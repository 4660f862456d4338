//! The present members of a space, as one process knows them: names, each with a session and an expiry time.
//!
//! It is a state machine without a clock. Rosters that exchange their members converge, whatever the order:
//! an expiry time only grows, a session that has left does not return through reports of other rosters, and
//! of two sessions with one name the lesser one keeps it.

use crate::interfaces::presence::{PresenceMember, PresenceSnapshot};
use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    time::Duration,
};
use tokio::time::Instant;

/// How long a departed session is remembered: longer than any report of it can still arrive.
const DEPARTURE_MEMORY: Duration = Duration::from_secs(120);

/// The members of one space.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    members: BTreeMap<String, RosterMember>,
    /// Sessions that have left, and until when they are remembered.
    departed: HashMap<String, Instant>,
}

#[derive(Clone, Debug)]
struct RosterMember {
    session: String,
    until: Instant,
}

/// Why a name cannot be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimRefusal {
    /// Another session has the name.
    Taken,
    /// The session has left, and has not returned.
    Left,
    /// The limit of members is reached.
    Full,
}

impl Roster {
    /// Claims a name, or renews the claim, until `until`.
    pub fn claim(
        &mut self,
        name: &str,
        session: &str,
        until: Instant,
        limit: usize,
        now: Instant,
    ) -> Result<(), ClaimRefusal> {
        self.expire(now);
        if self.departed.contains_key(session) {
            return Err(ClaimRefusal::Left);
        }
        let full = self.members.len() >= limit;
        match self.members.entry(name.to_owned()) {
            Entry::Occupied(held) if held.get().session != session => {
                return Err(ClaimRefusal::Taken);
            }
            Entry::Occupied(mut held) => {
                let held = held.get_mut();
                held.until = held.until.max(until);
            }
            Entry::Vacant(_) if full => return Err(ClaimRefusal::Full),
            Entry::Vacant(free) => {
                let session = session.to_owned();
                free.insert(RosterMember { session, until });
            }
        }
        Ok(())
    }

    /// Merges the report of another roster. Members beyond `limit` are left out.
    pub fn merge(&mut self, present: PresenceSnapshot, limit: usize, now: Instant) {
        for session in present.left.into_iter().take(limit) {
            self.leave(&session, now);
        }
        for heard in present.members {
            let until = now + Duration::from_millis(heard.stays_ms);
            if self.departed.contains_key(&heard.session) || until <= now {
                continue;
            }
            let full = self.members.len() >= limit;
            let session = heard.session;
            match self.members.entry(heard.name) {
                Entry::Vacant(_) if full => {}
                Entry::Vacant(free) => {
                    free.insert(RosterMember { session, until });
                }
                Entry::Occupied(mut held) => {
                    let held = held.get_mut();
                    if held.session == session {
                        held.until = held.until.max(until);
                    } else if held.until <= now || session < held.session {
                        *held = RosterMember { session, until };
                    }
                }
            }
        }
        self.expire(now);
    }

    /// A session leaves by its own decision.
    pub fn leave(&mut self, session: &str, now: Instant) {
        self.members.retain(|_, held| held.session != session);
        // Repeated reports do not extend the time, or the session would never be forgotten.
        self.departed
            .entry(session.to_owned())
            .or_insert_with(|| now + DEPARTURE_MEMORY);
    }

    /// A session that may have left returns by its own decision.
    pub fn rejoin(&mut self, session: &str) {
        self.departed.remove(session);
    }

    /// The session that has a name.
    pub fn session(&self, name: &str, now: Instant) -> Option<&str> {
        let held = self.members.get(name).filter(|held| held.until > now);
        held.map(|held| &*held.session)
    }

    /// The report for other rosters.
    pub fn present(&self, now: Instant) -> PresenceSnapshot {
        let there = self.members.iter().filter(|(_, held)| held.until > now);
        let members = there.map(|(name, held)| PresenceMember {
            name: name.clone(),
            session: held.session.clone(),
            stays_ms: u64::try_from((held.until - now).as_millis()).unwrap_or(u64::MAX),
        });
        // In the second half of its time a departure is not reported any more. Otherwise two rosters that
        // report to each other would never forget it.
        let told = self
            .departed
            .iter()
            .filter(|(_, until)| **until > now + DEPARTURE_MEMORY / 2);
        PresenceSnapshot {
            members: members.collect(),
            left: told.map(|(session, _)| session.clone()).collect(),
        }
    }

    /// Removes expired entries.
    pub fn expire(&mut self, now: Instant) {
        self.members.retain(|_, held| held.until > now);
        self.departed.retain(|_, until| *until > now);
    }

    /// Whether there are neither members nor remembered departures.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.departed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAY: Duration = Duration::from_secs(30);

    fn names(roster: &Roster, now: Instant) -> Vec<String> {
        let members = roster.present(now).members.into_iter();
        members.map(|member| member.name).collect()
    }

    fn claim(
        roster: &mut Roster,
        name: &str,
        session: &str,
        now: Instant,
    ) -> Result<(), ClaimRefusal> {
        roster.claim(name, session, now + STAY, 3, now)
    }

    #[test]
    fn a_name_is_one_sessions_for_as_long_as_it_is_heard_of() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        assert_eq!(claim(&mut roster, "ana", "1", now), Ok(()));
        assert_eq!(
            claim(&mut roster, "ana", "2", now),
            Err(ClaimRefusal::Taken)
        );
        let later = now + STAY / 2;
        assert_eq!(claim(&mut roster, "ana", "1", later), Ok(()));
        let late = now + STAY + Duration::from_secs(1);
        assert_eq!(roster.session("ana", late), Some("1"));
        assert_eq!(claim(&mut roster, "ana", "2", later + STAY), Ok(()));
    }

    #[test]
    fn there_are_only_so_many() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        for name in ["a", "b", "c"] {
            claim(&mut roster, name, name, now).unwrap();
        }
        assert_eq!(claim(&mut roster, "d", "d", now), Err(ClaimRefusal::Full));
        assert_eq!(claim(&mut roster, "c", "c", now), Ok(()));
        let mut other = Roster::default();
        claim(&mut other, "e", "e", now).unwrap();
        roster.merge(other.present(now), 3, now);
        assert_eq!(names(&roster, now), ["a", "b", "c"]);
    }

    #[test]
    fn who_leaves_is_gone_everywhere_until_it_comes_back_itself() {
        let now = Instant::now();
        let (mut here, mut there) = (Roster::default(), Roster::default());
        claim(&mut here, "ana", "1", now).unwrap();
        there.merge(here.present(now), 3, now);
        assert_eq!(names(&there, now), ["ana"]);
        let before = here.present(now);
        here.leave("1", now);
        there.merge(here.present(now), 3, now);
        there.merge(before, 3, now);
        assert_eq!(names(&there, now), [""; 0]);
        assert_eq!(claim(&mut there, "ana", "1", now), Err(ClaimRefusal::Left));
        there.rejoin("1");
        assert_eq!(claim(&mut there, "ana", "1", now), Ok(()));
        assert_eq!(names(&there, now), ["ana"]);
        here.expire(now + DEPARTURE_MEMORY);
        assert!(here.is_empty());
    }

    #[test]
    fn rosters_come_to_agree_on_who_has_a_name() {
        let now = Instant::now();
        let (mut here, mut there) = (Roster::default(), Roster::default());
        claim(&mut here, "ana", "2", now).unwrap();
        claim(&mut there, "ana", "1", now).unwrap();
        let (of_here, of_there) = (here.present(now), there.present(now));
        here.merge(of_there, 3, now);
        there.merge(of_here, 3, now);
        assert_eq!(here.session("ana", now), Some("1"));
        assert_eq!(there.session("ana", now), Some("1"));
    }
}
