//! Which crate of the workspace may depend on which.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Finding;
use crate::command::cargo;

/// For each library and program, the crates of ours that it may name. A crate that isn't here may
/// not exist: a new one is a decision.
const ALLOWED: &[(&str, &[&str])] = &[
    ("multibee-log", &[]),
    ("multibee-btree", &["multibee-log"]),
    ("multibee-replica", &["multibee-log"]),
    ("multibee-merge", &["multibee-log"]),
    ("multibee", &["multibee-btree", "multibee-log", "multibee-merge", "multibee-replica"]),
    ("multibee-cli", &["multibee"]),
];

/// Crates beside the house, which may look into every room.
const FREE: &[&str] = &["multibee-kernels", "multibee-sim", "xtask"];

/// What `cargo metadata` says of the workspace's own packages.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Absent for what is linked, `dev` for tests, `build` for build scripts.
    kind: Option<String>,
    /// Present for crates of the workspace.
    path: Option<String>,
}

pub(super) fn check() -> Result<Vec<Finding>> {
    let output = cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata.packages.iter().flat_map(forbidden).collect())
}

fn forbidden(package: &Package) -> Vec<Finding> {
    if FREE.contains(&package.name.as_str()) {
        return Vec::new();
    }
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
        return vec![Finding::new(
            &package.name,
            0,
            "is not in the table of xtask/src/tidy/arrows.rs",
        )];
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.path.is_some() && dependency.kind.as_deref() != Some("dev"))
        .filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| {
            Finding::new(&package.name, 0, format!("must not depend on {}", dependency.name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>, bool)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind, ours)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
                path: ours.then(|| "somewhere".to_owned()),
            })
            .collect();
        Package { name: name.to_owned(), dependencies }
    }

    #[test]
    fn arrows_that_go_down_are_allowed() {
        let tree =
            package("multibee-btree", &[("multibee-log", None, true), ("bytes", None, false)]);
        assert!(forbidden(&tree).is_empty());
    }

    #[test]
    fn arrows_that_go_sideways_or_up_are_not() {
        let tree = package("multibee-btree", &[("multibee-replica", None, true)]);
        assert_eq!(forbidden(&tree).len(), 1);
        let log = package("multibee-log", &[("multibee", Some("build"), true)]);
        assert_eq!(forbidden(&log).len(), 1);
    }

    #[test]
    fn tests_may_look_around() {
        let log = package("multibee-log", &[("multibee-btree", Some("dev"), true)]);
        assert!(forbidden(&log).is_empty());
    }

    #[test]
    fn a_crate_that_nobody_placed_is_found() {
        assert_eq!(forbidden(&package("multibee-extra", &[])).len(), 1);
        assert!(forbidden(&package("xtask", &[("multibee", None, true)])).is_empty());
    }
}
