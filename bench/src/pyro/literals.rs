//! How long it takes to read a literal, and how that grows with its length.

use std::time::{Duration, Instant};

use anyhow::Result;
use pyroxene_pyro::serializer::Serializer;

use crate::figure::{Figure, FigureTarget, Figures};

const SMALL: usize = 8 << 20;
const LARGE: usize = 64 << 20;

/// What the literals are made of: how they open, what is repeated, how they close.
const LITERALS: [(&str, &str, &str, &str); 4] = [
    ("a text", "'", "0123456789abcdef", "'"),
    ("a text of escapes", "'", "\\x41", "'"),
    ("a list of integers", "[", "123456789012345678,", "]"),
    ("a list of texts", "[", "'0123456789abcdef',", "]"),
];

/// The time in which a literal of so many bytes is read, at best.
fn read(open: &str, part: &str, close: &str, size: usize) -> Result<Duration> {
    const ROUNDS: usize = 3;
    let text = format!("{open}{}{close}", part.repeat(size / part.len()));
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let value = Serializer::Serpent.read(text.as_bytes())?;
        best = best.min(began.elapsed());
        drop(value);
    }
    Ok(best)
}

/// Measures literals of 64 MiB, and how much longer a byte takes than in one of 8 MiB.
pub(super) fn measure(figures: &mut Figures) -> Result<()> {
    for (what, open, part, close) in LITERALS {
        let small = read(open, part, close, SMALL)?;
        let large = read(open, part, close, LARGE)?;
        let what = format!("{what} of 64 MiB in serpent");
        figures.add(Figure::new(
            format!("{what}: read in"),
            large.as_secs_f64() * 1e3,
            "ms",
        ));
        let growth = large.as_secs_f64() / small.as_secs_f64();
        let growth = growth * SMALL as f64 / LARGE as f64;
        let growth = Figure::new(format!("{what}: a byte ÷ that of 8 MiB"), growth, "×");
        figures.add(growth.target(FigureTarget::AtMost(1.5)));
    }
    Ok(())
}
