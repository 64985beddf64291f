//! Courses of events that mattered once: those that led to a bug, and those that reach far.
#![forbid(unsafe_code)]

use std::{fs, path::Path};

#[test]
fn every_seed_is_played_without_a_broken_promise() {
    for (name, check) in invariants::CHECKS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
        let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut played = 0;
        for seed in seeds {
            let path = seed.expect("a folder that can be read").path();
            println!("{}", path.display());
            check(&fs::read(path).expect("a file"));
            played += 1;
        }
        assert!(played > 0, "no seed for {name}");
    }
}
