use super::*;
use proptest::prelude::*;

/// What a terminal must never be sent: controls, bidirectional controls, invisible characters.
const HOSTILE: &str = "\u{1b}\u{7}\u{8}\r\u{7f}\u{9b}\u{85}\u{2028}\u{2029}\u{61c}\u{200b}\u{200e}\
                       \u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2066}\u{2067}\
                       \u{2068}\u{2069}\u{feff}\u{ad}\u{e0041}";

#[test]
fn a_line_has_neither_escapes_nor_breaks() {
    assert_eq!(line("a\tb\nc\r"), r"a\tb\nc\r");
    assert_eq!(
        line("\x1b[2J\x1b]0;pwned\x07"),
        r"\u{1b}[2J\u{1b}]0;pwned\u{7}"
    );
    assert_eq!(line("\u{202e}txt.exe\u{2069}"), r"\u{202e}txt.exe\u{2069}");
    assert_eq!(line("\u{9b}2J\u{85}\u{2028}"), r"\u{9b}2J\u{85}\u{2028}");
}

#[test]
fn a_text_keeps_its_lines_and_its_letters() {
    assert_eq!(lines("a\tb\nc\rd\x1b[m"), "a\tb\nc\\rd\\u{1b}[m");
    for text in [
        "größer 日本 \u{1f600}",
        "می\u{200c}خواهم",
        "\u{1f468}\u{200d}\u{1f469}",
        "e\u{301}",
    ] {
        assert!(matches!(line(text), Cow::Borrowed(_)), "{text}");
        assert!(matches!(lines(text), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn no_hostile_character_is_left() {
    for c in HOSTILE.chars() {
        let text = format!("a{c}b");
        assert!(!line(&text).contains(c), "{c:?}");
        assert!(!lines(&text).contains(c), "{c:?}");
        assert!(!json(&text).contains(c), "{c:?}");
        assert!(!is_word(&text), "{c:?}");
    }
}

#[test]
fn json_stays_the_same_value_on_one_line() {
    let value = serde_json::Value::String(HOSTILE.to_owned());
    let text = format!("[\r\n\t{value}\r]");
    let cleaned = json(&text);
    assert!(
        cleaned.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{cleaned}"
    );
    let read: Vec<String> = serde_json::from_str(&cleaned).unwrap();
    assert_eq!(read, [HOSTILE]);
}

#[test]
fn a_word_looks_like_itself() {
    for name in [
        "w1",
        "größe",
        "pyroxene:nameserver",
        "日本",
        "a/b.c-d_e",
        "\u{1f600}",
    ] {
        assert!(is_word(name), "{name}");
    }
    for name in [
        "",
        " ",
        "a b",
        "a\u{a0}b",
        "a\n",
        "admin\u{200d}",
        "admin\u{fe0f}",
        "admin\u{200b}",
    ] {
        assert!(!is_word(name), "{name:?}");
    }
}

proptest! {
    #[test]
    fn cleaning_twice_is_cleaning_once(text: String) {
        for clean in [line, lines, json] {
            let once = clean(&text).into_owned();
            prop_assert_eq!(clean(&once), once.as_str());
            prop_assert_eq!(lines(&once), once.as_str());
        }
    }
}
