//! Which file of a crate imports which, as its `use` lines and paths say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A module, as the segments of its path below the crate.
pub(crate) type Module = Vec<String>;

/// Each module of a crate with those that it imports from. Its unit tests do not count.
pub(crate) type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// Reads the files below `src`, the folder of a crate's code.
pub(crate) fn read(src: &Path) -> Imports {
    let mut files = BTreeMap::new();
    find(src, &mut Vec::new(), &mut files);
    let modules: BTreeSet<Module> = files.keys().cloned().collect();
    files
        .iter()
        .map(|(module, text)| {
            let imported = paths(&code_of(text))
                .iter()
                .filter_map(|path| resolve(path, module, &modules))
                .filter(|imported| imported != module)
                .collect();
            (module.clone(), imported)
        })
        .collect()
}

/// The circles of files: those from which imports lead back to themselves. A module and the modules
/// within it are one in this.
pub(crate) fn circles(imports: &Imports) -> Vec<BTreeSet<Module>> {
    let next = |module: &Module| -> Vec<Module> {
        let others = imports.get(module).into_iter().flatten();
        let apart = |other: &&Module| !other.starts_with(module) && !module.starts_with(other);
        others.filter(apart).cloned().collect()
    };
    let reached: BTreeMap<&Module, BTreeSet<Module>> = imports
        .keys()
        .map(|from| {
            let (mut seen, mut ahead) = (BTreeSet::new(), next(from));
            while let Some(module) = ahead.pop() {
                if seen.insert(module.clone()) {
                    ahead.extend(next(&module));
                }
            }
            (from, seen)
        })
        .collect();
    let mut found: BTreeSet<BTreeSet<Module>> = BTreeSet::new();
    for (from, there) in &reached {
        if there.contains(*from) {
            let back = |module: &&Module| reached.get(module).is_some_and(|r| r.contains(*from));
            found.insert(there.iter().filter(back).cloned().collect());
        }
    }
    found.into_iter().collect()
}

fn find(folder: &Path, prefix: &mut Module, files: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            prefix.push(stem);
            find(&path, prefix, files);
            prefix.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "tests" {
            let mut module = prefix.clone();
            if !["lib", "main"].contains(&stem.as_str()) {
                module.push(stem);
            }
            files.insert(module, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The text without comments and without the unit tests, which stand last.
fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let without_comment = |line: &str| line.split("//").next().unwrap().to_owned();
    text.lines()
        .map(without_comment)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Every path that a `use` names, and every other path that begins at this crate.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let at = statement.find("use ").filter(|at| {
            let before = statement[..*at].chars().next_back();
            before.is_none_or(|character| character.is_whitespace() || character == ')')
        });
        match at {
            Some(at) => {
                rest.push_str(&statement[..at]);
                tree(&[], statement[at + 4..].trim_end_matches(';'), &mut paths);
            }
            None => rest.push_str(statement),
        }
    }
    let is_part = |character: char| character.is_alphanumeric() || "_:$".contains(character);
    for word in rest.split(|character| !is_part(character)) {
        if ["crate::", "super::", "self::"]
            .iter()
            .any(|start| word.starts_with(start))
        {
            paths.push(segments(word));
        }
    }
    paths
}

/// Takes `a::{b, c::d}` apart.
fn tree(prefix: &[String], text: &str, paths: &mut Vec<Vec<String>>) {
    let mut depth = 0;
    let parts = text.split(|character| {
        depth += i32::from(character == '{') - i32::from(character == '}');
        character == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let (head, inner) = part.split_once('{').map_or((part, None), |(head, inner)| {
            (head, Some(inner.rsplit_once('}').unwrap_or((inner, "")).0))
        });
        let head = head.split(" as ").next().unwrap();
        let mut path = prefix.to_vec();
        path.extend(segments(head));
        match inner {
            Some(inner) => tree(&path, inner, paths),
            None => paths.push(path),
        }
    }
}

fn segments(path: &str) -> Vec<String> {
    let parts = path.split("::").map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The module of this crate that a path leads to, if it is one of this crate.
fn resolve(path: &[String], from: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut full = match path.first()?.as_str() {
        "crate" => path[1..].to_vec(),
        "self" => [from, &path[1..]].concat(),
        "super" => {
            let up = path
                .iter()
                .take_while(|segment| *segment == "super")
                .count();
            [&from[..from.len().checked_sub(up)?], &path[up..]].concat()
        }
        _ => {
            let within = [from.as_slice(), path].concat();
            let names_a_child = modules.contains(&within[..=from.len()]);
            names_a_child.then_some(within)?
        }
    };
    while !full.is_empty() && !modules.contains(&full) {
        full.pop();
    }
    (!full.is_empty()).then_some(full)
}
