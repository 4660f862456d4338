//! The newest messages, in memory and with a bound.

use super::is_for;
use crate::interfaces::chat::{Message, Received};
use std::collections::VecDeque;

/// How many messages are kept, and about how many bytes of them.
const MAX_HELD: (usize, usize) = (10_000, 16 << 20);

/// All messages after `floor` up to `head`.
#[derive(Debug, Default)]
pub(super) struct RecentMessages {
    messages: VecDeque<Message>,
    bytes: usize,
    floor: u64,
    head: u64,
}

/// The result of a read from memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RecentPage {
    /// All requested messages are in memory.
    InMemory(Received),
    /// The requested messages are older than those in memory.
    Older,
}

impl RecentMessages {
    /// Clears the memory, and begins after a sequence.
    pub(super) fn begin(&mut self, after: u64) {
        *self = Self {
            floor: after,
            head: after,
            ..Self::default()
        };
    }

    /// Adds the next entry of the topic. It may not be a message.
    pub(super) fn push(&mut self, sequence: u64, message: Option<Message>) {
        self.head = sequence;
        if let Some(message) = message {
            self.bytes += size(&message);
            self.messages.push_back(message);
        }
        while self.messages.len() > MAX_HELD.0 || self.bytes > MAX_HELD.1 {
            let Some(oldest) = self.messages.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            self.floor = oldest.sequence;
        }
    }

    /// Up to `limit` messages for a member after a sequence.
    pub(super) fn after(&self, after: u64, name: &str, limit: usize) -> RecentPage {
        if after < self.floor {
            return RecentPage::Older;
        }
        let begin = self
            .messages
            .partition_point(|message| message.sequence <= after);
        let later = self.messages.range(begin..);
        let mut messages: Vec<Message> = Vec::new();
        for message in later.filter(|message| is_for(message, name)) {
            if messages.len() >= limit {
                let next = messages.last().map_or(after, |message| message.sequence);
                return RecentPage::InMemory(Received { messages, next });
            }
            messages.push(message.clone());
        }
        let next = self.head.max(after);
        RecentPage::InMemory(Received { messages, next })
    }

    /// The last `limit` messages for a member before a sequence, and whether there may be older ones.
    pub(super) fn before(&self, before: u64, name: &str, limit: usize) -> (Vec<Message>, bool) {
        let end = self
            .messages
            .partition_point(|message| message.sequence < before);
        let earlier = self.messages.range(..end).rev();
        let earlier = earlier.filter(|message| is_for(message, name)).take(limit);
        let mut messages: Vec<Message> = earlier.cloned().collect();
        messages.reverse();
        (messages, self.floor > 0)
    }

    /// Whether there is anything after a sequence.
    pub(super) fn has_entries_after(&self, after: u64) -> bool {
        self.head > after
    }

    /// The sequence up to which no messages are kept.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }
}

fn size(message: &Message) -> usize {
    message.text.len() + 2 * message.from.len() + 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64, from: &str, to: Option<&str>) -> Message {
        Message {
            sequence,
            at_ms: 0,
            from: from.to_owned(),
            to: to.map(str::to_owned),
            text: "hi".to_owned(),
        }
    }

    fn room() -> RecentMessages {
        let mut recent = RecentMessages::default();
        recent.begin(10);
        recent.push(11, Some(message(11, "ana", None)));
        recent.push(12, Some(message(12, "ana", Some("bob"))));
        recent.push(13, None);
        recent.push(14, Some(message(14, "bob", None)));
        recent.push(15, Some(message(15, "bob", Some("ana"))));
        recent
    }

    fn received(recent: &RecentMessages, after: u64, name: &str, limit: usize) -> (Vec<u64>, u64) {
        let RecentPage::InMemory(received) = recent.after(after, name, limit) else {
            panic!("it is older");
        };
        let sequences = received.messages.iter().map(|message| message.sequence);
        (sequences.collect(), received.next)
    }

    #[test]
    fn who_is_a_third_party_reads_what_was_said_to_all() {
        let recent = room();
        assert_eq!(received(&recent, 10, "ana", 9), (vec![11, 12, 14, 15], 15));
        assert_eq!(received(&recent, 10, "bob", 9), (vec![11, 12, 14, 15], 15));
        assert_eq!(received(&recent, 10, "cleo", 9), (vec![11, 14], 15));
    }

    #[test]
    fn one_goes_on_where_a_page_ended() {
        let recent = room();
        assert_eq!(received(&recent, 10, "ana", 3), (vec![11, 12, 14], 14));
        assert_eq!(received(&recent, 14, "ana", 3), (vec![15], 15));
        assert_eq!(received(&recent, 15, "ana", 3), (vec![], 15));
        assert_eq!(received(&recent, 99, "ana", 3), (vec![], 99));
        assert_eq!(recent.after(9, "ana", 3), RecentPage::Older);
    }

    #[test]
    fn the_last_ones_are_found_from_the_end() {
        let recent = room();
        let before = |before, name| {
            let (messages, more) = recent.before(before, name, 2);
            let sequences = messages.iter().map(|message| message.sequence);
            (sequences.collect::<Vec<_>>(), more)
        };
        assert_eq!(before(u64::MAX, "ana"), (vec![14, 15], true));
        assert_eq!(before(u64::MAX, "cleo"), (vec![11, 14], true));
        assert_eq!(before(14, "ana"), (vec![11, 12], true));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = RecentMessages::default();
        for sequence in 1..=MAX_HELD.0 as u64 + 5 {
            recent.push(sequence, Some(message(sequence, "ana", None)));
        }
        assert_eq!(recent.messages.len(), MAX_HELD.0);
        assert_eq!(recent.floor(), 5);
        assert_eq!(recent.after(4, "ana", 1), RecentPage::Older);
    }
}
