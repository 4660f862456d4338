//! The corpus to begin with: real messages, and some that only an enemy sends.

mod answers;
mod calls;
mod frames;
mod hello;
mod tickets;

/// An input to begin with.
#[derive(Debug)]
pub struct Seed {
    /// The target that it is for.
    pub target: &'static str,
    /// The name of its file. It begins with [`HOSTILE`](crate::runner::HOSTILE) if it is to be
    /// refused.
    pub name: &'static str,
    /// What the target is fed.
    pub bytes: Vec<u8>,
}

/// All of them.
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

/// The names and bytes of one target's.
type Seeds = Vec<(&'static str, Vec<u8>)>;
