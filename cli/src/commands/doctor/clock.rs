//! The clock of a name server, as its HTTP answers tell it.

use jiff::{Timestamp, fmt::rfc2822};
use pyroxene_common::{
    endpoint::Endpoint,
    net::{Socket, dial},
};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The most bytes of an answer that are read.
const MAX_ANSWER: u64 = 16 * 1024;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How far the clock of a name server is ahead of this machine's, in whole seconds; `None` if it does not tell.
pub(super) async fn ahead(nameserver: &Endpoint) -> Option<i64> {
    let asked = Timestamp::now();
    let answer = timeout(TIMEOUT, dial(nameserver, ask)).await.ok()?.ok()?;
    difference(&answer, asked, Timestamp::now())
}

async fn ask(socket: Socket) -> io::Result<String> {
    let mut answer = Vec::new();
    match socket {
        Socket::Tcp(mut stream) => {
            stream.write_all(REQUEST).await?;
            stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        }
        Socket::Unix(mut stream) => {
            stream.write_all(REQUEST).await?;
            stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        }
        Socket::Memory(_) => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The difference of an answer to a request that took from `asked` to `answered`. The answer's time has no fractions
/// of a second, and is somewhere between both, so smaller differences than one second count as none.
fn difference(answer: &str, asked: Timestamp, answered: Timestamp) -> Option<i64> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let date = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| value.trim())
    })?;
    let there = rfc2822::parse(date).ok()?.timestamp().as_second();
    let (earliest, latest) = (asked.as_second(), answered.as_second());
    Some(match there {
        there if there > latest => there - latest,
        there if there < earliest => there - earliest,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_is_counted_from_the_time_of_the_request() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        // It is 784111777 s after 1970.
        let answer = "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nok";
        let ahead =
            |from: i64, to: i64| difference(answer, at(784_111_777 + from), at(784_111_777 + to));
        assert_eq!(ahead(0, 0), Some(0));
        assert_eq!(ahead(-1, 1), Some(0));
        assert_eq!(ahead(-100, -90), Some(90));
        assert_eq!(ahead(90, 100), Some(-90));
        assert_eq!(difference("HTTP/1.1 200 OK\r\n\r\n", at(0), at(0)), None);
    }
}
