//! What may be named only in certain places: the runtime, the file system, the clock.

use super::Finding;
use super::source::names;

/// A thing of the world outside, and the files that may touch it.
pub(super) struct Place {
    /// What is meant, for the message.
    what: &'static str,
    /// Full paths as they stand in code.
    paths: &'static [&'static str],
    /// The same when it is imported in a group: `use std::{fs, ..}`.
    grouped: Option<(&'static str, &'static str)>,
    /// Beginnings of the paths of the files that may. Tests and examples always may.
    allowed: &'static [&'static str],
}

pub(super) const PLACES: &[Place] = &[
    Place {
        what: "tokio",
        paths: &["tokio"],
        grouped: None,
        allowed: &[
            "crates/replica/src/endpoint",
            "crates/multibee/",
            "crates/cli/",
            // The channel of events; no runtime.
            "crates/sim/src/device.rs",
            "xtask/",
        ],
    },
    Place {
        what: "the file system",
        paths: &["std::fs"],
        grouped: Some(("use std::{", "fs")),
        allowed: &[
            "crates/log/src/file",
            "crates/log/src/lock.rs",
            "crates/multibee/src/backup/folder.rs",
            "crates/multibee/src/backup/tests.rs",
            "crates/multibee/src/home",
            "crates/cli/",
            // The program that keeps plans; the simulation itself touches no disk.
            "crates/sim/src/main.rs",
            "bench-peers/",
            "xtask/",
        ],
    },
    Place {
        what: "the clock",
        paths: &["SystemTime", "Instant::now"],
        grouped: None,
        allowed: &[
            "crates/multibee/src/clock.rs",
            // They take and give times, and read none.
            "crates/multibee/src/at_time.rs",
            "crates/multibee/src/history.rs",
            "crates/multibee/src/key_history.rs",
            "crates/replica/src/endpoint",
            "crates/cli/",
            // Where the time stands still.
            "crates/kernels/src/database.rs",
            // How long a search took; where virtual time begins.
            "crates/sim/src/main.rs",
            "crates/sim/src/world.rs",
            "xtask/",
        ],
    },
];

impl Place {
    /// Where `code` (without its tests) of the file at `path` touches what it may not.
    pub(super) fn check(&self, path: &str, code: &str) -> Vec<Finding> {
        if self.allowed.iter().any(|start| path.starts_with(start)) {
            return Vec::new();
        }
        let in_paths = code
            .lines()
            .enumerate()
            .filter(|(_, line)| self.paths.iter().any(|name| names(line, name)))
            .map(|(index, _)| index + 1);
        let in_groups =
            self.grouped.iter().flat_map(|(group, name)| group_lines(code, group, name));
        in_paths
            .chain(in_groups)
            .map(|line| Finding::new(path, line, format!("{} has no place here", self.what)))
            .collect()
    }
}

/// Lines of the imports that begin with `group` and have `name` in their list.
fn group_lines(code: &str, group: &str, name: &str) -> Vec<usize> {
    code.match_indices(group)
        .filter_map(|(at, _)| {
            let (before, import) = code.split_at(at);
            let list = import.split(';').next().unwrap_or_default();
            names(list, name).then(|| 1 + before.matches('\n').count())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, code: &str) -> Vec<usize> {
        PLACES.iter().flat_map(|place| place.check(path, code)).map(|f| f.line).collect()
    }

    #[test]
    fn the_core_names_neither_runtime_nor_files_nor_clock() {
        let path = "crates/log/src/log.rs";
        assert_eq!(found(path, "\nuse tokio::io;\n"), [2]);
        assert_eq!(found(path, "std::fs::read(x)"), [1]);
        assert_eq!(found(path, "let t = Instant::now();"), [1]);
        assert_eq!(found(path, "use std::time::SystemTime;"), [1]);
        assert_eq!(found(path, "use std::time::Instant; fn f(now: Instant) {}"), [0; 0]);
    }

    #[test]
    fn a_grouped_import_does_not_hide() {
        let path = "crates/btree/src/bee.rs";
        assert_eq!(found(path, "use std::{\n    fs,\n    io,\n};\n"), [1]);
        assert_eq!(found(path, "use std::{io, time::Duration};\nlet fs = 1;\n"), [0; 0]);
    }

    #[test]
    fn each_has_its_places() {
        assert_eq!(found("crates/log/src/file.rs", "use std::fs;"), [0; 0]);
        assert_eq!(found("crates/replica/src/endpoint.rs", "tokio; Instant::now();"), [0; 0]);
        assert_eq!(found("crates/replica/src/endpoint.rs", "std::fs"), [1]);
        assert_eq!(found("crates/multibee/src/clock.rs", "SystemTime"), [0; 0]);
        assert_eq!(found("crates/multibee/src/state.rs", "SystemTime"), [1]);
    }
}
