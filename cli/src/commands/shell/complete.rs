//! Completes the words of a line.

use super::{
    command::{CommandSpec, Operand, SPECS, ShellSubmit, spec},
    words::{ShellWord, quoted, scan},
};
use clap::CommandFactory;
use pyroxene_common::{clean, interface::MethodDescription};

/// The names for completion.
pub(super) trait Vocabulary {
    fn objects(&self) -> Vec<String>;
    fn methods(&self, object: &str) -> Vec<MethodDescription>;
    fn workers(&self) -> Vec<String>;
    fn members(&self) -> Vec<String>;
    fn tasks(&self) -> Vec<String>;
    /// The files whose paths begin with `beginning`; directories end with a slash.
    fn files(&self, beginning: &str) -> Vec<String>;
}

/// Completes the word at the end of a line. Returns the position where it begins, and the candidates.
pub(super) fn complete(line: &str, vocabulary: &impl Vocabulary) -> (usize, Vec<String>) {
    let mut words = scan(line).words;
    // A word with a blank after it is finished.
    let current = words
        .pop_if(|word| word.end == line.len())
        .unwrap_or_else(|| ShellWord {
            text: String::new(),
            start: line.len(),
            end: line.len(),
        });
    let beginning = current.text.as_str();
    let candidates = match words.split_first() {
        None if line.trim_start().starts_with('/') => {
            let names = SPECS.iter().map(|spec| spec.name.to_owned());
            starting_with(beginning, names, CompletionSuffix::Blank)
        }
        None => Vec::new(),
        Some((name, before)) => match spec(&name.text) {
            Some(spec) => operands(spec, before, beginning, vocabulary),
            None => Vec::new(),
        },
    };
    (current.start, candidates)
}

/// The text after a completed word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CompletionSuffix {
    Blank,
    Nothing,
}

