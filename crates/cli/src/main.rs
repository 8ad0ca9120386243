//! The `multibee` program: a local-first database for one person's devices, on the command line.
#![forbid(unsafe_code)]

mod args;
mod ask;
mod commands;
mod exit;
mod kind;
mod output;
mod records;
mod text;
mod when;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("MULTIBEE_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .init();
    match commands::run(args) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // A reader that has seen enough (`multibee ls | head`) is no failure.
            if output::is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("multibee: {}", output::chain(&error));
            exit::of(&error).into()
        }
    }
}
