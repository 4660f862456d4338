//! Detects commands without their slash, where any other line is sent to all.

/// The command that a line was probably meant as: one of `commands` without its slash, with another sign
/// instead, or with letters in another order. `commands` have no slash.
pub(crate) fn intended_command<'c>(
    line: &str,
    commands: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let (word, rest) = match line.trim().split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest),
        None => (line.trim(), ""),
    };
    let letters = word.trim_matches(|c: char| !c.is_alphanumeric());
    let has_sign = letters != word;
    commands.into_iter().find(|command| {
        letters.eq_ignore_ascii_case(command)
            || (has_sign || rest.is_empty()) && sorted(letters) == sorted(command)
    })
}

fn sorted(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.to_lowercase().chars().collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_its_slash_is_recognised() {
        let meant = |line| intended_command(line, ["list", "quit", "msg"]);
        for line in [
            "list",
            "List",
            "lsit",
            "\\list",
            ".list",
            ":lsit now",
            "list bob",
        ] {
            assert_eq!(meant(line), Some("list"), "{line}");
        }
        assert_eq!(meant("msg bob hello"), Some("msg"));
        for line in ["hello", "a list", "lists", "quite right", "", "slit your"] {
            assert_eq!(meant(line), None, "{line}");
        }
    }
}
