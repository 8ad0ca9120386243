//! House rules that a program can check.

mod arrows;
mod places;
mod source;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::root;

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Code that says it isn't finished, or a test that doesn't run.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "#[ignore"];

/// What a reader of the repository looks for first.
const EXPECTED: &[&str] =
    &["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE-MIT", "LICENSE-APACHE", "docs"];

/// Paths of machines that the project was worked on. In parts, so that they aren't found here.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tmp/con", "tract"), concat!(".lib", "rary/")];

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// A file of the repository that is text.
struct TextFile {
    /// From the workspace's folder, with `/` on every system.
    path: String,
    text: String,
}

/// Checks every rule; whether all hold.
pub(crate) fn run() -> Result<bool> {
    let files = text_files()?;
    let code: Vec<_> =
        files.iter().filter(|file| file.path.ends_with(".rs")).map(Code::of).collect();
    let rules = [
        ("nothing is left unfinished, no test is left out", each(&code, unfinished)),
        ("runtime, files and clock stay in their places", each(&code, out_of_place)),
        (
            "files and functions are short",
            [each(&files, long_file), each(&code, long_functions)].concat(),
        ),
        ("crates depend downwards only", arrows::check()?),
        ("readers find what they look for", missing(root())),
        ("links lead somewhere", each(&files, |file| dead_links(file, root()))),
        ("no paths of one machine", each(&files, machine_paths)),
    ];
    let mut broken = 0;
    for (rule, findings) in &rules {
        println!("{} {rule}", if findings.is_empty() { "ok" } else { "FAILED" });
        for finding in findings {
            println!("    {finding}");
        }
        broken += usize::from(!findings.is_empty());
    }
    println!("{} passed, {broken} failed", rules.len() - broken);
    Ok(broken == 0)
}

fn each<T>(items: &[T], rule: impl Fn(&T) -> Vec<Finding>) -> Vec<Finding> {
    items.iter().flat_map(rule).collect()
}

/// The files that are, or by the next commit could be, in the repository; those that aren't text
/// are left out.
fn text_files() -> Result<Vec<TextFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("git ls-files")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let mut files = Vec::new();
    for path in paths.split_terminator('\0') {
        let absolute = root().join(path);
        // Git lists files that were deleted a moment ago too.
        if !absolute.is_file() {
            continue;
        }
        let bytes = fs::read(&absolute).with_context(|| format!("cannot read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile { path: path.to_owned(), text });
        }
    }
    ensure!(!files.is_empty(), "git ls-files names no file");
    Ok(files)
}

/// A Rust file as the rules see it.
struct Code {
    path: String,
    /// Without comments and strings.
    all: String,
    /// Without tests besides; empty for a file of tests.
    shipped: String,
    /// The comments and strings too.
    text: String,
}

impl Code {
    fn of(file: &TextFile) -> Self {
        let all = source::code_only(&file.text);
        let shipped = if is_test(&file.path) { String::new() } else { source::without_tests(&all) };
        Self { path: file.path.clone(), all, shipped, text: file.text.clone() }
    }
}

/// Whether a file is there for tests or as an example only.
fn is_test(path: &str) -> bool {
    let folder = ["tests", "benches", "examples", "fuzz"];
    path.split('/').any(|part| folder.contains(&part)) || path.ends_with("tests.rs")
}

fn unfinished(code: &Code) -> Vec<Finding> {
    let in_code = code.all.lines().zip(1..).flat_map(|(text, line)| {
        UNFINISHED
            .iter()
            .filter(move |word| text.contains(**word))
            .map(move |word| (line, (*word).to_owned()))
    });
    // An example that isn't compiled will be wrong one day.
    let in_docs = code.text.lines().zip(1..).filter_map(|(text, line)| {
        let doc = text.trim_start().strip_prefix("//")?;
        doc.contains("```ignore").then(|| (line, "an example that is not compiled".to_owned()))
    });
    in_code.chain(in_docs).map(|(line, what)| Finding::new(&code.path, line, what)).collect()
}

fn out_of_place(code: &Code) -> Vec<Finding> {
    places::PLACES.iter().flat_map(|place| place.check(&code.path, &code.shipped)).collect()
}

fn long_file(file: &TextFile) -> Vec<Finding> {
    let is_source = [".rs", ".mjs", ".py"].iter().any(|end| file.path.ends_with(end));
    let count = file.text.lines().count();
    if !is_source || count <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![Finding::new(&file.path, 0, format!("{count} lines, {FILE_LINES_MAX} at most"))]
}

fn long_functions(code: &Code) -> Vec<Finding> {
    source::functions(&code.all)
        .into_iter()
        .filter(|function| function.line_count > FUNCTION_LINES_MAX)
        .map(|function| {
            let what = format!(
                "{} has {} lines, {FUNCTION_LINES_MAX} at most",
                function.name, function.line_count
            );
            Finding::new(&code.path, function.line, what)
        })
        .collect()
}

