//! What was seen since the start, without I/O and clocks. A bounded number of each kind is noted.

use pyroxene_common::{
    clean,
    interfaces::visitors::{MAX_NAME, MAX_VISITORS, Visitor, VisitorKind},
};
use std::{borrow::Cow, collections::HashMap};

/// How often a worker is noted that is where it was.
const WORKER_INTERVAL_MS: u64 = 60_000;

/// Who was seen, by kind and name.
#[derive(Debug, Default)]
pub(super) struct VisitorNotes(HashMap<VisitorKind, HashMap<String, Note>>);

#[derive(Debug)]
struct Note {
    place: String,
    first_ms: u64,
    last_ms: u64,
    /// Whether the store does not have it yet.
    is_news: bool,
}

impl VisitorNotes {
    /// Notes that somebody was seen at this time.
    pub(super) fn saw(&mut self, kind: VisitorKind, name: &str, place: &str, at_ms: u64) {
        let (name, place) = (bounded(name), bounded(place));
        let of_kind = self.0.entry(kind).or_default();
        if let Some(note) = of_kind.get_mut(&*name) {
            let is_worker = kind == VisitorKind::Worker;
            // It is looked for every few seconds, and most have not moved.
            if is_worker
                && note.place == place
                && at_ms < note.last_ms.saturating_add(WORKER_INTERVAL_MS)
            {
                return;
            }
            // A clock that is set back does not make a visitor older.
            note.last_ms = note.last_ms.max(at_ms);
            note.is_news = true;
            if note.place != place {
                note.place = place.into_owned();
            }
            return;
        }
        let note = Note {
            place: place.into_owned(),
            first_ms: at_ms,
            last_ms: at_ms,
            is_news: true,
        };
        make_room(of_kind);
        of_kind.insert(name.into_owned(), note);
    }

    /// Notes that somebody who was seen is still there.
    pub(super) fn saw_again(&mut self, kind: VisitorKind, name: &str, at_ms: u64) {
        let notes = self.0.get_mut(&kind);
        if let Some(note) = notes.and_then(|notes| notes.get_mut(&*bounded(name))) {
            note.last_ms = note.last_ms.max(at_ms);
            note.is_news = true;
        }
    }

    /// Everybody.
    pub(super) fn all(&self) -> Vec<Visitor> {
        let all = self.0.iter().flat_map(|(kind, notes)| {
            let notes = notes.iter();
            notes.map(|(name, note)| visitor(*kind, name, note))
        });
        all.collect()
    }

    /// Whom the store does not have yet as they are now.
    pub(super) fn take_news(&mut self) -> Vec<Visitor> {
        let mut news = Vec::new();
        for (kind, notes) in &mut self.0 {
            for (name, note) in notes.iter_mut().filter(|(_, note)| note.is_news) {
                note.is_news = false;
                news.push(visitor(*kind, name, note));
            }
        }
        news
    }

    /// Takes back news that could not be written.
    pub(super) fn give_back(&mut self, news: &[Visitor]) {
        for visitor in news {
            let notes = self.0.get_mut(&visitor.kind);
            if let Some(note) = notes.and_then(|notes| notes.get_mut(&visitor.name)) {
                note.is_news = true;
            }
        }
    }
}

/// Makes room for one more of a kind: forgets whoever was not seen for the longest time, if there are too many.
fn make_room(of_kind: &mut HashMap<String, Note>) {
    if of_kind.len() < MAX_VISITORS {
        return;
    }
    let all = of_kind.iter().map(|(name, note)| (note.last_ms, name));
    if let Some(oldest) = all.min().map(|(_, name)| name.clone()) {
        of_kind.remove(&oldest);
    }
}

fn visitor(kind: VisitorKind, name: &str, note: &Note) -> Visitor {
    Visitor {
        name: name.to_owned(),
        kind,
        place: note.place.clone(),
        first_seen_ms: note.first_ms,
        last_seen_ms: note.last_ms,
        is_here: false,
    }
}

/// A text on one line, with a bounded length.
fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_NAME && clean::is_line(text) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = clean::line(text).into_owned();
    cleaned.truncate(cleaned.floor_char_boundary(MAX_NAME));
    Cow::Owned(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::interfaces::directory;

    #[test]
    fn who_is_seen_again_is_news_with_its_first_time() {
        let mut notes = VisitorNotes::default();
        notes.saw(VisitorKind::Person, "ana", "h1", 10);
        notes.saw(VisitorKind::Worker, "ana", "w:1", 11);
        assert_eq!(notes.take_news().len(), 2);
        assert_eq!(notes.take_news(), []);
        notes.saw(VisitorKind::Person, "ana", "h2", 20);
        let news = notes.take_news();
        let [ana] = news.as_slice() else {
            panic!("{news:?}");
        };
        assert_eq!((ana.first_seen_ms, ana.last_seen_ms), (10, 20));
        assert_eq!(ana.place, "h2");
        notes.give_back(&news);
        assert_eq!(notes.take_news(), news);
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        let mut notes = VisitorNotes::default();
        notes.saw(VisitorKind::Person, "ana", "", 0);
        for at in 1..=MAX_VISITORS as u64 + 10 {
            notes.saw(VisitorKind::TaskClient, &format!("c{at}"), "", at);
        }
        let mut all = notes.all();
        all.retain(|one| one.kind == VisitorKind::TaskClient);
        assert_eq!(all.len(), MAX_VISITORS);
        assert_eq!(all.iter().map(|one| one.last_seen_ms).min(), Some(11));
        let people = notes.take_news();
        let person = people.iter().find(|one| one.kind == VisitorKind::Person);
        assert_eq!(person.map(|one| &*one.name), Some("ana"));
        notes.saw(VisitorKind::Person, &"x\nü".repeat(1000), "", 5000);
        let news = notes.take_news();
        let long = news.iter().find(|one| one.kind == VisitorKind::Person);
        let name = &long.unwrap().name;
        assert!((MAX_NAME - 3..=MAX_NAME).contains(&name.len()), "{name}");
        assert!(clean::is_line(name));
        let longest = "w".repeat(directory::MAX_NAME);
        notes.saw(VisitorKind::Worker, &longest, "", 5000);
        assert!(notes.take_news().iter().any(|one| one.name == longest));
    }

    #[test]
    fn a_worker_that_stays_is_news_once_a_minute() {
        let mut notes = VisitorNotes::default();
        let mut news = |place: &str, at_ms| {
            notes.saw(VisitorKind::Worker, "w1", place, at_ms);
            notes.take_news().len()
        };
        assert_eq!(news("h:1", 1_000), 1);
        assert_eq!(news("h:1", 6_000), 0);
        assert_eq!(news("h:2", 11_000), 1);
        assert_eq!(news("h:2", 70_000), 0);
        assert_eq!(news("h:2", 71_000), 1);
    }

    #[test]
    fn who_is_seen_again_stays_where_it_was() {
        let mut notes = VisitorNotes::default();
        notes.saw_again(VisitorKind::Person, "ana", 5);
        assert_eq!(notes.all(), []);
        notes.saw(VisitorKind::Person, "ana", "h1", 10);
        notes.take_news();
        notes.saw_again(VisitorKind::Person, "ana", 20);
        let news = notes.take_news();
        assert_eq!((&*news[0].place, news[0].last_seen_ms), ("h1", 20));
    }
}
