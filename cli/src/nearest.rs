//! Finds the known name that is most similar to a mistyped one.

/// The name that is most similar to `word`, if it is similar enough for a typing mistake.
pub(crate) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    names
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["factorial", "fibonacci", "sum"];
        let nearest = |word| nearest(word, names.into_iter());
        assert_eq!(nearest("factrial"), Some("factorial"));
        assert_eq!(nearest("fibonaci"), Some("fibonacci"));
        assert_eq!(nearest("smu"), Some("sum"));
        assert_eq!(nearest("multiply"), None);
        assert_eq!(nearest("x"), None);
    }
}
