//! The list of name servers: the configured ones, and those that these report.
//!
//! A pure state machine. Several name servers may be behind one address, for example a load balancer's.
//! Each reports the addresses of all name servers that share its store, and the client connects to each
//! of them directly. A discovered address stays in the list while any reachable name server reports it.

use pyroxene_common::endpoint::Endpoint;
use std::collections::{BTreeMap, BTreeSet};

/// The maximum number of name servers that are discovered in addition to the configured ones.
const MAX_FOUND: usize = 16;

/// Name servers with their numbers. A number is never reused.
#[derive(Debug)]
pub(crate) struct NameServerList {
    given: Vec<Endpoint>,
    found: BTreeMap<usize, Endpoint>,
    /// The addresses that each name server reports, by its number.
    reported_by: BTreeMap<usize, BTreeSet<Endpoint>>,
    next: usize,
}

impl NameServerList {
    pub(crate) fn new(given: Vec<Endpoint>) -> Self {
        Self {
            next: given.len(),
            given,
            found: BTreeMap::new(),
            reported_by: BTreeMap::new(),
        }
    }

    /// Records the addresses that a name server reports, or `None` if it did not answer. Returns whether
    /// the list changed.
    pub(crate) fn record_peers(&mut self, from: usize, addresses: Option<&[String]>) -> bool {
        match addresses {
            Some(addresses) => {
                let addresses = addresses.iter().take(MAX_FOUND);
                let readable = addresses.filter_map(|address| address.parse().ok());
                let of_use = readable.filter(|address: &Endpoint| !address.is_unspecified());
                self.reported_by.insert(from, of_use.collect());
            }
            None => drop(self.reported_by.remove(&from)),
        }
        let before = self.found.clone();
        // The report of a name server is ignored after the name server itself has left the list.
        loop {
            let wanted = self.wanted();
            let count = self.found.len();
            self.found.retain(|_, address| wanted.contains(address));
            if self.found.len() == count {
                break self.add(wanted);
            }
            let (given, found) = (self.given.len(), &self.found);
            self.reported_by
                .retain(|from, _| *from < given || found.contains_key(from));
        }
        self.found != before
    }

    fn wanted(&self) -> BTreeSet<Endpoint> {
        let told = self.reported_by.values().flatten();
        let others = told.filter(|address| !self.given.contains(address));
        others.take(MAX_FOUND).cloned().collect()
    }

    fn add(&mut self, wanted: BTreeSet<Endpoint>) {
        let known: BTreeSet<Endpoint> = self.found.values().cloned().collect();
        for address in wanted.difference(&known) {
            self.found.insert(self.next, address.clone());
            self.next += 1;
        }
    }

    /// All name servers with their numbers, first the configured ones in their order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Endpoint)> {
        let found = self
            .found
            .iter()
            .map(|(number, address)| (*number, address));
        self.given.iter().enumerate().chain(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(given: &[&str]) -> NameServerList {
        NameServerList::new(
            given
                .iter()
                .map(|address| address.parse().unwrap())
                .collect(),
        )
    }

    fn hear(roll: &mut NameServerList, from: usize, addresses: &[&str]) -> bool {
        let addresses: Vec<String> = addresses.iter().map(|a| (*a).to_owned()).collect();
        roll.record_peers(from, Some(&addresses))
    }

    fn entries(roll: &NameServerList) -> Vec<String> {
        let entries = roll.entries();
        entries
            .map(|(number, address)| format!("{number} {address}"))
            .collect()
    }

    #[test]
    fn those_behind_one_address_are_found() {
        let mut roll = roll(&["balancer:1"]);
        assert!(hear(&mut roll, 0, &["a:1", "b:1"]));
        assert_eq!(entries(&roll), ["0 balancer:1", "1 a:1", "2 b:1"]);
        assert!(!hear(&mut roll, 0, &["b:1", "a:1"]), "nothing new");
        assert!(!hear(&mut roll, 1, &["a:1", "b:1"]));
    }

    #[test]
    fn those_that_were_given_are_not_found_again() {
        let mut roll = roll(&["a:1", "b:1"]);
        assert!(!hear(&mut roll, 0, &["a:1", "b:1"]));
        assert_eq!(entries(&roll), ["0 a:1", "1 b:1"]);
    }

    #[test]
    fn one_that_nobody_tells_any_more_is_gone_and_its_number_is_not_given_again() {
        let mut roll = roll(&["balancer:1"]);
        hear(&mut roll, 0, &["a:1", "b:1"]);
        hear(&mut roll, 1, &["a:1", "b:1"]);
        hear(&mut roll, 2, &["a:1", "b:1"]);
        // Name server 2 died, and the others see its lease end.
        assert!(!roll.record_peers(2, None));
        assert!(!hear(&mut roll, 0, &["a:1"]));
        assert!(hear(&mut roll, 1, &["a:1"]));
        assert_eq!(entries(&roll), ["0 balancer:1", "1 a:1"]);
        assert!(hear(&mut roll, 1, &["a:1", "c:1"]));
        assert_eq!(entries(&roll), ["0 balancer:1", "1 a:1", "3 c:1"]);
    }

    #[test]
    fn what_the_departed_told_counts_no_more() {
        let mut roll = roll(&["balancer:1"]);
        hear(&mut roll, 0, &["a:1"]);
        hear(&mut roll, 1, &["b:1"]);
        assert_eq!(entries(&roll).len(), 3);
        assert!(roll.record_peers(0, None));
        assert_eq!(entries(&roll), ["0 balancer:1"]);
    }

    #[test]
    fn nonsense_is_left_out_and_the_number_is_bounded() {
        let mut roll = roll(&["balancer:1"]);
        assert!(!hear(&mut roll, 0, &["nowhere", "0.0.0.0:1"]));
        let many: Vec<String> = (0..1000).map(|number| format!("n{number}:1")).collect();
        roll.record_peers(0, Some(&many));
        assert_eq!(entries(&roll).len(), 1 + MAX_FOUND);
    }
}
