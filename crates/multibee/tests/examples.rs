//! The programs that the guides show: each runs to its end, and the guides show what it does.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

/// The examples: each program ends, and finds no fault.
macro_rules! examples {
    ($($name:ident $file:literal,)*) => {
        $(
            #[path = $file]
            mod $name;
        )*

        mod runs {
            $(
                #[test]
                fn $name() {
                    super::$name::main().unwrap();
                }
            )*
        }
    };
}

examples! {
    adding_and_removing "../examples/adding_and_removing.rs",
    as_of "../examples/as_of.rs",
    cloud_mirror "../examples/cloud_mirror.rs",
    conflicts "../examples/conflicts.rs",
    custom_merge "../examples/custom_merge.rs",
    first_database "../examples/first_database.rs",
    new_laptop "../examples/new_laptop.rs",
    old_backup "../examples/old_backup.rs",
    reading_from_node "../examples/reading_from_node.rs",
    second_device "../examples/second_device.rs",
    small_storage "../examples/small_storage.rs",
}

/// Which guide shows which program.
const GUIDES: &[(&str, &str)] = &[
    ("adding-and-removing-devices", "adding_and_removing"),
    ("an-old-backup", "old_backup"),
    ("cloud-mirror", "cloud_mirror"),
    ("conflicts", "conflicts"),
    ("custom-merging", "custom_merge"),
    ("first-database", "first_database"),
    ("keeping-storage-small", "small_storage"),
    ("lost-phone", "new_laptop"),
    ("new-laptop-from-the-cloud", "new_laptop"),
    ("reading-from-node", "reading_from_node"),
    ("second-device", "second_device"),
];

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The blocks of Rust in a guide; those marked `rust,ignore` are of no example.
fn blocks(guide: &str) -> Vec<&str> {
    let after = guide.split("```rust\n").skip(1);
    after.map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Every block of Rust in these guides stands in the example that goes with it, line by line.
#[test]
fn guides_show_what_runs() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (guide, example) in GUIDES {
        let guide_path = here.join(format!("../../docs/guide/{guide}.md"));
        let text = fs::read_to_string(guide_path).unwrap();
        let program = fs::read_to_string(here.join(format!("examples/{example}.rs"))).unwrap();
        let program = lines(&program);
        assert!(text.contains(&format!("--example {example}")), "{guide} names its program");
        let blocks = blocks(&text);
        assert!(!blocks.is_empty(), "{guide} shows some of it");
        for block in blocks {
            let shown = lines(block);
            assert!(
                program.windows(shown.len()).any(|part| part == shown),
                "{guide} shows what {example} does not do:\n{block}"
            );
        }
    }
}
