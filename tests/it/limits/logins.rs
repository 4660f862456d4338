//! Who fails to log in keeps nobody out.

use crate::{
    harness::{Ran, SecuredBroker, eventually},
    security::strangers::{Stranger, WRONG},
};
use pyroxene_common::interfaces::access::AccessError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_at_a_shared_address_keeps_nobody_out_even_after_a_restart() {
    let mut broker = SecuredBroker::with_tokens().await;
    broker.nameserver(0).kill().await;
    broker.nameserver(0).restart().await;
    let nameserver = broker.addresses();
    let stranger = Stranger::from("127.0.0.21", &nameserver).await;
    for user in ["ana", "nobody"] {
        for _ in 0..30 {
            stranger.log_in(user, WRONG).await.unwrap_err();
        }
    }
    let refused = stranger.log_in("ana", WRONG).await.unwrap_err();
    assert!(
        matches!(refused, AccessError::TooManyAttempts { .. }),
        "{refused:?}"
    );
    for user in ["ana", "oli", "host"] {
        let neighbour = Stranger::from("127.0.0.21", &nameserver).await;
        let admitted = neighbour.log_in(user, &broker.keys.token(user)).await;
        assert_eq!(admitted.unwrap().identity.name, user);
    }
}

async fn list(broker: &SecuredBroker, user: &str, token: &str) -> Ran {
    let addresses = broker.addresses();
    let arguments = ["list", "--nameserver", &addresses, "--user", user];
    Ran::with(broker.dir(), &[("PYROXENE_TOKEN", token)], &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_fails_often_is_told_to_wait_and_gets_in_with_the_right_token() {
    let broker = SecuredBroker::with_tokens().await;
    let held_up = eventually("it is held up", || async {
        let sentence = list(&broker, "ana", WRONG).await.error(4).to_owned();
        if sentence.contains("too many failed logins") {
            return Ok(sentence);
        }
        let expected = "'ana' cannot log in: the user or the token is wrong";
        assert!(sentence.ends_with(expected), "{sentence}");
        assert!(!sentence.contains(WRONG), "{sentence}");
        Err(sentence)
    })
    .await;
    let expected = "there were too many failed logins; try again in 1 s";
    assert!(held_up.ends_with(expected), "{held_up}");
    let right = broker.keys.token("ana");
    list(&broker, "ana", &right).await.out();
}
