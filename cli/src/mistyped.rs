//! Detects commands without their slash, where any other line is sent to all.
//!
//! A line that was not meant for everybody is worse than a sentence that has to be repeated with `/say`. So a line
//! that looks like a private message is never sent, and any other line is a command if its first word is
//! similar to the name of one and the rest of it could be that command's operands.

/// A command that a line may be meant as.
#[derive(Clone, Debug)]
pub(crate) struct CommandForm {
    /// Its name, without the slash.
    pub(crate) name: &'static str,
    /// What may follow it.
    pub(crate) operand: FirstOperand,
}

/// The kind of the first word after a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstOperand {
    /// There is none.
    Nothing,
    /// A member, to whom the rest of the line is sent.
    Receiver,
    /// An object.
    Object,
    /// One of these methods.
    Method(Vec<String>),
    /// The id of a task.
    Task,
    /// A command.
    Command,
    /// A file. The name of such a command is no ordinary word.
    File,
    /// What is sent to all. Nothing is lost if the line is sent to all as it is.
    Text,
}

/// The names that an operand can have.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownNames {
    pub(crate) members: Vec<String>,
    pub(crate) objects: Vec<String>,
}

/// The name of the command for private messages.
const PRIVATE: &str = "msg";

/// The words by which other programs are left, asked for help or for the members, or send a private message.
const OTHER_WORDS: [(&str, &[&str]); 5] = [
    ("quit", &["exit", "bye", "q", "wq", "logout"]),
    ("help", &["?", "h"]),
    ("list", &["who", "members", "names", "users"]),
    ("results", &["tasks", "tasks list"]),
    (PRIVATE, &["pm", "dm", "w", "whisper", "message", "query"]),
];

/// Words that are similar to the name of a command, and that people say.
const ORDINARY_WORDS: &[&str] = &[
    "all", "ask", "ball", "day", "gsm", "hall", "has", "hay", "held", "hell", "helps", "last",
    "lit", "lost", "mag", "may", "meg", "ms", "msgs", "mug", "next", "pay", "quiet", "quite",
    "said", "sad", "stay", "suit", "tall", "test", "texts", "wall", "want", "way", "well",
    "worked",
];

/// The command that a line was probably meant as. The line does not begin with a slash.
pub(crate) fn intended_command(
    line: &str,
    commands: &[CommandForm],
    known: &KnownNames,
) -> Option<&'static str> {
    let line = line.trim().to_lowercase();
    let is_command = |name: &str| commands.iter().find(|command| command.name == name);
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let rest: Vec<&str> = words.collect();
    let bare = without_sign(&line);
    for (name, others) in OTHER_WORDS {
        let Some(command) = is_command(name) else {
            continue;
        };
        let is_whole_line = others.contains(&line.as_str()) || others.contains(&bare);
        let is_private = name == PRIVATE
            && others.contains(&letters(first))
            && rest.first().is_some_and(|next| known.is_member(next));
        if is_private || is_whole_line && name != PRIVATE {
            return Some(command.name);
        }
    }
    if let Some(private) = is_command(PRIVATE)
        && looks_private(letters(first), &rest, known)
    {
        return Some(private.name);
    }
    let similar = commands
        .iter()
        .map(|command| (distance(letters(first), command.name), command))
        .filter(|(distance, command)| *distance <= allowed(letters(first), command.name))
        .min_by_key(|(distance, _)| *distance);
    let (distance, command) = similar?;
    let has_sign = without_sign(first) != first;
    let is_ordinary = ORDINARY_WORDS.contains(&letters(first)) && distance > 0;
    let could_be = rest.is_empty() || has_sign || command.takes(&rest, commands, known);
    (could_be && (has_sign || !is_ordinary)).then_some(command.name)
}

/// The signs that stand for the slash by mistake, or in other programs.
const LEADING_SIGNS: [char; 4] = ['\\', '.', ':', '!'];

/// A text without the one sign before its first letter.
fn without_sign(text: &str) -> &str {
    let bare = text.strip_prefix(LEADING_SIGNS).unwrap_or(text);
    match bare.starts_with(char::is_alphanumeric) {
        true => bare,
        false => text,
    }
}

/// A word without the signs around it.
fn letters(word: &str) -> &str {
    word.trim_matches(|character: char| !character.is_alphanumeric())
}

/// The largest distance between a word and a command's name that counts as mistyped.
fn allowed(word: &str, name: &str) -> usize {
    /// In a word of this length two mistakes are likely.
    const LONG: usize = 6;
    match word.chars().count().min(name.len()) {
        ..LONG => 1,
        LONG.. => 2,
    }
}

/// The number of typing mistakes between two words. Letters in another order are one mistake.
fn distance(word: &str, name: &str) -> usize {
    match sorted(word) == sorted(name) {
        true => usize::from(word != name),
        false => strsim::damerau_levenshtein(word, name),
    }
}

