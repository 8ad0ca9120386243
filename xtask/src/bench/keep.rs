//! Where results are kept: each run's own folder, a history of all runs, and baselines with names.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::record::Record;
use crate::root;

/// A result as the history has it.
#[derive(Serialize, Deserialize)]
struct Past {
    /// The same for all results of a run.
    time: String,
    commit: Option<String>,
    #[serde(flatten)]
    record: Record,
}

/// The folder of all that is kept.
pub(super) struct Kept {
    folder: PathBuf,
}

/// The run that was last before this one, in place of the name of a baseline.
pub(super) const PREVIOUS: &str = "previous";

impl Kept {
    /// In `bench` of the folder that cargo builds in.
    pub(super) fn here() -> Self {
        Self { folder: built_in().join("bench") }
    }

    /// A new folder for the files of this run.
    pub(super) fn run_folder(&self, time: &str) -> Result<PathBuf> {
        let folder = self.folder.join(time);
        fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        Ok(folder)
    }

    /// Adds the results of a run to the history.
    pub(super) fn remember(&self, time: &str, machine: &Machine, records: &[Record]) -> Result<()> {
        let path = self.history();
        let context = || format!("cannot write {}", path.display());
        let mut lines = String::new();
        for record in records {
            let (time, commit) = (time.to_owned(), machine.commit.clone());
            let past = Past { time, commit, record: record.clone() };
            lines += &(serde_json::to_string(&past)? + "\n");
        }
        let mut file =
            OpenOptions::new().create(true).append(true).open(&path).with_context(context)?;
        file.write_all(lines.as_bytes()).with_context(context)
    }

    /// Keeps results under a name, in place of those that had it.
    pub(super) fn save(&self, name: &str, records: &[Record]) -> Result<PathBuf> {
        let path = self.baseline(name)?;
        let folder = self.folder.join("saved");
        fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        fs::write(&path, lines(records)?).with_context(|| format!("{}", path.display()))?;
        Ok(path)
    }

    /// The results that are kept under a name, or those of the run before.
    pub(super) fn load(&self, name: &str) -> Result<Vec<Record>> {
        if name == PREVIOUS {
            let text = fs::read_to_string(self.history()).context("no run was made before")?;
            return last_run(&text);
        }
        let path = self.baseline(name)?;
        let text = fs::read_to_string(&path)
            .with_context(|| format!("no baseline {name:?}: make one by `--save {name}`"))?;
        let records: Vec<Record> = parsed(&text).with_context(|| format!("{}", path.display()))?;
        ensure!(!records.is_empty(), "{} has no results", path.display());
        Ok(records)
    }

    fn history(&self) -> PathBuf {
        self.folder.join("history.jsonl")
    }

    fn baseline(&self, name: &str) -> Result<PathBuf> {
        let is_plain = name.chars().all(|one| one.is_ascii_alphanumeric() || "-_.".contains(one));
        let is_good = is_plain && !name.is_empty() && !name.starts_with('.') && name != PREVIOUS;
        ensure!(is_good, "{name:?} cannot be the name of a baseline: letters, digits, - and _ can");
        Ok(self.folder.join("saved").join(format!("{name}.jsonl")))
    }
}

/// The folder that cargo builds in.
pub(super) fn built_in() -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty());
    root().join(chosen.as_deref().map_or(Path::new("target"), Path::new))
}

/// One line of JSON for each.
pub(super) fn lines(records: &[Record]) -> Result<String> {
    let lines: Vec<_> =
        records.iter().map(serde_json::to_string).collect::<Result<_, serde_json::Error>>()?;
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

fn parsed<T: for<'de> Deserialize<'de>>(text: &str) -> Result<Vec<T>> {
    let line = |(line, number): (&str, usize)| {
        serde_json::from_str(line).with_context(|| format!("line {number} is no result"))
    };
    text.lines().zip(1..).map(line).collect()
}

/// The results of the last run in a history.
fn last_run(history: &str) -> Result<Vec<Record>> {
    let all: Vec<Past> = parsed(history).context("the history")?;
    let last = all.last().context("the history is empty")?.time.clone();
    Ok(all.into_iter().filter(|past| past.time == last).map(|past| past.record).collect())
}

/// The time now, as it can be part of a path: `2026-01-31T23-59-59Z`.
pub(super) fn now() -> Result<String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(stamp(since.as_secs()))
}

/// Of seconds since 1970, in UTC.
fn stamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}Z")
}

/// Year, month and day of a number of days since 1970.
fn date(mut days: u64) -> (u64, usize, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let len = if is_leap(year) { 366 } else { 365 };
        if days < len {
            break;
        }
        days -= len;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::tests::sample;

    fn kept() -> (tempfile::TempDir, Kept) {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept { folder: folder.path().to_owned() };
        (folder, kept)
    }

    fn variants(records: &[Record]) -> Vec<&str> {
        records.iter().map(|record| record.variant.as_str()).collect()
    }

    /// A baseline is what was saved last under its name; one that is not there is told with how to
    /// make it.
    #[test]
    fn baselines_are_found_by_name() {
        let (_folder, kept) = kept();
        kept.save("a", &[sample("multibee", "old")]).unwrap();
        kept.save("b", &[sample("multibee", "other")]).unwrap();
        kept.save("a", &[sample("multibee", "x"), sample("node", "y")]).unwrap();
        assert_eq!(variants(&kept.load("a").unwrap()), ["x", "y"]);
        assert_eq!(variants(&kept.load("b").unwrap()), ["other"]);
        assert!(format!("{:#}", kept.load("c").unwrap_err()).contains("--save c"));
        kept.save("d", &[]).unwrap();
        assert!(kept.load("d").is_err());
    }

    /// No name leads out of the folder, and none hides the run before.
    #[test]
    fn names_of_baselines_are_plain() {
        let (_folder, kept) = kept();
        for wrong in ["", "../x", "a/b", ".hidden", PREVIOUS, "a b"] {
            assert!(kept.save(wrong, &[sample("multibee", "x")]).is_err(), "{wrong:?}");
        }
    }

    /// The history grows; its last run is all that bears the last time, and nothing else.
    #[test]
    fn the_previous_run_is_the_last_in_the_history() {
        let (_folder, kept) = kept();
        assert!(kept.load(PREVIOUS).is_err());
        let machine = Machine { commit: Some("abc".to_owned()), ..Machine::default() };
        kept.remember("1", &machine, &[sample("multibee", "old")]).unwrap();
        let new = [sample("multibee", "new"), sample("hyperbee", "newer")];
        kept.remember("2", &machine, &new).unwrap();
        assert_eq!(variants(&kept.load(PREVIOUS).unwrap()), ["new", "newer"]);
        let text = fs::read_to_string(kept.history()).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.contains(r#""commit":"abc""#)));
    }

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(stamp(0), "1970-01-01T00-00-00Z");
        assert_eq!(stamp(951_782_400), "2000-02-29T00-00-00Z");
        assert_eq!(stamp(1_772_323_199), "2026-02-28T23-59-59Z");
        assert_eq!(stamp(1_798_761_599), "2026-12-31T23-59-59Z");
        assert_eq!(stamp(1_709_251_200), "2024-03-01T00-00-00Z");
    }
}
