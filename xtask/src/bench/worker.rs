//! The process of one job.

use std::io::{self, Write as _};

use anyhow::Result;

use super::task::Task;

/// Does a job in this process and prints its results, one on each line.
pub(super) fn run(task: &Task) -> Result<()> {
    let records = task.job.kind().run(task)?;
    let mut output = io::stdout().lock();
    for record in &records {
        writeln!(output, "{}", serde_json::to_string(record)?)?;
    }
    Ok(output.flush()?)
}
