//! Runs a target, and saves inputs that break it.

use crate::{
    mutate::{RandomNumbers, mutated},
    targets::Verdict,
};
use sha2::{Digest, Sha256};
use std::{
    cell::RefCell,
    env, fs,
    io::{Seek, Write},
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Once,
};

/// The number of new inputs, in the place of each target's own number.
pub const ITERATIONS: &str = "PYROXENE_FUZZ_ITERATIONS";
/// The seed of the new inputs.
pub const SEED: &str = "PYROXENE_FUZZ_SEED";
/// A file that is the only input.
pub const INPUT: &str = "PYROXENE_FUZZ_INPUT";

thread_local! {
    /// The message of the last panic on this thread, also if the panic was caught.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `target` with all inputs that are committed for it, then with new inputs: `iterations` of them unless
/// the environment sets another number. `scratch` is the folder for a copy of the current input, in case the
/// process ends with it.
///
/// # Panics
///
/// If the target, or anything that it calls on this thread, panics, also if that panic is caught. The input
/// is in `crashes/` then.
pub fn run(name: &str, scratch: &Path, iterations: u64, target: impl Fn(&[u8]) -> Verdict) {
    note_panics();
    let mut feeder = TargetRunner::new(name, scratch, target);
    if let Some(path) = env::var_os(INPUT) {
        let bytes = fs::read(&path).expect("the input cannot be read");
        eprintln!("{name}: {:?}", feeder.feed(&bytes));
        return;
    }
    let mut corpus = files(&committed("corpus", name));
    assert!(!corpus.is_empty(), "there is no corpus for {name}");
    for (file, bytes) in &corpus {
        let expected = match file.starts_with(HOSTILE) {
            true => Verdict::Refused,
            false => Verdict::Accepted,
        };
        assert_eq!(feeder.feed(bytes), expected, "{name}: corpus file {file}");
    }
    let crashes = files(&committed("crashes", name));
    for (_, bytes) in &crashes {
        feeder.feed(bytes);
    }
    corpus.extend(crashes);
    let corpus: Vec<_> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
    let mut numbers = RandomNumbers::new(from_environment(SEED).unwrap_or(1));
    let iterations = from_environment(ITERATIONS).unwrap_or(iterations);
    let mut accepted = 0_u64;
    for _ in 0..iterations {
        let verdict = feeder.feed(&mutated(&corpus, &mut numbers));
        accepted += u64::from(verdict == Verdict::Accepted);
    }
    eprintln!("{name}: {iterations} new inputs, {accepted} of them accepted");
    feeder.finish();
}

/// The prefix of the names of those files in a corpus that have to be refused.
pub const HOSTILE: &str = "hostile-";

/// The folder of the committed inputs of a kind (`corpus` or `crashes`) for a target.
pub fn committed(kind: &str, target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), kind, target].iter().collect()
}

fn from_environment(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// The files of a folder by name; none if there is no such folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    files.sort();
    files
}

/// Records every panic, also those that a runtime or a server catches.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANIC.with(|panic| *panic.borrow_mut() = Some(info.to_string()));
            before(info);
        }));
    });
}

struct TargetRunner<'a, T> {
    name: &'a str,
    target: T,
    running: fs::File,
    running_path: PathBuf,
}

impl<'a, T: Fn(&[u8]) -> Verdict> TargetRunner<'a, T> {
    fn new(name: &'a str, scratch: &Path, target: T) -> Self {
        let running_path = scratch.join(format!("{name}.running"));
        Self {
            name,
            target,
            running: fs::File::create(&running_path).unwrap(),
            running_path,
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Verdict {
        self.keep(bytes);
        PANIC.with(|panic| panic.take());
        let verdict = catch_unwind(AssertUnwindSafe(|| (self.target)(bytes)));
        match (verdict, PANIC.with(|panic| panic.take())) {
            (Ok(verdict), None) => verdict,
            (_, said) => self.broken(bytes, &said.unwrap_or_default()),
        }
    }

    /// Saves the input in a file, because a stack overflow ends the process.
    fn keep(&mut self, bytes: &[u8]) {
        self.running.rewind().unwrap();
        self.running.set_len(0).unwrap();
        self.running.write_all(bytes).unwrap();
    }

    fn broken(&self, bytes: &[u8], said: &str) -> ! {
        // The name is derived from the content, because the file is committed: the same input always has the
        // same name.
        let hash = Sha256::digest(bytes);
        let name: String = hash
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let folder = committed("crashes", self.name);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        let (name, path) = (self.name, path.display());
        panic!(
            "{name}: an input of {} bytes broke it: {said}\n\
             To run it alone: {INPUT}={path} cargo test -p pyroxene-fuzz {name}\n\
             Once it is mended, commit that file.",
            bytes.len()
        );
    }

    fn finish(self) {
        fs::remove_file(&self.running_path).unwrap();
    }
}
