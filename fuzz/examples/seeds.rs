//! Writes the seeds into the corpus: `cargo run -p pyroxene-fuzz --example seeds`.

use pyroxene_fuzz::{runner::committed, seeds};
use std::{fs, io};

fn main() -> io::Result<()> {
    for seed in seeds::all() {
        let folder = committed("corpus", seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(seed.name), seed.bytes)?;
    }
    Ok(())
}
