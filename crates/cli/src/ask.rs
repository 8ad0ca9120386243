//! Questions to whoever runs the program.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use crate::exit::{Exit, fail};

/// Longer than any answer that is asked for, in bytes.
const ANSWER_LEN_MAX: u64 = 4096;

/// Asks for a yes before something that can't be undone, unless it was said already.
///
/// # Errors
///
/// The answer is another one, or nobody is there to answer.
pub(crate) fn confirm(what: &str, is_said: bool) -> anyhow::Result<()> {
    if is_said {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(fail(Exit::Usage, format!("{what} That can't be undone: say --yes.")));
    }
    eprint!("{what} That can't be undone. Type yes to go on: ");
    if answer()?.trim() == "yes" {
        return Ok(());
    }
    Err(fail(Exit::Usage, "nothing was done"))
}

/// Reads a recovery secret's words, from a terminal a line of them, else all that comes.
pub(crate) fn words() -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        eprint!("The 24 words, with blanks between them: ");
        return answer();
    }
    let mut words = String::new();
    io::stdin().take(ANSWER_LEN_MAX).read_to_string(&mut words)?;
    Ok(words)
}

fn answer() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(ANSWER_LEN_MAX).read_line(&mut line)?;
    Ok(line)
}
