//! The members of a room: those heard from at this worker, and those reported through the name servers.
//!
//! This worker reports the members that it has heard from to every name server, every second while there are
//! any, and at once when a member joins or leaves. Members that were reported to it count until their time is
//! over, also while no name server answers.

use super::MEMBER_TIMEOUT;
use crate::interfaces::chat::{ChatError, MAX_MEMBERS};
use futures::future::join_all;
use parking_lot::Mutex;
use pyroxene_client::Client;
use pyroxene_common::{
    interfaces::presence::{PresenceError, PresenceMember, PresenceSnapshot, topic_of},
    roster::{ClaimRefusal, Roster},
};
use std::{
    sync::{Arc, Once},
    time::Duration,
};
use tarpc::context::{self, Context};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often this worker reports its members.
const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a name server may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a reader waits for name servers that are slow or dead.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(300);

/// The members of a room.
#[derive(Debug)]
pub(super) struct RoomPresence {
    client: Client,
    space: String,
    rosters: Mutex<Rosters>,
    /// Notified when there is a member to report.
    members_changed: Notify,
    started: Once,
}

#[derive(Debug, Default)]
struct Rosters {
    /// The members heard from at this worker. Only these are reported; otherwise reports would repeat each
    /// other for ever.
    own: Roster,
    /// All known members.
    all: Roster,
}

impl Rosters {
    fn merge(&mut self, present: PresenceSnapshot, now: Instant) {
        for session in &present.left {
            self.own.leave(session, now);
        }
        self.all.merge(present, MAX_MEMBERS, now);
    }

    fn claim(&mut self, name: &str, session: &str, now: Instant) -> Result<(), ClaimRefusal> {
        let until = now + MEMBER_TIMEOUT;
        self.all.claim(name, session, until, MAX_MEMBERS, now)?;
        // A session of another holder of that name is over, whatever was heard from it here.
        if let Some(other) = self.own.session(name, now).map(str::to_owned)
            && other != session
        {
            self.own.leave(&other, now);
        }
        self.own.claim(name, session, until, MAX_MEMBERS, now)
    }
}

fn within(time: Duration) -> Context {
    let mut context = context::current();
    context.deadline = (Instant::now() + time).into_std();
    context
}

impl RoomPresence {
    pub(super) fn new(client: Client, room: &str) -> Self {
        Self {
            client,
            space: topic_of(room),
            rosters: Mutex::default(),
            members_changed: Notify::new(),
            started: Once::new(),
        }
    }

    /// Starts to report members, unless that was started.
    pub(super) fn start(self: &Arc<Self>, stop: &CancellationToken) {
        self.started.call_once(|| {
            let (presence, stop) = (Arc::clone(self), stop.clone());
            tokio::spawn(async move {
                stop.run_until_cancelled(presence.exchange_periodically())
                    .await
            });
        });
    }

    async fn exchange_periodically(&self) {
        loop {
            let is_empty = {
                let mut rosters = self.rosters.lock();
                rosters.own.expire(Instant::now());
                rosters.own.is_empty()
            };
            match is_empty {
                true => self.members_changed.notified().await,
                false => self.exchange().await,
            }
            sleep(EXCHANGE_INTERVAL).await;
        }
    }

    /// Reports the members to every name server, and receives those that it knows.
    async fn exchange(&self) {
        let own = self.rosters.lock().own.present(Instant::now());
        let exchanges = self.client.nameservers().into_iter().map(|nameserver| {
            let (space, own) = (self.space.clone(), own.clone());
            async move {
                let presence = nameserver.presence();
                let told = presence.exchange(within(CALL_TIMEOUT), space, own.members, own.left);
                match told.await {
                    Ok(Ok(present)) => self.rosters.lock().merge(present, Instant::now()),
                    Ok(Err(error)) => tracing::debug!(%error, "presence is refused"),
                    Err(error) => {
                        tracing::debug!(%error, "presence cannot be told");
                    }
                }
            }
        });
        join_all(exchanges).await;
    }

    /// As [`exchange`](Self::exchange), with a short timeout.
    async fn refresh(&self) {
        let _ = timeout(REFRESH_TIMEOUT, self.exchange()).await;
    }

    /// The names of the members that are present, in order.
    pub(super) async fn members(&self) -> Vec<String> {
        self.refresh().await;
        let present = self.rosters.lock().all.present(Instant::now());
        present
            .members
            .into_iter()
            .map(|heard| heard.name)
            .collect()
    }

    fn session(&self, name: &str) -> Option<String> {
        let rosters = self.rosters.lock();
        rosters.all.session(name, Instant::now()).map(str::to_owned)
    }