fn starting_with(
    beginning: &str,
    names: impl IntoIterator<Item = String>,
    end: CompletionSuffix,
) -> Vec<String> {
    let mut found: Vec<String> = names
        .into_iter()
        // The editor shows candidates without cleaning them.
        .filter(|name| name.starts_with(beginning) && clean::line(name) == name.as_str())
        .map(|name| match end {
            CompletionSuffix::Blank => quoted(&name) + " ",
            CompletionSuffix::Nothing => quoted(&name),
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn operands(
    spec: &CommandSpec,
    before: &[ShellWord],
    beginning: &str,
    vocabulary: &impl Vocabulary,
) -> Vec<String> {
    let takes_options = spec.name == "/submit";
    let before: Vec<&str> = before.iter().map(|word| word.text.as_str()).collect();
    let (before, option) = match takes_options {
        true => without_options(&before),
        false => (before, None),
    };
    match option {
        Some("--worker") => {
            return starting_with(beginning, vocabulary.workers(), CompletionSuffix::Blank);
        }
        Some(_) => return Vec::new(),
        None if takes_options && beginning.starts_with('-') => {
            return starting_with(
                beginning,
                options().into_iter().map(|(name, _)| name),
                CompletionSuffix::Blank,
            );
        }
        None => {}
    }
    let operand = spec.operands.get(before.len()).or(spec.operands.last());
    let repeats = matches!(
        spec.operands.last(),
        Some(Operand::Arguments | Operand::Task)
    );
    if before.len() >= spec.operands.len() && !repeats {
        return Vec::new();
    }
    let names = match operand {
        Some(Operand::Object) => vocabulary.objects(),
        Some(Operand::Method(object)) => {
            let object = object.or(before.first().copied()).unwrap_or_default();
            let methods = vocabulary.methods(object).into_iter();
            methods.map(|method| method.name).collect()
        }
        Some(Operand::Arguments) => return arguments(spec, &before, beginning, vocabulary),
        Some(Operand::Task) => {
            let tasks = vocabulary.tasks().into_iter();
            tasks.filter(|id| !before.contains(&id.as_str())).collect()
        }
        Some(Operand::Member) => vocabulary.members(),
        Some(Operand::Command) => {
            let slash = if beginning.starts_with('/') { "" } else { "/" };
            let names = SPECS.iter().map(|spec| spec.name);
            names
                .map(|name| name.strip_prefix(slash).unwrap_or(name).to_owned())
                .collect()
        }
        Some(Operand::File) => {
            return starting_with(
                beginning,
                vocabulary.files(beginning),
                CompletionSuffix::Nothing,
            );
        }
        Some(Operand::Text) | None => Vec::new(),
    };
    starting_with(beginning, names, CompletionSuffix::Blank)
}

/// The parameters of the method that have no value yet, or the files for a value that begins with `@`.
fn arguments(
    spec: &CommandSpec,
    before: &[&str],
    beginning: &str,
    vocabulary: &impl Vocabulary,
) -> Vec<String> {
    let value = beginning
        .split_once('=')
        .map_or(beginning, |(_, value)| value);
    if let Some(path) = value.strip_prefix('@') {
        let begins = beginning.strip_suffix(path).unwrap_or_default();
        let files = vocabulary.files(path).into_iter();
        let files = files.map(|file| format!("{begins}{file}"));
        return starting_with(beginning, files, CompletionSuffix::Nothing);
    }
    let fixed = spec.operands.iter().find_map(|operand| match operand {
        Operand::Method(object) => *object,
        _ => None,
    });
    let mut words = before.iter().copied();
    let object = fixed.or_else(|| words.next()).unwrap_or_default();
    let method = words.next().unwrap_or_default();
    let given: Vec<&str> = words
        .filter_map(|word| word.split_once('=').map(|(name, _)| name))
        .collect();
    let methods = vocabulary.methods(object);
    let Some(method) = methods.into_iter().find(|known| known.name == method) else {
        return Vec::new();
    };
    let names = method.parameters.into_iter().map(|known| known.name);
    let free = names.filter(|name| !given.contains(&name.as_str()));
    starting_with(
        beginning,
        free.map(|name| name + "="),
        CompletionSuffix::Nothing,
    )
}

/// The words that are not options, and the option whose value comes next, if any.
fn without_options<'a>(words: &[&'a str]) -> (Vec<&'a str>, Option<&'a str>) {
    let options = options();
    let mut kept = Vec::new();
    let mut waiting = None;
    for &word in words {
        if waiting.take().is_some() {
            continue;
        }
        match options.iter().find(|(name, _)| name == word) {
            Some((_, true)) => waiting = Some(word),
            Some((_, false)) => {}
            None if word.starts_with("--") => {}
            None => kept.push(word),
        }
    }
    (kept, waiting)
}

/// The options of `/submit`, and whether each takes a value.
fn options() -> Vec<(String, bool)> {
    let command = ShellSubmit::command();
    let named = command.get_arguments().filter_map(|argument| {
        let name = argument.get_long()?;
        Some((format!("--{name}"), argument.get_action().takes_values()))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Names;

    impl Vocabulary for Names {
        fn objects(&self) -> Vec<String> {
            ["calculator", "echo", "my object", "cache"]
                .map(str::to_owned)
                .to_vec()
        }

        fn methods(&self, object: &str) -> Vec<MethodDescription> {
            let method = |name: &str, parameters: &[&str]| {
                let parameters: Vec<_> = parameters
                    .iter()
                    .map(|name| json!({"name": name, "schema": true}))
                    .collect();
                serde_json::from_value(json!({
                    "name": name, "doc": "", "repeatable": true, "fallible": false,
                    "parameters": parameters, "result": true,
                }))
                .unwrap()
            };
            match object {
                "calculator" => vec![
                    method("factorial", &["n"]),
                    method("fibonacci", &["n"]),
                    method("matrix_multiply", &["a", "b"]),
                ],
                "text" => vec![method("reverse", &["text"])],
                _ => Vec::new(),
            }
        }

        fn workers(&self) -> Vec<String> {
            vec!["w1".to_owned(), "w2".to_owned()]
        }

        fn members(&self) -> Vec<String> {
            vec!["ana".to_owned(), "bo".to_owned()]
        }

        fn tasks(&self) -> Vec<String> {
            vec!["0193-a".to_owned(), "0193-b".to_owned()]
        }

        fn files(&self, beginning: &str) -> Vec<String> {
            let files = ["tasks.txt", "two words.txt", "dir/"].map(str::to_owned);
            let found = files.into_iter().filter(|file| file.starts_with(beginning));
            found.collect()
        }
    }

    fn of(line: &str) -> Vec<String> {
        complete(line, &Names).1
    }

    #[test]
    fn commands_are_completed() {
        assert_eq!(of("/ca"), ["/calculate ", "/call ", "/cancel "]);
        assert_eq!(of("  /wo"), ["/workers "]);
        assert_eq!(complete("  /wo", &Names).0, 2);
        assert_eq!(of("/").len(), SPECS.len());
        assert_eq!(of("/teapot"), [""; 0]);
        assert_eq!(of("hello ca"), [""; 0]);
        assert_eq!(of(""), [""; 0]);
        assert_eq!(of("/help wo"), ["workers "]);
        assert_eq!(of("/help /wo"), ["/workers "]);
    }

    #[test]
    fn objects_methods_and_parameters_are_completed() {
        assert_eq!(of("/call ca"), ["cache ", "calculator "]);
        assert_eq!(of("/describe my"), ["'my object' "]);
        assert_eq!(of("/describe 'my o"), ["'my object' "]);
        assert_eq!(complete("/describe 'my o", &Names).0, 10);
        assert_eq!(of("/call calculator f"), ["factorial ", "fibonacci "]);
        assert_eq!(of("/call calculator matrix_multiply "), ["a=", "b="]);
        assert_eq!(of("/call calculator matrix_multiply a=[[1, 2]] "), ["b="]);
        assert_eq!(of("/calculate fa"), ["factorial "]);
        assert_eq!(of("/calculate factorial "), ["n="]);
        assert_eq!(of("/text rev"), ["reverse "]);
        assert_eq!(of("/text reverse te"), [""; 0]);
        assert_eq!(of("/call teapot "), [""; 0]);
        assert_eq!(of("/describe echo "), [""; 0]);
        assert_eq!(of("/workers "), [""; 0]);
    }

    #[test]
    fn options_do_not_count_as_words() {
        assert_eq!(of("/submit --wor"), ["--worker "]);
        assert_eq!(of("/submit --worker "), ["w1 ", "w2 "]);
        assert_eq!(of("/submit --times 5 ec"), ["echo "]);
        assert_eq!(of("/submit --times "), [""; 0]);
        assert_eq!(
            of("/submit --quiet --worker w1 calculator fa"),
            ["factorial "]
        );
        assert_eq!(of("/submit calculator factorial "), ["n="]);
    }

    #[test]
    fn members_tasks_and_files_are_completed() {
        assert_eq!(of("/msg a"), ["ana "]);
        assert_eq!(of("/msg ana a"), [""; 0]);
        assert_eq!(of("/cancel 0193"), ["0193-a ", "0193-b "]);
        assert_eq!(of("/cancel 0193-a 0"), ["0193-b "]);
        assert_eq!(of("/submit-file t"), ["'two words.txt'", "tasks.txt"]);
        assert_eq!(of("/submit-file di"), ["dir/"]);
        assert_eq!(of("/call text reverse text=@ta"), ["text=@tasks.txt"]);
    }
}
