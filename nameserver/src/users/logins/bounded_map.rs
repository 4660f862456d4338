//! A map with a maximum size, which drops the oldest entry first.

use std::collections::{BTreeMap, HashMap};

/// A map with a maximum size, which drops the oldest entry first.
#[derive(Debug)]
pub(super) struct BoundedMap<T> {
    limit: usize,
    entries: HashMap<String, (u64, T)>,
    /// The keys in the order of insertion.
    order: BTreeMap<u64, String>,
    next: u64,
}

impl<T> BoundedMap<T> {
    /// `limit` is the most entries.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Inserts a value, in the place of an earlier one with that key.
    pub(super) fn put(&mut self, key: &str, value: T) {
        self.remove(key);
        if self.entries.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.entries.insert(key.to_owned(), (self.next, value));
        self.order.insert(self.next, key.to_owned());
        self.next += 1;
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some((place, _)) = self.entries.remove(key) {
            self.order.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_is_no_more_room() {
        let mut recent = BoundedMap::new(2);
        recent.put("a", 1);
        recent.put("b", 2);
        recent.put("a", 3);
        recent.put("c", 4);
        assert_eq!(recent.get("b"), None);
        assert_eq!((recent.get("a"), recent.get("c")), (Some(&3), Some(&4)));
        recent.remove("a");
        recent.put("d", 5);
        assert_eq!((recent.get("c"), recent.get("d")), (Some(&4), Some(&5)));
        assert_eq!((recent.entries.len(), recent.order.len()), (2, 2));
    }
}
