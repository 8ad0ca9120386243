//! Printing results: for people, or as JSON.

use std::io::{self, Write as _};

use serde_json::Value;

/// Where results go. Messages about the work go to standard error instead.
pub(crate) struct Output {
    json: bool,
    stdout: io::BufWriter<io::Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, stdout: io::BufWriter::new(io::stdout()) }
    }

    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one result: the JSON value, or the text.
    pub(crate) fn print(&mut self, json: &Value, text: &str) -> anyhow::Result<()> {
        if self.json {
            writeln!(self.stdout, "{json}")?;
        } else {
            writeln!(self.stdout, "{text}")?;
        }
        Ok(())
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stdout.write_all(bytes)?)
    }

    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.stdout.flush()?)
    }
}

/// An error and what caused it, on one line, without saying anything twice.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !line.contains(&cause) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&cause);
        }
    }
    line
}

/// Whether whoever read our output went away.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cause that the message already tells is not told again.
    #[test]
    fn nothing_is_said_twice() {
        let inner = anyhow::anyhow!("no space left");
        let error = inner.context("disk: no space left").context("import");
        assert_eq!(chain(&error), "import: disk: no space left");
    }
}