fn missing(root: &Path) -> Vec<Finding> {
    EXPECTED
        .iter()
        .filter(|path| !root.join(path).exists())
        .map(|path| Finding::new(path, 0, "is missing"))
        .collect()
}

/// Links of a page of text to files that aren't there. Those to the web aren't followed.
fn dead_links(file: &TextFile, root: &Path) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = root.join(&file.path);
    let folder = folder.parent().unwrap_or(root);
    let mut found = Vec::new();
    for (line, number) in file.text.lines().zip(1..) {
        for target in link_targets(line) {
            let path = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !path.is_empty() && !folder.join(path).exists() {
                found.push(Finding::new(&file.path, number, format!("{target} does not exist")));
            }
        }
    }
    found
}

/// What `[text](target)` points to; code between backquotes isn't looked at.
fn link_targets(line: &str) -> Vec<&str> {
    let plain = line.split('`').step_by(2);
    // A text in backquotes leaves `](target)` at the start of the part behind it.
    plain
        .flat_map(|part| part.split("](").skip(1))
        .filter_map(|rest| rest.split([')', ' ']).next())
        .filter(|target| !target.starts_with("mailto:"))
        .collect()
}

fn machine_paths(file: &TextFile) -> Vec<Finding> {
    file.text
        .lines()
        .zip(1..)
        .filter(|(text, _)| MACHINE_PATHS.iter().any(|path| text.contains(path)))
        .map(|(_, line)| Finding::new(&file.path, line, "a path of one machine"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    fn code(path: &str, text: &str) -> Code {
        Code::of(&file(path, text))
    }

    #[test]
    fn unfinished_code_is_found_in_code_only() {
        let text = "// todo! later\nlet s = \"todo!\";\nfn f() { todo!() }\n#[ignore]\nfn t() {}\n";
        let lines: Vec<_> = unfinished(&code("a.rs", text)).iter().map(|f| f.line).collect();
        assert_eq!(lines, [3, 4]);
    }

    #[test]
    fn an_example_that_is_not_compiled_is_found() {
        let text = "/// Like so:\n/// ```ignore\n/// f();\n/// ```\nfn f() {}\n";
        assert_eq!(unfinished(&code("a.rs", text)).len(), 1);
        assert!(unfinished(&code("a.rs", "/// ```\n/// f();\n/// ```\nfn f() {}\n")).is_empty());
    }

    #[test]
    fn tests_may_touch_the_world() {
        let text = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(out_of_place(&code("crates/log/src/log.rs", text)).is_empty());
        assert!(out_of_place(&code("crates/log/tests/main.rs", "use std::fs;")).is_empty());
        assert_eq!(out_of_place(&code("crates/log/src/log.rs", "use std::fs;")).len(), 1);
    }

    #[test]
    fn the_longest_allowed_passes_and_one_more_does_not() {
        let lines = |count| "x\n".repeat(count);
        assert!(long_file(&file("a.rs", &lines(FILE_LINES_MAX))).is_empty());
        assert_eq!(long_file(&file("a.rs", &lines(FILE_LINES_MAX + 1))).len(), 1);
        assert!(long_file(&file("a.json", &lines(FILE_LINES_MAX + 1))).is_empty());

        let function = |count| format!("fn f() {{\n{}}}\n", "x;\n".repeat(count - 2));
        assert!(long_functions(&code("a.rs", &function(FUNCTION_LINES_MAX))).is_empty());
        assert_eq!(long_functions(&code("a.rs", &function(FUNCTION_LINES_MAX + 1))).len(), 1);
    }

    #[test]
    fn links_are_read_as_a_browser_would() {
        let line =
            "see [a](x.md#part), [`b`](y/z.md) and [web](https://example.org/q), not `[c](d)`";
        assert_eq!(link_targets(line), ["x.md#part", "y/z.md", "https://example.org/q"]);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let page = file("README.md", "[here](README.md) [not](nowhere.md)\n[top](#top)\n");
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("README.md"), "").unwrap();
        let found = dead_links(&page, folder.path());
        assert_eq!(found, [Finding::new("README.md", 1, "nowhere.md does not exist")]);
    }

    #[test]
    fn what_readers_look_for_is_missed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(missing(folder.path()).len(), EXPECTED.len());
        fs::write(folder.path().join("README.md"), "").unwrap();
        assert_eq!(missing(folder.path()).len(), EXPECTED.len() - 1);
    }

    #[test]
    fn paths_of_a_machine_are_found_in_any_text() {
        let path = format!("x\nsee {}main\n", MACHINE_PATHS.first().unwrap());
        assert_eq!(
            machine_paths(&file("notes.md", &path)),
            [Finding::new("notes.md", 2, "a path of one machine")]
        );
        assert!(machine_paths(&file("notes.md", "the /workspace/ is fine\n")).is_empty());
    }

    #[test]
    fn this_repository_lists_its_files() {
        let files = text_files().unwrap();
        assert!(files.iter().any(|file| file.path == "xtask/src/tidy.rs"));
    }
}
