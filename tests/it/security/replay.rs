//! What somebody on the way has written down is said again.

use crate::harness::{SecuredBroker, Wiretap, eventually, in_time, seconds, within};
use pyroxene_client::Client;
use pyroxene_common::interfaces::directory::Filter;
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
    let listed = directory.list(within(seconds(5)), Filter::default()).await;
    listed
        .unwrap()
        .unwrap()
        .iter()
        .any(|entry| entry.name == NAME)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_clear_within_this_machine_a_hello_can_be_said_again_for_the_life_of_its_ticket() {
    let broker = SecuredBroker::with_tokens()
        .nameserver_flags(&["--ticket-life", "1s"])
        .await;
    let tap = overheard(&broker).await;
    let of_registration = |said: &Vec<u8>| {
        let mut words = said.windows(NAME.len());
        words.any(|word| word == NAME.as_bytes())
    };
    let said = tap.heard().into_iter().find(of_registration).unwrap();
    let answer = || async {
        let mut stream = TcpStream::connect(broker.addresses()).await.unwrap();
        stream.write_all(&said).await.unwrap();
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let is_refused = head[6] == 1;
        if is_refused {
            let mut sentence = Vec::new();
            let _ = stream.read_to_end(&mut sentence).await;
            return Err(String::from_utf8_lossy(&sentence[2..]).into_owned());
        }
        Ok(stream)
    };
    let _open = answer().await.unwrap();
    eventually("the replay is taken", || async {
        let registered = is_registered(&broker).await;
        registered.then_some(()).ok_or("no such name".to_owned())
    })
    .await;
    let sentence = eventually("the replay is refused", || async {
        answer().await.err().ok_or("it is taken".to_owned())
    })
    .await;
    assert_eq!(sentence, "the ticket has expired");
    remove(&broker).await;
    answer().await.unwrap_err();
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
