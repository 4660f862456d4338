//! Who comes and who goes, as people in the room see it.

use super::Room;
use std::{collections::BTreeSet, convert::Infallible, time::Duration};
use tokio::time::sleep;

/// How often the room is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Tells who comes and goes from now on, for ever. `members` are those who are there now.
pub(crate) async fn tell<F: Future<Output = ()>>(
    room: &Room,
    members: Vec<String>,
    say: impl Fn(String) -> F,
) -> Infallible {
    let mut known = BTreeSet::from_iter(members);
    loop {
        sleep(LOOK).await;
        // While the room cannot be looked at, nobody is seen to go.
        if let Some(members) = room.glance().await {
            let now = BTreeSet::from_iter(members);
            for sentence in changes(&known, &now) {
                say(sentence).await;
            }
            known = now;
        }
    }
}

fn changes(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    let came = now.difference(before).map(|name| format!("{name} came in"));
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
        assert_eq!(told, ["cid came in", "bob left"]);
        assert!(changes(&set(&["ana"]), &set(&["ana"])).is_empty());
    }
}
