//! Commands of the toolchain, run in the workspace's folder.

use std::process::Command;

use anyhow::{Context, Result};

use crate::root;

/// A `cargo` command, as if typed by hand.
///
/// `cargo run` describes the running package to its program in variables. Cargo would take them for
/// the user's, and build scripts that look at them would run again each time.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(describes_package) {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(root());
    command
}

/// What the compiler says of itself.
pub(crate) struct Compiler {
    /// Its name, version and day.
    pub(crate) version: String,
    /// The system that it builds for unless told otherwise.
    pub(crate) host: String,
}

/// The compiler that `cargo` uses.
pub(crate) fn compiler() -> Result<Compiler> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(program).arg("-vV").output().context("rustc -vV")?;
    parse_compiler(&String::from_utf8_lossy(&output.stdout)).context("rustc -vV names no host")
}

fn parse_compiler(text: &str) -> Option<Compiler> {
    let version = text.lines().next()?.to_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "))?.to_owned();
    Some(Compiler { version, host })
}

fn describes_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME", "CARGO_BIN_NAME", "CARGO_PRIMARY_PACKAGE"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
        || variable == "OUT_DIR"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_says_what_it_builds_for() {
        let text = "rustc 1.95.0 (abc 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        let compiler = parse_compiler(text).unwrap();
        assert_eq!(compiler.version, "rustc 1.95.0 (abc 2026-04-14)");
        assert_eq!(compiler.host, "x86_64-unknown-linux-gnu");
        assert!(parse_compiler("rustc 1.95.0\n").is_none());
    }

    #[test]
    fn settings_of_the_user_are_passed_on() {
        assert!(describes_package("CARGO_PKG_VERSION_MAJOR"));
        assert!(describes_package("CARGO_MANIFEST_DIR"));
        assert!(!describes_package("CARGO_TARGET_DIR"));
        assert!(!describes_package("CARGO_HOME"));
        assert!(!describes_package("CARGO_INCREMENTAL"));
    }
}
