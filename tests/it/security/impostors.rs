//! A worker that has taken over another one's name relays to that one what its callers say.

use crate::harness::{SecuredBroker, in_time, seconds, within};
use pyroxene_client::Client;
use pyroxene_common::{
    codec,
    hello::{Hello, receive},
    interface::Interface,
    interfaces::directory::{ObjectRegistration, Registration},
};
use pyroxene_objects::interfaces::{
    echo::Echo,
    text::{Text, text::TextRequest},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::task::AbortOnDropHandle;

/// What the caller calls itself, to tell its connections from those of the name server.
const CALLER: &str = "caller";

/// What the victim said to a client of this name: a welcome, or why not.
type Verdict = (String, Result<(), String>);

/// Takes connections in the place of a worker, and has them with a victim.
struct Impostor {
    address: SocketAddr,
    /// Whether it asks for `echo`, whatever the client asks for.
    asks_for_echo: Arc<AtomicBool>,
    verdicts: mpsc::UnboundedReceiver<Verdict>,
    _accept: AbortOnDropHandle<()>,
}

impl Impostor {
    async fn before(victim: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, verdicts) = mpsc::unbounded_channel();
        let victim = victim.to_owned();
        let asks_for_echo: Arc<AtomicBool> = Arc::default();
        let asks = Arc::clone(&asks_for_echo);
        let accept = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let change = match asks.load(Ordering::Relaxed) {
                    true => ask_for_echo,
                    false => nothing,
                };
                let _ = tell.send(relay(client, &victim, change).await);
            }
        });
        Self {
            address,
            asks_for_echo,
            verdicts,
            _accept: AbortOnDropHandle::new(accept),
        }
    }

    /// Registers as `w1`, with what it may host.
    async fn register(&self, narrow: &Client) {
        let registration = Registration {
            worker: "w1".to_owned(),
            incarnation: 1,
            endpoint: self.address.to_string(),
            pid: 1,
            host: "here".to_owned(),
            capacity: 1,
            ttl_ms: 60_000,
            objects: vec![ObjectRegistration {
                object: "text".to_owned(),
                interface: Text::NAME.to_owned(),
                version: Text::VERSION,
                spoken: Vec::new(),
                tags: Vec::new(),
                exclusive: false,
            }],
        };
        let directory = narrow.nameservers()[0].directory();
        let opened = directory.open(within(seconds(5)), registration, None).await;
        opened.unwrap().unwrap();
    }

    /// Why the victim refused a connection of the caller, or else of the name server.
    async fn refusal(&mut self, of_caller: bool) -> String {
        loop {
            let told = in_time(seconds(20), "a verdict", self.verdicts.recv()).await;
            let (client, verdict) = told.unwrap();
            if (client == CALLER) == of_caller {
                return verdict.unwrap_err();
            }
        }
    }
}

/// Passes on a hello, the victim's challenge and the answer to that.
async fn relay(mut client: TcpStream, victim: &str, change: fn(&mut Hello)) -> Verdict {
    client.read_exact(&mut [0; 4]).await.unwrap();
    let mut hello = receive(&mut client).await.unwrap();
    change(&mut hello);
    let body = codec::encode(&hello).unwrap();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let mut server = TcpStream::connect(victim).await.unwrap();
    let words = [b"PYRX\0\x01", length.as_slice(), &body].concat();
    server.write_all(&words).await.unwrap();
    let mut answer = heard(&mut server).await;
    if answer[6] == 2 {
        client.write_all(&answer).await.unwrap();
        let mut proof = [0; 66];
        client.read_exact(&mut proof).await.unwrap();
        server.write_all(&proof).await.unwrap();
        answer = heard(&mut server).await;
    }
    let verdict = match answer[6] {
        0 => Ok(()),
        _ => Err(String::from_utf8_lossy(&answer[11..]).into_owned()),
    };
    (hello.client, verdict)
}

/// One answer of a server to a hello.
async fn heard(server: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 9];
    server.read_exact(&mut head).await.unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[7], head[8]]))];
    server.read_exact(&mut body).await.unwrap();
    [&head[..], &body].concat()
}

fn nothing(_: &mut Hello) {}

/// What the impostor may not host, and the victim does.
fn ask_for_echo(hello: &mut Hello) {
    hello.object = "echo".to_owned();
    hello.interface = Echo::NAME.to_owned();
    hello.interface_version = Echo::VERSION;
}

/// The victim's lease ran out while it stood still, and a worker of another user was quicker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_a_workers_name_gets_in_nowhere_with_what_its_callers_sign() {
    let mut broker = SecuredBroker::with_tokens()
        .worker("w1", &["--ttl", "1s"])
        .await;
    broker.add_user("narrow", "worker", &["text"]).await;
    let victim = broker.worker("w1").address().to_owned();
    let narrow = broker.client_as("narrow").await;
    broker.worker("w1").freeze();
    broker.nameserver(0).forgets("w1").await;
    let mut impostor = Impostor::before(&victim).await;
    impostor.register(&narrow).await;
    broker.worker("w1").thaw();
    for asks_for_echo in [true, false] {
        impostor
            .asks_for_echo
            .store(asks_for_echo, Ordering::Relaxed);
        let root = Client::connect_with(broker.config("root").name(CALLER));
        let proxy = root.await.unwrap().proxy::<Text>("text").await.unwrap();
        let calling = AbortOnDropHandle::new(tokio::spawn(async move {
            let text = "a b".to_owned();
            let request = TextRequest::CountWords { text };
            proxy.call_traced(within(seconds(20)), &request).await
        }));
        let refused = impostor.refusal(true).await;
        assert!(refused.contains("this is worker 'w1'"), "{refused}");
        drop(calling);
    }
    // Nor with what a name server signs that runs a task for somebody.
    let submit = ["submit", "text", "count_words", "text=a"];
    broker.run_as("root", &submit).await.out();
    let refused = impostor.refusal(false).await;
    assert!(refused.contains("this is worker 'w1'"), "{refused}");
}
