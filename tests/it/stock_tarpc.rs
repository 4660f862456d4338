//! tarpc's own client over our frames.

use crate::harness::{Broker, eventually, in_time, seconds, within};
use pyroxene_common::{
    hello::{Hello, say_hello},
    interface::Interface,
    transport::ClientTransport,
    wire::DEFAULT_MAX_MESSAGE,
};
use pyroxene_objects::interfaces::{
    calculator::{Calculator, calculator::tarpc_service::CalculatorClient},
    echo::{Echo, echo::tarpc_service::EchoClient},
};
use tarpc::client::Config;
use tokio::net::TcpStream;

/// A connection to the object, after the hello.
async fn greeted<I: Interface>(address: &str, object: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let hello = Hello {
        object: object.to_owned(),
        interface: I::NAME.to_owned(),
        interface_version: I::VERSION,
        client: "stock tarpc".to_owned(),
        max_message: DEFAULT_MAX_MESSAGE as u64,
        credential: None,
    };
    let welcome = say_hello(&mut stream, &hello).await.unwrap();
    assert_eq!(welcome.server, "w1");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tarpcs_own_client_calls_a_worker() {
    let mut broker = Broker::start().workers(1).await;
    let address = broker.worker("w1").address().to_owned();
    let stream = greeted::<Calculator>(&address, "calculator").await;
    let transport = ClientTransport::new(stream, DEFAULT_MAX_MESSAGE);
    let calculator = CalculatorClient::new(Config::default(), transport).spawn();
    let calls = (1..=100u64).map(|n| calculator.fibonacci(within(seconds(10)), n));
    let answers = futures::future::join_all(calls);
    let answers = in_time(seconds(10), "100 calls", answers).await;
    for (n, answer) in (1..).zip(answers) {
        assert_eq!(answer.unwrap().unwrap().len(), n);
    }
    let refused = calculator.factorial(within(seconds(10)), u64::MAX).await;
    assert!(refused.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_tarpcs_own_client_drops_is_cancelled_on_the_worker() {
    let mut broker = Broker::start().workers(1).await;
    let address = broker.worker("w1").address().to_owned();
    let stream = greeted::<Echo>(&address, "echo").await;
    let transport = ClientTransport::new(stream, DEFAULT_MAX_MESSAGE);
    let echo = EchoClient::new(Config::default(), transport).spawn();
    let sleeper = echo.clone();
    let call = tokio::spawn(async move { sleeper.sleep(within(seconds(120)), 100_000).await });
    runs(&mut broker, 1).await;
    call.abort();
    runs(&mut broker, 0).await;
    // The connection is as good as before.
    let identity = echo.whoami(within(seconds(5))).await.unwrap();
    assert_eq!(identity.caller, "stock tarpc");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_our_client_drops_is_cancelled_on_the_worker() {
    let mut broker = Broker::start().workers(1).await;
    let client = broker.client().await;
    let echo = client.object::<Echo>("echo").await.unwrap();
    let call = tokio::spawn(async move { echo.sleep(within(seconds(120)), 100_000).await });
    runs(&mut broker, 1).await;
    call.abort();
    runs(&mut broker, 0).await;
}

/// Waits until the directory knows that the worker runs so many calls.
async fn runs(broker: &mut Broker, calls: u32) {
    let nameserver = &*broker.nameserver(0);
    eventually(&format!("w1 runs {calls} calls"), || async {
        let listed = nameserver.listed().await?;
        let loads: Vec<u32> = listed.iter().map(|entry| entry.load.in_flight).collect();
        (loads == [calls]).then_some(()).ok_or(format!("{loads:?}"))
    })
    .await;
}
