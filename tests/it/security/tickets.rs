//! Tickets in the wrong hands: stolen, forged, from elsewhere.

use super::strangers::{admission, at, hello, own_key, say, say_as, show, ticket_of};
use crate::harness::{SecuredBroker, eventually, in_time, seconds};
use pyroxene_common::{
    hello::{RefusalCode, say_hello_with_ticket},
    identity::{Addressee, HolderKey, MAX_TICKET},
    interfaces::directory::{self, Directory},
};
use pyroxene_objects::interfaces::echo::Echo;
use std::time::Duration;
use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};

/// How far beyond its end a ticket may be good: what clocks may differ by, the time between two
/// looks for those that have ended, and what a busy machine adds.
const AFTER_THE_END: Duration = Duration::from_millis(2_000 + 500 + 2_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_good_for_its_life_and_no_longer() {
    let mut broker = SecuredBroker::with_tokens()
        .nameserver_flags(&["--ticket-life", "1s"])
        .worker("w1", &[])
        .await;
    let worker = broker.worker("w1").address().to_owned();
    let nameserver = broker.addresses();
    let held = admission(&broker.config("ana")).await;
    let ticket = held.admission.ticket.as_bytes();
    assert_eq!(held.admission.life_ms, 1000);

    let daemons = [
        (&worker, hello::<Echo>("echo", Some((ticket, at(&worker))))),
        (
            &nameserver,
            hello::<Directory>(directory::OBJECT, Some((ticket, Addressee::NameServer))),
        ),
    ];
    let mut open = Vec::new();
    for (address, hello) in &daemons {
        let mut stream = TcpStream::connect(address).await.unwrap();
        say_hello_with_ticket(&mut stream, hello, own_key())
            .await
            .unwrap();
        open.push(stream);
    }
    let end = held.at + seconds(1);
    for (address, hello) in &daemons {
        let refused = eventually("the ticket runs out", || async {
            say(address, hello)
                .await
                .err()
                .ok_or("it is good".to_owned())
        })
        .await;
        assert_eq!(refused.code, RefusalCode::BadCredential);
        assert_eq!(refused.message, "the ticket has expired");
        assert!(Instant::now() > end, "it ended early");
        assert!(Instant::now() < end + AFTER_THE_END, "it ended late");
    }
    // Those who came in with it have to go as well.
    for stream in &mut open {
        let mut rest = Vec::new();
        let patience = (end + AFTER_THE_END).duration_since(Instant::now());
        let reading = stream.read_to_end(&mut rest);
        // A reset is an end as well.
        let _ = in_time(patience, "the end of a connection", reading).await;
    }
}

/// Whoever it was shown to has the ticket, and not the key of its holder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_ticket_is_good_for_nothing() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let worker = broker.worker("w1").address().to_owned();
    let held = admission(&broker.config("root")).await;
    let ticket = held.admission.ticket.as_bytes();
    let thief = HolderKey::generate().unwrap();
    let at_worker = hello::<Echo>("echo", Some((ticket, at(&worker))));
    let at_nameserver =
        hello::<Directory>(directory::OBJECT, Some((ticket, Addressee::NameServer)));
    for (address, hello) in [(&worker, &at_worker), (&broker.addresses(), &at_nameserver)] {
        let refused = say_as(address, hello, &thief).await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::BadCredential);
        assert!(
            refused.message.contains("not shown by its holder"),
            "{refused}"
        );
        say(address, hello).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_ticket_opens_nothing() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let (nameserver, token) = (broker.addresses(), broker.keys.token("ana"));
    let worker = broker.worker("w1").address().to_owned();
    let ticket = ticket_of(&nameserver, "ana", &token).await;
    show(&worker, &ticket).await.unwrap();

    for place in (0..ticket.len()).step_by(5) {
        for bit in [1, 0x20] {
            let mut forged = ticket.clone();
            forged[place] ^= bit;
            let refused = show(&worker, &forged).await.unwrap_err();
            assert_eq!(refused.code, RefusalCode::BadCredential, "{place}");
        }
    }
    for length in (0..ticket.len()).step_by(20) {
        let refused = show(&worker, &ticket[..length]).await.unwrap_err();
        assert_eq!(refused.code, RefusalCode::BadCredential, "{length}");
    }
    // A signature that is well-formed and somebody else's.
    let other = ticket_of(&nameserver, "root", &broker.keys.token("root")).await;
    let part = |ticket: &[u8], part: usize| {
        let parts = ticket.split(|byte| *byte == b'.');
        parts.collect::<Vec<_>>()[part].to_vec()
    };
    let (payload, footer) = (part(&ticket, 2), part(&ticket, 3));
    let (beginning, _) = payload.split_at(payload.len() - 86);
    let other = part(&other, 2);
    let (_, signature) = other.split_at(other.len() - 86);
    let mixed = [b"v4.public.", beginning, signature, b".", &footer].concat();
    let refused = show(&worker, &mixed).await.unwrap_err();
    assert!(
        refused.message == "the ticket's signature is wrong: it was changed, or made up"
            || refused.message == "this is not a ticket",
        "{refused:?}"
    );
    for nonsense in [vec![b'x'; MAX_TICKET + 1], vec![0; 10_000], Vec::new()] {
        let refused = show(&worker, &nonsense).await.unwrap_err();
        assert_eq!(refused.message, "this is not a ticket");
    }
    show(&worker, &ticket).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_another_domain_opens_nothing() {
    let mut here = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let elsewhere = SecuredBroker::with_tokens().await;
    let token = elsewhere.keys.token("root");
    let ticket = ticket_of(&elsewhere.addresses(), "root", &token).await;
    let expected = "the ticket is from another domain: its name servers have another key";
    let worker = here.worker("w1").address().to_owned();
    assert_eq!(show(&worker, &ticket).await.unwrap_err().message, expected);
    let hello = hello::<Directory>(directory::OBJECT, Some((&ticket, Addressee::NameServer)));
    let refused = say(&here.addresses(), &hello).await.unwrap_err();
    assert_eq!(refused.message, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_ticket_nobody_learns_what_there_is() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let nameserver = broker.addresses();
    let worker = broker.worker("w1").address().to_owned();
    for address in [&nameserver, &worker] {
        for object in ["echo", "directory", "no-such-thing"] {
            let refused = say(address, &hello::<Echo>(object, None))
                .await
                .unwrap_err();
            assert_eq!(refused.code, RefusalCode::BadCredential);
            assert_eq!(refused.message, "it wants to know who calls");
        }
    }
    let ran = broker.run(&["call", "echo", "whoami"]).await;
    assert!(
        ran.error(4).contains("it wants to know who calls"),
        "{ran:?}"
    );
    assert!(ran.hint().contains("--user NAME"), "{ran:?}");
}
