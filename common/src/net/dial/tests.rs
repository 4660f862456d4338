//! Tests of the race.

use super::*;
use std::{future::pending, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Instant, sleep},
};

const SECOND: Duration = Duration::from_secs(1);

/// The behaviour of a candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Host {
    Silent,
    FailsAfter(Duration),
    WorksAfter(Duration),
}

use Host::{FailsAfter, Silent, WorksAfter};

async fn raced(hosts: &[Host]) -> (Result<(Host, ()), Vec<&'static str>>, Duration) {
    let began = Instant::now();
    let outcome = race(hosts.iter().copied(), |host| async move {
        match host {
            Silent => pending().await,
            FailsAfter(time) => {
                sleep(time).await;
                Err("no")
            }
            WorksAfter(time) => {
                sleep(time).await;
                Ok(())
            }
        }
    });
    let outcome = tokio::time::timeout(100 * SECOND, outcome).await.unwrap();
    (outcome, began.elapsed())
}

fn at_once() -> Duration {
    Duration::ZERO
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_costs_a_quarter_of_a_second() {
    let works = WorksAfter(at_once());
    let (outcome, took) = raced(&[Silent, works]).await;
    assert_eq!(outcome.unwrap().0, works);
    assert_eq!(took, Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn many_silent_addresses_cost_no_more_than_one() {
    let works = WorksAfter(at_once());
    let quarter = Duration::from_millis(250);
    for silent in 2..MAX_ADDRESSES {
        let mut hosts = vec![Silent; silent];
        hosts.push(works);
        let (outcome, took) = raced(&hosts).await;
        assert_eq!(outcome.unwrap().0, works);
        assert!(
            took <= quarter + silent as u32 * Duration::from_millis(1),
            "{silent}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_followed_by_the_next_address_at_once() {
    let works = WorksAfter(at_once());
    let fails = FailsAfter(Duration::from_millis(10));
    let (outcome, took) = raced(&[fails, fails, works]).await;
    assert_eq!(outcome.unwrap().0, works);
    assert_eq!(took, Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn a_slow_address_may_still_win() {
    let slow = WorksAfter(SECOND);
    let (outcome, took) = raced(&[slow, FailsAfter(at_once()), Silent]).await;
    assert_eq!((outcome.unwrap().0, took), (slow, SECOND));
}

#[tokio::test(start_paused = true)]
async fn all_errors_are_told_if_nothing_works() {
    let (outcome, _) = raced(&[FailsAfter(SECOND), FailsAfter(at_once())]).await;
    assert_eq!(outcome.unwrap_err().len(), 2);
    assert_eq!(raced(&[]).await.0.unwrap_err().len(), 0);
}

#[test]
fn families_alternate_after_what_worked_last() {
    let order = |last: Option<&str>| {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"];
        let addresses = addresses.map(|address| address.parse().unwrap()).to_vec();
        let last = last.map(|address| address.parse().unwrap());
        let order = in_order(addresses, last).into_iter();
        order.map(|address| address.to_string()).collect::<Vec<_>>()
    };
    let alternating = ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"];
    assert_eq!(order(None), alternating);
    assert_eq!(order(Some("9.9.9.9:1")), alternating, "it is gone");
    let preferred = ["1.0.0.2:1", "[::1]:1", "1.0.0.1:1", "[::2]:1", "[::3]:1"];
    assert_eq!(order(Some("1.0.0.2:1")), preferred);
}

/// Reads one byte, which a live peer sends at once.
async fn one_byte(socket: Socket) -> io::Result<u8> {
    let mut socket = socket;
    socket.read_u8().await
}

#[tokio::test]
async fn an_address_that_accepts_and_says_nothing_is_passed_by() {
    let silent = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let alive = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addresses = [silent.local_addr().unwrap(), alive.local_addr().unwrap()];
    let serving = Arc::clone(&alive);
    tokio::spawn(async move {
        let (mut socket, _) = serving.accept().await.unwrap();
        socket.write_u8(7).await.unwrap();
    });
    let dialled = dial_any(addresses.to_vec(), one_byte);
    let (address, heard) = tokio::time::timeout(10 * SECOND, dialled)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((address, heard), (alive.local_addr().unwrap(), 7));
}

#[tokio::test]
async fn the_error_is_that_of_an_address_that_accepted() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let accepting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![accepting.local_addr().unwrap(), nobody];
    let hang_up = async { drop(accepting.accept().await) };
    let (dialled, ()) = tokio::join!(dial_any(addresses, one_byte), hang_up);
    let kind = dialled.unwrap_err().kind();
    assert_ne!(kind, io::ErrorKind::ConnectionRefused);
}
