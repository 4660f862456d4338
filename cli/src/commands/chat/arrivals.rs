//! Reports members who join or leave the chat room.

use super::ChatRoom;
use std::{collections::BTreeSet, convert::Infallible, time::Duration};
use tokio::time::sleep;

/// How often the members are requested.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Reports members who join or leave from now on. Never returns. `members` are the members at the start.
pub(crate) async fn report_arrivals<F: Future<Output = ()>>(
    room: &ChatRoom,
    members: Vec<String>,
    say: impl Fn(String) -> F,
) -> Infallible {
    let mut known = BTreeSet::from_iter(members);
    loop {
        sleep(POLL_INTERVAL).await;
        // While the members cannot be requested, nobody is reported as gone.
        if let Some(members) = room.current_members().await {
            let now = BTreeSet::from_iter(members);
            for sentence in changes(&known, &now) {
                say(sentence).await;
            }
            known = now;
        }
    }
}

fn changes(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    let came = now.difference(before).map(|name| format!("{name} joined"));
    let left = before.difference(now).map(|name| format!("{name} left"));
    came.chain(left).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comings_and_goings_are_told() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let told = changes(&set(&["ana", "bob"]), &set(&["ana", "cid"]));
        assert_eq!(told, ["cid joined", "bob left"]);
        assert!(changes(&set(&["ana"]), &set(&["ana"])).is_empty());
    }
}
