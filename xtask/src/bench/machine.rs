//! The machine and the program that results are of.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

use super::disk;
use super::usage::load1;
use crate::root;

/// What results depend on beside the program. What the system does not tell is `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Machine {
    pub(super) cpu: Option<String>,
    pub(super) cores: usize,
    #[serde(rename = "memoryKiB")]
    pub(super) memory_kib: Option<u64>,
    pub(super) system: Option<String>,
    pub(super) kernel: Option<String>,
    pub(super) file_system: Option<String>,
    pub(super) rustc: Option<String>,
    pub(super) node: Option<String>,
    /// With `-dirty` behind it if files differ from it.
    pub(super) commit: Option<String>,
    /// `release`, or `debug`, which says nothing about speed.
    pub(super) build: String,
    /// Before anything was measured.
    pub(super) load: Option<String>,
}

impl Machine {
    /// This one, with the data in a folder.
    pub(super) fn here(data: &Path) -> Self {
        let file = |path| fs::read_to_string(path).ok();
        Self {
            cpu: file("/proc/cpuinfo").as_deref().and_then(cpu_in),
            cores: available_parallelism().map_or(0, usize::from),
            memory_kib: file("/proc/meminfo").as_deref().and_then(memory_in),
            system: file("/etc/os-release").as_deref().and_then(system_in),
            kernel: file("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            file_system: disk::file_system(data),
            rustc: said_by("rustc", &["--version"]),
            node: said_by("node", &["--version"]),
            commit: said_by(
                "git",
                &["describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"],
            ),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            load: load1().map(|load| load.to_string()),
        }
    }

    /// Names and values, for people.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let told = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let memory = self.memory_kib.map(|kib| format!("{:.1} GiB", kib as f64 / 1_048_576.0));
        vec![
            ("processor", told(&self.cpu)),
            ("cores", self.cores.to_string()),
            ("memory", told(&memory)),
            ("system", told(&self.system)),
            ("kernel", told(&self.kernel)),
            ("file system of the data", told(&self.file_system)),
            ("rustc", told(&self.rustc)),
            ("node", told(&self.node)),
            ("commit", told(&self.commit)),
            ("build", self.build.clone()),
            ("load at the start", told(&self.load)),
        ]
    }
}

/// The first line that a program prints.
fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(root()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

fn cpu_in(cpuinfo: &str) -> Option<String> {
    let names = ["model name", "Hardware", "CPU part"];
    let found = |name| cpuinfo.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    names.into_iter().find_map(found).map(|(_, name)| name.trim().to_owned())
}

fn memory_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn system_in(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_files_are_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A Processor @ 2 GHz\nmodel name\t: B\n";
        assert_eq!(cpu_in(cpuinfo).as_deref(), Some("A Processor @ 2 GHz"));
        assert_eq!(cpu_in("processor\t: 0\n"), None);
        assert_eq!(memory_in("MemTotal:       2097152 kB\nMemFree: 1 kB\n"), Some(2_097_152));
        assert_eq!(memory_in("MemFree: 1 kB\n"), None);
        let system = system_in("NAME=\"X\"\nPRETTY_NAME=\"Some Linux 12\"\n");
        assert_eq!(system.as_deref(), Some("Some Linux 12"));
    }

    /// What is not known is said so, and reads back.
    #[test]
    fn the_unknown_is_told() {
        let machine = Machine::default();
        assert!(machine.lines().contains(&("rustc", "unknown".to_owned())));
        let line = serde_json::to_string(&machine).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&line).unwrap(), machine);
    }
}
