//! What was seen since the start, without I/O and clocks. A bounded number is noted.

use pyroxene_common::{
    clean,
    interfaces::visitors::{MAX_NAME, MAX_VISITORS, Visitor, VisitorKind},
};
use std::{borrow::Cow, collections::HashMap};

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
        of_kind.insert(name.into_owned(), note);
        self.make_room();
    }

    /// Forgets whoever was not seen for the longest time, if there are too many.
    fn make_room(&mut self) {
        if self.0.values().map(HashMap::len).sum::<usize>() <= MAX_VISITORS {
            return;
        }
        let all = self.0.iter().flat_map(|(kind, notes)| {
            let notes = notes.iter();
            notes.map(|(name, note)| (note.last_ms, *kind, name))
        });
        let oldest = all.min().map(|(_, kind, name)| (kind, name.clone()));
        if let Some((kind, name)) = oldest
            && let Some(notes) = self.0.get_mut(&kind)
        {
            notes.remove(&name);
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
    let cleaned = clean::line(text);
    Cow::Owned(cleaned.chars().take(MAX_NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for at in 0..MAX_VISITORS as u64 + 10 {
            notes.saw(VisitorKind::TaskClient, &format!("c{at}"), "", at);
        }
        let all = notes.all();
        assert_eq!(all.len(), MAX_VISITORS);
        assert_eq!(all.iter().map(|one| one.last_seen_ms).min(), Some(10));
        notes.saw(VisitorKind::Person, &"x\ny".repeat(1000), "", 5000);
        let news = notes.take_news();
        let long = news.iter().find(|one| one.kind == VisitorKind::Person);
        let name = &long.unwrap().name;
        assert_eq!(name.chars().count(), MAX_NAME);
        assert!(clean::is_line(name));
    }
}
