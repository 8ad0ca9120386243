//! The counts that were saved.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::root;

/// What counts depend on besides our code. Those of two environments can't be held against each other
/// strictly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Environment {
    /// As `rustc -V` says.
    pub(super) compiler: String,
    pub(super) target: String,
    pub(super) libc: String,
    /// What the processor can do that libraries look at, as the program sees it: valgrind shows one
    /// of few processors that it knows.
    pub(super) features: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    pub(super) environment: Environment,
    /// Instructions of one operation, by the kernel's name.
    pub(super) kernels: BTreeMap<String, f64>,
}

impl Environment {
    /// Where another one differs: what, how it is in that one, how it is here.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        [
            ("compiler", &other.compiler, &self.compiler),
            ("target", &other.target, &self.target),
            ("C library", &other.libc, &self.libc),
            ("processor", &other.features, &self.features),
        ]
        .into_iter()
        .filter(|(_, theirs, ours)| theirs != ours)
        .map(|(what, theirs, ours)| format!("{what}: {theirs}, here {ours}"))
        .collect()
    }
}

impl Baseline {
    /// What is in the repository, if anything is.
    pub(super) fn load() -> Result<Option<Self>> {
        let path = path();
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| path.display().to_string())?,
        };
        let baseline = serde_json::from_slice(&text);
        Ok(Some(baseline.with_context(|| format!("{} is no baseline", path.display()))?))
    }

    /// The next baseline. Unless all kernels were counted, it keeps the counts of the others, and so
    /// has to be of the same environment.
    pub(super) fn replaced(
        before: Option<Self>,
        environment: Environment,
        mut kernels: BTreeMap<String, f64>,
        is_whole: bool,
    ) -> Result<Self> {
        if let Some(before) = before.filter(|_| !is_whole) {
            if before.environment != environment {
                bail!(
                    "the baseline is of another environment ({}): count and save all kernels",
                    environment.differences(&before.environment).join("; ")
                );
            }
            for (name, count) in before.kernels {
                kernels.entry(name).or_insert(count);
            }
        }
        Ok(Self { environment, kernels })
    }

    pub(super) fn store(&self) -> Result<()> {
        let path = path();
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}

fn path() -> PathBuf {
    root().join("xtask").join("instructions.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(compiler: &str) -> Environment {
        Environment {
            compiler: compiler.to_owned(),
            target: "x86_64".to_owned(),
            libc: "glibc".to_owned(),
            features: "avx2".to_owned(),
        }
    }

    fn counts(counts: &[(&str, f64)]) -> BTreeMap<String, f64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn saving_some_kernels_keeps_the_others() {
        let kernels = counts(&[("a", 1.0), ("b", 2.0)]);
        let before = Some(Baseline { environment: environment("old"), kernels });
        let save = |compiler, is_whole| {
            let kernels = counts(&[("b", 3.0)]);
            Baseline::replaced(before.clone(), environment(compiler), kernels, is_whole)
        };
        assert_eq!(save("old", false).unwrap().kernels, counts(&[("a", 1.0), ("b", 3.0)]));
        assert_eq!(save("old", true).unwrap().kernels, counts(&[("b", 3.0)]));
        // Counts of two compilers in one baseline would be taken for those of one.
        assert!(save("new", false).is_err());
        assert_eq!(save("new", true).unwrap().environment, environment("new"));
    }

    #[test]
    fn environments_that_differ_say_in_what() {
        assert_eq!(environment("new").differences(&environment("new")), [""; 0]);
        let differences = environment("new").differences(&environment("old"));
        assert_eq!(differences, ["compiler: old, here new"]);
    }
}
