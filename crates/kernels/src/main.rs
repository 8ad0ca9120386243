//! Does one thing very often, for tools that count instructions or draw flame graphs.
//!
//! ```text
//! multibee-kernels             lists the kernels
//! multibee-kernels NAME        runs one of them
//! ```
//!
//! `cargo xtask bench --instructions` runs each under callgrind. Everything is in memory and on one
//! thread, with fixed keys, times and orders, so that the same program does the same each time.

mod database;
mod features;
mod kernel;
mod log;
mod merge;
mod sample;
mod session;
mod tree;

use std::hint::black_box;

use anyhow::{Context, Result, bail};

use kernel::{Kernel, Work};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next();
    if arguments.next().is_some() {
        bail!("usage: multibee-kernels [NAME]");
    }
    match name {
        Some(name) => run(&name),
        None => {
            list();
            Ok(())
        }
    }
}

fn kernels() -> impl Iterator<Item = &'static Kernel> {
    [log::KERNELS, tree::KERNELS, session::KERNELS, merge::KERNELS, database::KERNELS]
        .into_iter()
        .flatten()
}

/// For a program to read: what the processor can do, and then a line for each kernel with its name,
/// the operations that are counted, and what an operation is.
fn list() {
    println!("features\t{}", features::seen());
    for kernel in kernels() {
        println!("{}\t{}\t{}", kernel.name, kernel.operations, kernel.what);
    }
}

/// Does a kernel's operations twice. The first time, memory is taken and caches are filled; only the
/// second time is to be counted.
fn run(name: &str) -> Result<()> {
    let kernel = kernels().find(|kernel| kernel.name == name);
    let kernel = kernel.with_context(|| format!("there is no kernel {name}"))?;
    let mut work = (kernel.prepare)(2 * kernel.operations)?;
    work.make_ready(kernel.operations)?;
    work.run(kernel.operations)?;
    work.make_ready(kernel.operations)?;
    counted(work.as_mut(), kernel.operations)
}

/// Callgrind counts what happens in here: it is told this function's name.
#[inline(never)]
fn counted(work: &mut dyn Work, operations: u64) -> Result<()> {
    // Not the last call, since that would become a jump, and this function end before it.
    black_box(work.run(black_box(operations)))
}
