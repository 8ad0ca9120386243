//! One file for each group of commands.

mod backups;
mod changes;
mod compact;
mod conflicts;
mod data;
mod demo;
mod devices;
mod files;
mod info;
mod online;
mod reclaim;
mod recovery;
mod rules;
mod sources;
mod typed;
mod union;
mod watching;

use std::path::Path;

use multibee::{AddOptions, Home, Multibee, Options};

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
        Command::Get { key, raw, all, at } => {
            data::get(&open(dir)?, &key, (raw, all), &at, &mut output)
        }
        Command::Del { keys } => data::del(&open(dir)?, &keys, &mut output),
        Command::Patch { key, fields } => typed::patch(&open(dir)?, &key, fields, &mut output),
        Command::Incr { key, by } => typed::increment(&open(dir)?, &key, by, &mut output),
        Command::Set { change } => typed::set(&open(dir)?, change, &mut output),
        Command::Ls(ls) => data::ls(&open(dir)?, ls, &mut output),
        Command::Diff(diff) => changes::diff(&open(dir)?, diff, &mut output),
        Command::History(history) => changes::history(&open(dir)?, history, &mut output),
        Command::Watch(watch) => watching::watch(open(dir)?, watch, &mut output),
        Command::Union { prefix, with, timeout } => {
            union::union(open(dir)?, prefix.as_deref(), with, timeout, &mut output)
        }
        Command::Import { file } => files::import(&open(dir)?, &file, &mut output),
        Command::Export { file, at } => {
            files::export(&open(dir)?, file.as_deref(), &at, &mut output)
        }
        Command::Devices => devices::list(&open(dir)?, &mut output),
        Command::Add { device, name, role } => {
            devices::add(&open(dir)?, &device, AddOptions { name, role }, &mut output)
        }
        Command::Rename { device, name } => {
            devices::rename(&open(dir)?, &device, name, &mut output)
        }
        Command::Remove { device, yes } => devices::remove(&open(dir)?, &device, yes, &mut output),
        Command::Retire { device, yes } => devices::retire(&open(dir)?, &device, yes, &mut output),
        Command::Unmerged => recovery::unmerged(&open(dir)?, &mut output),
        Command::Recovery(what) => recovery::run(&open(dir)?, &what, &mut output),
        Command::Recover(what) => recovery::recover(dir, what, &mut output),
        Command::Adopt => devices::adopt(dir, &mut output),
        Command::Serve { listen, no_dial, sources } => {
            online::serve(open(dir)?, &listen, !no_dial, &sources, &mut output)
        }
        Command::Sync { with, wait, timeout } => {
            online::sync(open(dir)?, with, wait, timeout, &mut output)
        }
        Command::Status => info::status(&open(dir)?, &mut output),
        Command::Conflicts { prefix, at } => {
            conflicts::conflicts(&open(dir)?, prefix, &at, &mut output)
        }
        Command::Resolve(resolve) => conflicts::resolve(&open(dir)?, resolve, &mut output),
        Command::NotMerged => conflicts::not_merged(&open(dir)?, &mut output),
        Command::Rules => rules::list(&open(dir)?, &mut output),
        Command::Rule(rule) => rules::set(&open(dir)?, rule, &mut output),
        Command::Sources => sources::list(&open(dir)?, &mut output),
        Command::AddSource { key, name } => sources::add(&open(dir)?, &key, name, &mut output),
        Command::RemoveSource { key } => sources::remove(&open(dir)?, &key, &mut output),
        Command::Backup { path, replicas } => {
            backups::backup(&open(dir)?, &path, replicas, &mut output)
        }
        Command::Restore { path } => backups::restore(dir, &path, &mut output),
        Command::Compact { dry_run: true, .. } => compact::estimate(&open(dir)?, &mut output),
        Command::Compact { yes, .. } => compact::compact(&open(dir)?, yes, &mut output),
        Command::Reclaim(args) => reclaim::reclaim(&open(dir)?, &args, &mut output),
        Command::Verify => info::verify(&open(dir)?, &mut output),
        Command::Demo { file, out } => demo::run(file.as_deref(), &out, &mut output),
    }?;
    output.flush()?;
    Ok(exit)
}

fn open(dir: &Path) -> anyhow::Result<Multibee> {
    Ok(Multibee::open(Home::dir(dir), Options::default())?)
}
