//! What has grown since the baseline.

use std::collections::BTreeMap;

use super::baseline::{Baseline, Environment};
use super::program::Kernel;

/// By how many per cent a kernel may grow. Two counts of one program differ by up to 1.6 %, since hash
/// tables have random keys; two builds in different folders by no more.
const GROWTH_MAX: f64 = 3.0;

/// Counts beside those of the baseline.
pub(super) struct Comparison {
    lines: Vec<Line>,
    /// In what the environments differ.
    differences: Vec<String>,
    /// Kernels that the baseline has and the program lacks.
    gone: Vec<String>,
    has_baseline: bool,
}

struct Line {
    name: String,
    what: String,
    count: f64,
    /// In the baseline.
    before: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Fewer,
    More,
    /// The baseline does not have it.
    New,
}

impl Comparison {
    /// `is_whole`: all kernels were counted.
    pub(super) fn new(
        kernels: &[Kernel],
        counts: &BTreeMap<String, f64>,
        environment: &Environment,
        baseline: Option<&Baseline>,
        is_whole: bool,
    ) -> Self {
        let differences = baseline.map(|baseline| environment.differences(&baseline.environment));
        let before = |name: &str| baseline?.kernels.get(name).copied();
        let line = |kernel: &Kernel| {
            let Kernel { name, what, .. } = kernel.clone();
            let before = before(&name);
            counts.get(&name).map(|count| Line { name, what, count: *count, before })
        };
        let gone = baseline.filter(|_| is_whole).into_iter().flat_map(|it| it.kernels.keys());
        Self {
            lines: kernels.iter().filter_map(line).collect(),
            has_baseline: differences.is_some(),
            differences: differences.unwrap_or_default(),
            gone: gone.filter(|name| !counts.contains_key(*name)).cloned().collect(),
        }
    }

    /// Whether the baseline covers all that was counted, and nothing has grown. Of another environment
    /// nothing can be said.
    pub(super) fn is_good(&self) -> bool {
        let is_strict = self.differences.is_empty();
        let is_bad = |line: &Line| matches!(line.verdict(), Verdict::More | Verdict::New);
        self.has_baseline && !(is_strict && self.lines.iter().any(is_bad))
    }

    pub(super) fn table(&self) -> String {
        let width = self.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        let mut text = format!(
            "{:<width$}{:>16}{:>16}{:>10}  operation\n",
            "kernel", "instructions", "baseline", "change"
        );
        for line in &self.lines {
            text += &line.row(width);
        }
        for name in &self.gone {
            text += &format!("{name} is in the baseline and no longer in the program\n");
        }
        if !self.differences.is_empty() {
            text +=
                "!!! WARNING: the baseline is of another environment, so growth is no failure:\n";
            for difference in &self.differences {
                text += &format!("!!!   {difference}\n");
            }
        }
        text + &self.conclusion()
    }

    fn conclusion(&self) -> String {
        if !self.has_baseline {
            return "there is no baseline: --save-counts makes one\n".to_owned();
        }
        let count = |wanted| self.lines.iter().filter(|line| line.verdict() == wanted).count();
        let mut text = String::new();
        if count(Verdict::More) > 0 {
            text += &format!(
                "{} of {} kernels take over {GROWTH_MAX} % more instructions. If that has to be, say \
                 why in the commit, and --save-counts\n",
                count(Verdict::More),
                self.lines.len()
            );
        }
        if count(Verdict::New) > 0 {
            text += "kernels that are not in the baseline have to be saved: --save-counts\n";
        }
        if count(Verdict::Fewer) > 0 {
            text += &format!(
                "{} kernels take over {GROWTH_MAX} % fewer: --save-counts, so that it stays so\n",
                count(Verdict::Fewer)
            );
        }
        text
    }
}

impl Line {
    /// In per cent of the baseline.
    fn change(&self) -> Option<f64> {
        let before = self.before.filter(|before| *before > 0.0)?;
        Some(100.0 * (self.count - before) / before)
    }

    fn verdict(&self) -> Verdict {
        match self.change() {
            None => Verdict::New,
            Some(change) if change > GROWTH_MAX => Verdict::More,
            Some(change) if change < -GROWTH_MAX => Verdict::Fewer,
            Some(_) => Verdict::Same,
        }
    }

    fn row(&self, width: usize) -> String {
        let before = self.before.map_or_else(|| "-".to_owned(), |before| format!("{before:.1}"));
        let change = match self.change() {
            Some(change) => format!("{change:+.2} %"),
            None => "new".to_owned(),
        };
        let mark = if self.verdict() == Verdict::More { "  MORE" } else { "" };
        let (name, count, what) = (&self.name, self.count, &self.what);
        format!("{name:<width$}{count:>16.1}{before:>16}{change:>10}  {what}{mark}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(compiler: &str) -> Environment {
        let [compiler, target, libc, features] = [compiler, "", "", ""].map(str::to_owned);
        Environment { compiler, target, libc, features }
    }

    /// Counts of kernels that had 1000 each, with the same compiler or another one.
    fn compared(counts: &[(&str, f64)], compiler: &str) -> Comparison {
        let names = ["a", "b", "c"];
        let kernels = names.map(|name| Kernel::new(name, 1, "do it"));
        let baseline = Baseline {
            environment: environment("old"),
            kernels: ["a", "b"].map(|name| (name.to_owned(), 1000.0)).into(),
        };
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Comparison::new(&kernels, &counts, &environment(compiler), Some(&baseline), true)
    }

    #[test]
    fn growth_beyond_three_per_cent_fails() {
        assert!(compared(&[("a", 1000.0), ("b", 1029.0)], "old").is_good());
        let grown = compared(&[("a", 1000.0), ("b", 1031.0)], "old");
        assert!(!grown.is_good());
        assert!(grown.table().contains("+3.10 %  do it  MORE\n"), "{}", grown.table());
        assert!(grown.table().contains("1 of 2 kernels take over 3 % more"), "{}", grown.table());
    }

    #[test]
    fn what_takes_fewer_may_be_saved() {
        let shrunk = compared(&[("a", 900.0), ("b", 1000.0)], "old");
        assert!(shrunk.is_good());
        assert!(shrunk.table().contains("1 kernels take over 3 % fewer"), "{}", shrunk.table());
    }

    #[test]
    fn a_kernel_without_a_baseline_fails_until_it_is_saved() {
        let new = compared(&[("a", 1000.0), ("b", 1000.0), ("c", 1.0)], "old");
        assert!(!new.is_good());
        assert!(new.table().contains("have to be saved"), "{}", new.table());
        let gone = compared(&[("a", 1000.0)], "old");
        assert!(gone.is_good());
        assert!(gone.table().contains("b is in the baseline and no longer"), "{}", gone.table());
    }

    #[test]
    fn another_environment_warns_only() {
        let grown = compared(&[("a", 1000.0), ("b", 1500.0)], "new");
        assert!(grown.is_good());
        assert!(grown.table().contains("!!!   compiler: old, here new\n"), "{}", grown.table());
    }

    #[test]
    fn without_a_baseline_nothing_is_good() {
        let counts = [("a".to_owned(), 1.0)].into();
        let kernels = [Kernel::new("a", 1, "do it")];
        let compared = Comparison::new(&kernels, &counts, &environment(""), None, true);
        assert!(!compared.is_good());
        assert!(compared.table().contains("there is no baseline"), "{}", compared.table());
    }
}
