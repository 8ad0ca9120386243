//! One file for each group of commands.

mod data;
mod demo;
mod devices;
mod files;
mod info;
mod online;

use std::path::Path;

use multibee::{Home, Multibee, Options};

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::output::Output;

/// Runs a command.
pub(crate) fn run(args: Args) -> anyhow::Result<Exit> {
    let mut output = Output::new(args.json);
    let dir = args.dir.as_path();
    let exit = match args.command {
        Command::Init => devices::init(dir, &mut output),
        Command::Put(put) => data::put(&open(dir)?, put, &mut output),
        Command::Get { key, raw } => data::get(&open(dir)?, &key, raw, &mut output),
        Command::Del { keys } => data::del(&open(dir)?, &keys, &mut output),
        Command::Ls(ls) => data::ls(&open(dir)?, ls, &mut output),
        Command::Import { file } => files::import(&open(dir)?, &file, &mut output),
        Command::Export { file } => files::export(&open(dir)?, file.as_deref(), &mut output),
        Command::Devices => devices::list(&open(dir)?, &mut output),
        Command::Add { device, name } => devices::add(&open(dir)?, &device, name, &mut output),
        Command::Remove { key } => devices::remove(&open(dir)?, &key, &mut output),
        Command::Adopt => devices::adopt(dir, &mut output),
        Command::Serve { listen, no_dial } => {
            online::serve(open(dir)?, &listen, !no_dial, &mut output)
        }
        Command::Sync { with, wait, timeout } => {
            online::sync(open(dir)?, with, wait, timeout, &mut output)
        }
        Command::Status => info::status(&open(dir)?, &mut output),
        Command::Conflicts => info::conflicts(&open(dir)?, &mut output),
        Command::Verify => info::verify(&open(dir)?, &mut output),
        Command::Demo { file, out } => demo::run(file.as_deref(), &out, &mut output),
    }?;
    output.flush()?;
    Ok(exit)
}

fn open(dir: &Path) -> anyhow::Result<Multibee> {
    Ok(Multibee::open(Home::dir(dir), Options::default())?)
}