fn sorted(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// Whether a line that begins with this word looks like a private message: `mgs ana …` or `msgana …`.
fn looks_private(word: &str, rest: &[&str], known: &KnownNames) -> bool {
    if ORDINARY_WORDS.contains(&word) {
        return rest.first().is_some_and(|next| known.is_member(next));
    }
    /// No ordinary word begins so.
    const BEGINNINGS: [&str; 3] = [PRIVATE, "mgs", "smg"];
    BEGINNINGS
        .iter()
        .any(|beginning| word.starts_with(beginning))
        || distance(word, PRIVATE) <= 1
        || known.members.iter().any(|member| {
            let member = member.to_lowercase();
            let typed = word.strip_suffix(member.as_str());
            typed.is_some_and(|typed| distance(typed, PRIVATE) <= 1)
        })
}

impl CommandForm {
    /// Whether these words, which are at least one, could be the operands of this command.
    fn takes(&self, rest: &[&str], commands: &[Self], known: &KnownNames) -> bool {
        let [first, others @ ..] = rest else {
            return true;
        };
        if self.operand == FirstOperand::Text {
            return false;
        }
        if first.starts_with("--") || rest.iter().any(|word| is_assignment(word)) {
            return true;
        }
        match &self.operand {
            FirstOperand::Receiver | FirstOperand::File => true,
            FirstOperand::Object => known
                .objects
                .iter()
                .any(|object| object.to_lowercase() == *first),
            FirstOperand::Method(methods) => methods.iter().any(|method| method == first),
            FirstOperand::Task => is_task_id(first),
            FirstOperand::Command => {
                let name = first.trim_start_matches('/');
                others.is_empty() && commands.iter().any(|command| command.name == name)
            }
            FirstOperand::Nothing | FirstOperand::Text => {
                others.is_empty() && (known.is_member(first) || first.parse::<u32>().is_ok())
            }
        }
    }
}

impl KnownNames {
    fn is_member(&self, word: &str) -> bool {
        let is = |word: &str| {
            self.members
                .iter()
                .any(|member| member.to_lowercase() == word)
        };
        is(word) || is(letters(word))
    }
}

/// Whether a word is `NAME=VALUE`.
fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Whether a word could be the beginning of a task's id.
fn is_task_id(word: &str) -> bool {
    word.len() >= 4
        && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
        && word.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> [CommandForm; 12] {
        let form = |name, operand| CommandForm { name, operand };
        [
            form("list", FirstOperand::Nothing),
            form("msg", FirstOperand::Receiver),
            form("say", FirstOperand::Text),
            form("history", FirstOperand::Nothing),
            form("workers", FirstOperand::Nothing),
            form("describe", FirstOperand::Object),
            form(
                "calculate",
                FirstOperand::Method(owned(&["factorial", "sum"])),
            ),
            form("submit", FirstOperand::Object),
            form("results", FirstOperand::Task),
            form("wait", FirstOperand::Nothing),
            form("help", FirstOperand::Command),
            form("quit", FirstOperand::Nothing),
        ]
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn meant(line: &str) -> Option<&'static str> {
        let known = KnownNames {
            members: owned(&["s60", "Bob", "things"]),
            objects: owned(&["calculator", "echo"]),
        };
        intended_command(line, &commands(), &known)
    }

    #[test]
    fn a_command_without_its_slash_is_recognised() {
        for (line, command) in [
            ("list", "list"),
            ("List", "list"),
            ("\\list", "list"),
            (".list", "list"),
            (":lsit now", "list"),
            ("list bob", "list"),
            ("quit", "quit"),
            ("help quit", "help"),
            ("history 5", "history"),
            ("submit calculator factorial 30", "submit"),
            ("submit teapot brew cups=3", "submit"),
            ("submit --times 3 teapot brew", "submit"),
            ("results 0193a2", "results"),
        ] {
            assert_eq!(meant(line), Some(command), "{line}");
        }
    }

    #[test]
    fn a_mistyped_command_is_recognised() {
        for (line, command) in [
            ("lis", "list"),
            ("lsit", "list"),
            ("lsit s60", "list"),
            ("qit", "quit"),
            ("quti", "quit"),
            ("quitt", "quit"),
            ("hlp", "help"),
            ("workrs", "workers"),
            ("worker", "workers"),
            ("sumbit calculator factorial 30", "submit"),
            ("calcualte factorial 5", "calculate"),
            ("descirbe calculator", "describe"),
        ] {
            assert_eq!(meant(line), Some(command), "{line}");
        }
    }

    #[test]
    fn the_words_of_other_programs_are_recognised() {
        for (line, command) in [
            ("exit", "quit"),
            ("EXIT", "quit"),
            ("bye", "quit"),
            ("q", "quit"),
            (":q", "quit"),
            ("?", "help"),
            ("who", "list"),
            ("members", "list"),
            ("tasks list", "results"),
        ] {
            assert_eq!(meant(line), Some(command), "{line}");
        }
    }

    #[test]
    fn what_looks_like_a_private_message_is_never_said_to_everybody() {
        for line in [
            "msg bob hello",
            "msg stranger hello",
            "mgs s60 my secret",
            "gms s60 my secret",
            "mg s60 my secret",
            "ms Bob, my secret",
            "msgs bob my secret",
            "msgs60 secret",
            "mgss60 secret",
            "mgbob secret",
            "msg:bob secret",
            "Msg, bob secret",
            ":msg bob secret",
            "pm bob secret",
            "mesg someone secret",
        ] {
            assert_eq!(meant(line), Some("msg"), "{line}");
        }
    }

    #[test]
    fn ordinary_sentences_are_said() {
        for line in [
            "hello",
            "a list",
            "list of things we need",
            "list 5 things we need",
            "who is there?",
            "exit is on the left",
            "help me, please",
            "help, I am lost",
            "quite right",
            "quite",
            "quit smoking!",
            "say, where is Bob?",
            "wait for Bob",
            "wait 5 minutes",
            "submit your forms today",
            "describe it",
            "worker w1 is dead",
            "history repeats itself",
            "results are in",
            "calculate the sum",
            "msgs are slow today",
            "ms Smith is here",
            "Meg, are you there?",
            "...quite",
            "message received",
            "slit your",
            "test",
            ":-)",
            "",
        ] {
            assert_eq!(meant(line), None, "{line}");
        }
    }
}
