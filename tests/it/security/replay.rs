//! What somebody on the way has written down is said again, or passed on.

use super::strangers::{hello, own_key, ticket_of};
use crate::harness::{SecuredBroker, Wiretap, in_time, seconds, within};
use pyroxene_client::Client;
use pyroxene_common::{
    hello::{HelloError, RefusalCode, say_hello_with_ticket},
    identity::Addressee,
    interfaces::directory::{self, Directory, ObjectFilter},
};
use pyroxene_objects::interfaces::echo::Echo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NAME: &str = "replayed";

/// Registers a static name as `root`, while somebody listens, and takes it away again.
async fn overheard(broker: &SecuredBroker) -> Wiretap {
    let tap = Wiretap::before(Some(&broker.addresses())).await;
    let client = Client::new(broker.config_at(&tap.address().to_string(), "root"));
    let directory = client.nameservers()[0].directory();
    let (name, uri) = (NAME.to_owned(), "127.0.0.1:1".to_owned());
    let registered = directory.register(within(seconds(5)), name, uri, Vec::new(), false);
    registered.await.unwrap().unwrap();
    remove(broker).await;
    tap
}

async fn remove(broker: &SecuredBroker) {
    let client = broker.client().await;
    let directory = client.nameservers()[0].directory();
    let removed = directory.remove(within(seconds(5)), NAME.to_owned()).await;
    removed.unwrap().unwrap();
}

async fn is_registered(broker: &SecuredBroker) -> bool {
    let client = broker.client().await;
    let directory = client.nameservers()[0].directory();
    let listed = directory
        .list(within(seconds(5)), ObjectFilter::default())
        .await;
    listed
        .unwrap()
        .unwrap()
        .iter()
        .any(|entry| entry.name == NAME)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_clear_what_was_overheard_cannot_be_said_again() {
    let broker = SecuredBroker::with_tokens().await;
    let tap = overheard(&broker).await;
    assert!(!tap.heard_of(broker.keys.token("root").as_bytes()));
    let of_registration = |said: &Vec<u8>| {
        let mut words = said.windows(NAME.len());
        words.any(|word| word == NAME.as_bytes())
    };
    let said = tap.heard().into_iter().find(of_registration).unwrap();
    let mut stream = TcpStream::connect(broker.addresses()).await.unwrap();
    stream.write_all(&said).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[6], 2, "it is challenged anew");
    stream.read_exact(&mut [0; 32]).await.unwrap();
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[6], 1, "the old proof is refused");
    let mut sentence = Vec::new();
    let _ = in_time(seconds(3), "its end", stream.read_to_end(&mut sentence)).await;
    let sentence = String::from_utf8_lossy(&sentence[2..]).into_owned();
    assert!(sentence.contains("not shown by its holder"), "{sentence}");
    assert!(!is_registered(&broker).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_what_was_overheard_is_of_no_use() {
    let broker = SecuredBroker::with_tokens_over_tls().await;
    let tap = overheard(&broker).await;
    assert!(!tap.heard_of(broker.keys.token("root").as_bytes()));
    assert!(!tap.heard_of(b"v4.public."));
    assert!(!tap.heard_of(NAME.as_bytes()));
    let heard = tap.heard();
    assert!(heard.len() >= 2, "a login and a registration");
    for said in heard {
        // The first record is the beginning of the handshake, and is answered.
        let length = usize::from(u16::from_be_bytes([said[3], said[4]]));
        let (first, others) = said.split_at(5 + length);
        let mut stream = TcpStream::connect(broker.addresses()).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut rest = vec![stream.read_u8().await.unwrap()];
        // It may close the connection before everything is said, and a reset is an end as well.
        let _ = stream.write_all(others).await;
        let _ = in_time(seconds(3), "its end", stream.read_to_end(&mut rest)).await;
    }
    assert!(!is_registered(&broker).await);
}

/// A worker that was broken into passes on what its callers say, word for word, to another one and to
/// the name server: a client that is connected to it signs whatever they challenge it with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_relays_its_callers_gets_in_nowhere() {
    let mut broker = SecuredBroker::with_tokens().worker("w1", &[]).await;
    let worker = broker.worker("w1").address().to_owned();
    let nameserver = broker.addresses();
    let ticket = ticket_of(&nameserver, "root", &broker.keys.token("root")).await;
    // Its key is this process's, which is not that of the worker.
    let evil = || Addressee::Worker {
        name: "evil".to_owned(),
        key: own_key().id(),
    };
    let hellos = [
        (&worker, hello::<Echo>("echo", Some((&ticket, evil())))),
        (
            &nameserver,
            hello::<Directory>(directory::OBJECT, Some((&ticket, evil()))),
        ),
    ];
    for (victim, hello) in hellos {
        let relay = Wiretap::before(Some(victim)).await;
        let mut stream = TcpStream::connect(relay.address()).await.unwrap();
        let answer = say_hello_with_ticket(&mut stream, &hello, own_key()).await;
        let Err(HelloError::Refused(refused)) = answer else {
            panic!("{victim} took what was relayed");
        };
        assert_eq!(refused.code, RefusalCode::WrongServer);
        assert!(
            refused.message.contains("is for worker 'evil'"),
            "{refused}"
        );
    }
    // Nor does it help to say that the hello was for the victim.
    let w1 = broker.nameserver(0).key_of("w1").await;
    let w1 = Addressee::Worker {
        name: "w1".to_owned(),
        key: w1,
    };
    let changed = hello::<Echo>("echo", Some((&ticket, w1)));
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let relayed = tokio::spawn({
        let worker = worker.clone();
        async move { relay_renamed(theirs, &worker, &changed).await }
    });
    let meant = hello::<Echo>("echo", Some((&ticket, evil())));
    let heard = say_hello_with_ticket(&mut ours, &meant, own_key()).await;
    let Err(HelloError::Refused(refused)) = heard else {
        panic!("the worker took what was relayed");
    };
    assert_eq!(refused.code, RefusalCode::BadCredential);
    drop(ours);
    relayed.await.unwrap();
}

/// Hears a hello, and says another in its place; then passes everything on.
async fn relay_renamed(
    mut client: tokio::io::DuplexStream,
    victim: &str,
    instead: &pyroxene_common::hello::Hello,
) {
    client.read_exact(&mut [0; 4]).await.unwrap();
    pyroxene_common::hello::receive(&mut client).await.unwrap();
    let mut server = TcpStream::connect(victim).await.unwrap();
    let body = pyroxene_common::codec::encode(instead).unwrap();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let words = [b"PYRX\0\x01", length.as_slice(), &body].concat();
    server.write_all(&words).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
