#!/usr/bin/env bash
# croner 4.0.3 (Rust): a pattern that names two hours ("30 2,14 * * *") is treated like one with "*" where the
# clock changes. In spring the run in the gap is left out, and in autumn the hour that comes twice has two runs.
#
# One would expect: as with one hour ("30 2 * * *"), and as cron itself does it. cron tells jobs apart by whether
# the minute or the hour is "*": a job with listed hours runs right after the gap, and once in the repeated hour.
# Seen: croner takes a job for one at a fixed time only if second, minute and hour are one number each.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "try"
version = "0.0.0"
edition = "2024"
[dependencies]
croner = { version = "=4.0.3", default-features = false, features = ["jiff"] }
jiff = { version = "=0.2.43", features = ["tzdb-bundle-always"] }
TOML
cat > "$dir/src/main.rs" <<'RS'
use croner::Cron;
use jiff::Zoned;

fn main() {
    for (season, start) in [("spring", "2026-03-28T15:00"), ("autumn", "2026-10-24T15:00")] {
        for pattern in ["30 2 * * *", "30 2,14 * * *"] {
            let cron: Cron = pattern.parse().unwrap();
            let start: Zoned = format!("{start}[Europe/Berlin]").parse().unwrap();
            let runs = cron.iter_after(start).take(3);
            let runs: Vec<_> = runs.map(|run| run.strftime("%d %H:%M%z").to_string()).collect();
            println!("{season} {pattern}: {}", runs.join(", "));
        }
    }
}
RS
cargo run --quiet --manifest-path "$dir/Cargo.toml" --target-dir "$dir/target" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
spring 30 2 * * *: 29 03:00+0200, 30 02:30+0200, 31 02:30+0200
spring 30 2,14 * * *: 29 14:30+0200, 30 02:30+0200, 30 14:30+0200
autumn 30 2 * * *: 25 02:30+0200, 26 02:30+0100, 27 02:30+0100
autumn 30 2,14 * * *: 25 02:30+0200, 25 02:30+0100, 25 14:30+0100
SEEN
echo "croner 4.0.3 still treats two hours otherwise than one where the clock changes"
