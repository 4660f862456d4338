//! Tests of which callers' clients are kept.

use super::*;
use futures::{FutureExt, future::BoxFuture};
use pyroxene_client::{CallerLogin, ClientConfig};
use pyroxene_common::identity::{Patterns, Role};
use std::collections::HashSet;
use tokio::time::advance;

/// Lets everybody in: a session is `USER/NUMBER`. The store never answers.
#[derive(Debug, Default)]
struct FakeAccess {
    ended: Mutex<HashSet<String>>,
    /// A session that ends while it is let in.
    ends_meanwhile: Option<&'static str>,
}

impl FakeAccess {
    fn end(&self, session: &str) {
        self.ended.lock().unwrap().insert(session.to_owned());
    }
}

impl CallerAccess for FakeAccess {
    fn requires_login(&self) -> bool {
        true
    }

    fn log_in(
        &self,
        credentials: Option<&CallerCredentials>,
        _: &str,
    ) -> Result<CallerLogin, AccessError> {
        let identity = credentials.and_then(|credentials| self.identity(credentials));
        let identity = Some(identity.ok_or(AccessError::WrongToken)?);
        self.ends_meanwhile
            .into_iter()
            .for_each(|one| self.end(one));
        let config = self.own();
        Ok(CallerLogin { identity, config })
    }

    fn own(&self) -> ClientConfig {
        ClientConfig::new("127.0.0.1:1").unwrap()
    }

    fn identity(&self, credentials: &CallerCredentials) -> Option<Identity> {
        let CallerCredentials::Session(session) = credentials else {
            return None;
        };
        let (user, _) = session.split_once('/')?;
        let is_over = self.ended.lock().unwrap().contains(session);
        (!is_over).then(|| Identity {
            name: user.to_owned(),
            role: Role::User,
            allow: Patterns::any(),
        })
    }

    fn begin_session(&self, _: &CallerCredentials, _: Duration) -> Result<String, AccessError> {
        Err(AccessError::Off)
    }

    fn end_session<'a>(&'a self, session: &'a str) -> BoxFuture<'a, Result<(), AccessError>> {
        self.end(session);
        Box::pin(std::future::pending())
    }
}

fn ask(callers: &Callers, session: &str) -> Result<Arc<Principal>, Problem> {
    let session = CallerCredentials::Session(session.to_owned());
    callers.principal(Some(&session), "127.0.0.1")
}

#[tokio::test(start_paused = true)]
async fn a_user_with_many_sessions_pushes_out_its_own_clients_alone() {
    let callers = Callers::new(Arc::<FakeAccess>::default());
    let bob = ask(&callers, "bob/0").unwrap();
    let first = ask(&callers, "ana/0").unwrap();
    for number in 1..2 * MAX_PRINCIPALS {
        // The oldest makes room.
        advance(Duration::from_millis(1)).await;
        ask(&callers, &format!("ana/{number}")).unwrap();
    }
    assert_eq!(callers.lock().len(), MAX_OF_USER + 1);
    assert!(Arc::ptr_eq(&bob, &ask(&callers, "bob/0").unwrap()));
    assert!(!Arc::ptr_eq(&first, &ask(&callers, "ana/0").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_goes_with_the_next_login() {
    let callers = Callers::new(Arc::<FakeAccess>::default());
    ask(&callers, "ana/0").unwrap();
    advance(IDLE / 2).await;
    ask(&callers, "bob/0").unwrap();
    advance(IDLE / 2).await;
    ask(&callers, "cy/0").unwrap();
    assert_eq!(callers.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_has_ended_before_others_are_told_and_though_nobody_waits() {
    let callers = Callers::new(Arc::<FakeAccess>::default());
    ask(&callers, "ana/0").unwrap();
    assert!(callers.end_session("ana/0").now_or_never().is_none());
    assert!(ask(&callers, "ana/0").is_err());
    assert!(callers.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_it_is_let_in_has_ended() {
    let callers = Callers::new(Arc::new(FakeAccess {
        ends_meanwhile: Some("ana/0"),
        ..FakeAccess::default()
    }));
    assert!(ask(&callers, "ana/0").is_err());
    assert!(callers.lock().is_empty());
}