    /// Whether a member is present.
    pub(super) async fn is_present(&self, name: &str) -> bool {
        if self.session(name).is_none() {
            self.refresh().await;
        }
        self.session(name).is_some()
    }

    /// Joins under a session, or under a new one. A caller that is authenticated under that name (`known`)
    /// shares an existing session. Returns the session.
    pub(super) async fn join(
        &self,
        name: &str,
        session: Option<String>,
        known: bool,
    ) -> Result<String, ChatError> {
        self.refresh().await;
        let session = match (self.session(name), session) {
            (Some(there), _) if known => there,
            (_, Some(session)) => session,
            (_, None) => Uuid::now_v7().to_string(),
        };
        {
            let mut rosters = self.rosters.lock();
            rosters.own.rejoin(&session);
            rosters.all.rejoin(&session);
        }
        self.claim(name, &session, true).await?;
        Ok(session)
    }

    /// Claims a name, or renews the claim, here and at the name servers.
    async fn claim(&self, name: &str, session: &str, joins: bool) -> Result<(), ChatError> {
        let claimed = self.rosters.lock().claim(name, session, Instant::now());
        if let Err(refused) = claimed {
            return refuse(name, &refused);
        }
        self.members_changed.notify_one();
        let heard = PresenceMember {
            name: name.to_owned(),
            session: session.to_owned(),
            stays_ms: u64::try_from(MEMBER_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
        };
        // One name server after the other, in the same order at every worker: of two callers that want a name
        // at once, the one that is first at the first name server gets it.
        let mut nameservers = self.client.nameservers();
        nameservers.sort_by_key(|nameserver| nameserver.endpoint().to_string());
        for nameserver in &nameservers {
            let presence = nameserver.presence();
            let claiming = presence.claim(
                within(CALL_TIMEOUT),
                self.space.clone(),
                heard.clone(),
                joins,
            );
            let refused = match claiming.await {
                Ok(Ok(present)) => {
                    self.rosters.lock().merge(present, Instant::now());
                    continue;
                }
                Ok(Err(PresenceError::Taken { .. })) => ClaimRefusal::Taken,
                Ok(Err(PresenceError::Full { .. })) => ClaimRefusal::Full,
                Ok(Err(PresenceError::Left { .. })) => ClaimRefusal::Left,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "presence is refused");
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, "presence cannot be told");
                    continue;
                }
            };
            self.forget(session);
            self.refresh().await;
            return refuse(name, &refused);
        }
        Ok(())
    }

    fn forget(&self, session: &str) {
        let (mut rosters, now) = (self.rosters.lock(), Instant::now());
        rosters.own.leave(session, now);
        rosters.all.leave(session, now);
    }

    /// Records a call of a member. If the caller is authenticated under that name (`known`), any session
    /// counts.
    pub(super) async fn keep_present(
        &self,
        name: &str,
        session: Option<&str>,
        known: bool,
    ) -> Result<(), ChatError> {
        let is_others = |there: &String| !known && session.is_some_and(|session| session != there);
        if self.session(name).as_ref().is_some_and(is_others) {
            // The other holder may have left a moment ago, which the name servers know.
            self.refresh().await;
        }
        match (self.session(name), session) {
            (Some(there), _) if is_others(&there) => refuse(name, &ClaimRefusal::Taken),
            (Some(there), _) => {
                // It is reported with the next exchange.
                let claimed = self.rosters.lock().claim(name, &there, Instant::now());
                self.members_changed.notify_one();
                claimed.or_else(|refused| refuse(name, &refused))
            }
            // The member was away for too long, or this worker is new in the room.
            (None, Some(session)) => self.claim(name, session, false).await,
            (None, None) => Ok(()),
        }
    }

    /// A member leaves.
    pub(super) async fn leave(&self, name: &str, session: Option<&str>) {
        let leaves = |there: &String| session.is_none_or(|session| session == there);
        if !self.session(name).as_ref().is_some_and(leaves) {
            // It may have joined elsewhere, and an earlier holder of the name may be gone.
            self.refresh().await;
        }
        if let Some(there) = self.session(name).filter(leaves) {
            self.forget(&there);
            self.members_changed.notify_one();
            self.refresh().await;
        }
    }
}

/// The error for a member whose name is refused.
fn refuse(name: &str, refused: &ClaimRefusal) -> Result<(), ChatError> {
    match refused {
        ClaimRefusal::Taken => Err(ChatError::NameTaken {
            name: name.to_owned(),
        }),
        ClaimRefusal::Full => Err(ChatError::Full {
            limit: MAX_MEMBERS as u64,
        }),
        // It has left. This was its last call, and no caller waits for the answer.
        ClaimRefusal::Left => Ok(()),
    }
}
