//! That every scenario has its test, and the table of them is right.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// The numbers of the scenarios about delivery, agreement, values, time, relays, membership,
/// reclaiming storage.
const NUMBERS: &[std::ops::RangeInclusive<u32>] =
    &[1..=7, 10..=17, 20..=29, 30..=32, 40..=43, 50..=52, 60..=62, 72..=72];

const TABLE: &str = include_str!("../../../../docs/scenarios.md");
const SUITE: &str = include_str!("main.rs");

/// A row: the file, unless it is pending, and the tests.
type Row = (Option<String>, Vec<String>);

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "scenarios"].iter().collect()
}

fn rows() -> BTreeMap<u32, Row> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells = cells(line);
        let number = cells.get(1)?.strip_prefix('S')?.parse().ok()?;
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let files: Vec<String> = quoted(&cells[3]);
        Some((number, (files.first().cloned(), quoted(&cells[4]))))
    };
    TABLE.lines().filter_map(row).collect()
}

/// The tests in a file: what stands first in each `scenario!`.
fn tests(source: &str) -> Vec<String> {
    let names = source.split("\nscenario!(").skip(1).filter_map(|rest| rest.split(',').next());
    names.map(|name| name.trim().to_owned()).collect()
}

/// Every scenario is in the table with a file of its number, all tests in it are named after it and
/// listed, and the suite has the file. What is pending has no file yet.
#[test]
fn every_scenario_has_its_test() {
    let rows = rows();
    let numbers: Vec<u32> = NUMBERS.iter().cloned().flatten().collect();
    assert!(rows.keys().eq(numbers.iter()), "the table has {:?}", rows.keys());
    let files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for (number, (file, listed)) in rows {
        let prefix = format!("s{number:02}_");
        let own: Vec<_> = files.iter().filter(|name| name.starts_with(&prefix)).collect();
        let Some(file) = file else {
            assert!(own.is_empty(), "S{number:02} is no longer pending: {own:?}");
            continue;
        };
        assert_eq!(own, [&file], "the files of S{number:02}");
        let module = file.strip_suffix(".rs").unwrap();
        assert!(SUITE.contains(&format!("\nmod {module};")), "the suite has {module}");
        let source = fs::read_to_string(folder().join(&file)).unwrap();
        let found = tests(&source);
        assert_eq!(found, listed, "the tests of S{number:02}");
        assert!(found.iter().all(|name| name.starts_with(&prefix)), "{found:?}");
        assert!(!found.is_empty(), "S{number:02} has a test");
    }
}
