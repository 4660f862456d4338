//! The initial corpus: real messages, and some that only an attacker sends.

mod answers;
mod calls;
mod frames;
mod hello;
mod tickets;

/// An input of the initial corpus.
#[derive(Debug)]
pub struct Seed {
    /// The target.
    pub target: &'static str,
    /// The name of its file. It begins with [`HOSTILE`](crate::runner::HOSTILE) if the target has to refuse
    /// the input.
    pub name: &'static str,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All seeds.
pub fn all() -> Vec<Seed> {
    let targets = [
        ("answers", answers::seeds()),
        ("frames", frames::seeds()),
        ("hello", hello::seeds()),
        ("json", calls::json()),
        ("requests", calls::requests()),
        ("tickets", tickets::seeds()),
    ];
    let seeds = targets.into_iter().flat_map(|(target, seeds)| {
        seeds.into_iter().map(move |(name, bytes)| Seed {
            target,
            name,
            bytes,
        })
    });
    seeds.collect()
}

/// The names and inputs of one target's seeds.
type Seeds = Vec<(&'static str, Vec<u8>)>;
