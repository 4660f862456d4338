//! Whoever fails to log in too often has to wait.

use super::strangers::Stranger;
use crate::harness::{Ran, SecuredBroker, eventually};
use pyroxene_common::interfaces::access::AccessError;

/// The shape of a token, and nobody's.
const WRONG: &str = "prx_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn run(broker: &SecuredBroker, user: &str, token: &str) -> Ran {
    let addresses = broker.addresses();
    let arguments = ["list", "--nameserver", &addresses, "--user", user];
    Ran::with(broker.dir(), &[("PYROXENE_TOKEN", token)], &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_fails_often_is_told_how_long_to_wait_and_gets_in_afterwards() {
    let broker = SecuredBroker::with_tokens().await;
    let right = broker.keys.token("ana");
    let held_up = eventually("it is held up", || async {
        let ran = run(&broker, "ana", WRONG).await;
        let sentence = ran.error(4).to_owned();
        if sentence.contains("too many failed logins") {
            return Ok(sentence);
        }
        let expected = "'ana' cannot log in: the user or the token is wrong";
        assert!(sentence.ends_with(expected), "{sentence}");
        assert!(!sentence.contains(WRONG), "{sentence}");
        Err(sentence)
    })
    .await;
    let expected = "'ana' cannot log in: there were too many failed logins; try again in 1 s";
    assert!(held_up.ends_with(expected), "{held_up}");
    eventually("the right token is good after the wait", || async {
        let ran = run(&broker, "ana", &right).await;
        (ran.code == Some(0)).then_some(()).ok_or(ran.stderr)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_token_has_to_wait_as_well_and_only_there() {
    let broker = SecuredBroker::with_tokens().await;
    let right = broker.keys.token("ana");
    let nameserver = broker.addresses();
    let peer = Stranger::from("127.0.0.21", &nameserver).await;
    for _ in 0..6 {
        let refused = peer.log_in("ana", WRONG).await.unwrap_err();
        assert_eq!(refused, AccessError::WrongToken);
    }
    for user in ["ana", "nobody"] {
        let refused = peer.log_in(user, &right).await.unwrap_err();
        let AccessError::TooManyAttempts { wait_ms } = refused else {
            panic!("{refused:?}");
        };
        assert!((1..=1000).contains(&wait_ms), "{wait_ms}");
    }
    let elsewhere = Stranger::from("127.0.0.22", &nameserver).await;
    elsewhere.log_in("ana", &right).await.unwrap();
    eventually("the wait is over", || async {
        let answer = peer.log_in("ana", &right).await;
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_locks_out_a_user_from_where_it_was_before() {
    let broker = SecuredBroker::with_tokens().await;
    let right = broker.keys.token("ana");
    let nameserver = broker.addresses();
    let home = Stranger::from("127.0.0.31", &nameserver).await;
    home.log_in("ana", &right).await.unwrap();
    for number in 0..21 {
        let peer = Stranger::from(&format!("127.0.1.{number}"), &nameserver).await;
        let refused = peer.log_in("ana", WRONG).await.unwrap_err();
        assert_eq!(refused, AccessError::WrongToken);
    }
    let strange = Stranger::from("127.0.2.1", &nameserver).await;
    let refused = strange.log_in("ana", &right).await.unwrap_err();
    assert!(
        matches!(refused, AccessError::TooManyAttempts { .. }),
        "{refused:?}"
    );
    strange
        .log_in("oli", &broker.keys.token("oli"))
        .await
        .unwrap();
    home.log_in("ana", &right).await.unwrap();
}
