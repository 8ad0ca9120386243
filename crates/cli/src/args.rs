//! What can be typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// A multi-writer, local-first key-value database for one person's devices.
///
/// Every device reads and writes its own database, offline. Devices that know each other merge
/// what the others wrote whenever they meet, and end with the same data.
///
/// Exit codes: 0 ok, 1 not found, 2 usage, 3 conflicts, 4 not synced in time, 5 integrity.
#[derive(Parser, Debug)]
#[command(name = "multibee", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Directory of the database
    #[arg(long, global = true, value_name = "DIR", env = "MULTIBEE_DIR", default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Print JSON, one value a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create a database in the directory, and print this device's key
    Init,
    /// Put a value
    Put(Put),
    /// Print the value of a key
    Get {
        /// The key
        key: String,
        /// Print the bytes of the value and nothing else
        #[arg(long)]
        raw: bool,
    },
    /// Delete keys
    Del {
        /// The keys
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// List keys and values, in the order of the keys
    Ls(Ls),
    /// Put all records of a .jsonl or .tsv file
    ///
    /// A .jsonl file holds one object a line, with "key" and "value"; a value that is no string is
    /// stored as its JSON text. A .tsv file holds a key, a tab and a value a line. Records go in as
    /// commits of 1,000.
    Import {
        /// The file
        file: PathBuf,
    },
    /// Print all records, or write them to a file that `import` reads
    Export {
        /// The file, .jsonl or .tsv; without one, JSON lines go to the standard output
        file: Option<PathBuf>,
    },
    /// List the devices of this database
    Devices,
    /// Admit a device; it has to admit this one, too
    Add {
        /// The device's key, as its `init` printed it, and where it listens
        #[arg(value_name = "KEY[@HOST:PORT]")]
        device: String,
        /// A name for people to read
        #[arg(long)]
        name: Option<String>,
    },
    /// Remove a device, for good: nothing that it writes from now on is taken
    Remove {
        /// The device's key
        key: String,
    },
    /// Go on with a directory that was moved by copying it. Never for one that is still used
    /// elsewhere, nor for an older backup
    Adopt,
    /// Take connections from other devices and readers, until interrupted
    Serve {
        /// Where to listen; port 0 lets the system choose
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4977")]
        listen: String,
        /// Do not dial the devices whose addresses are known
        #[arg(long)]
        no_dial: bool,
    },
    /// Connect to other devices, and end when all hold the same data
    Sync {
        /// Where to connect to; without it, to all devices whose addresses are known
        #[arg(long, value_name = "ADDR")]
        with: Option<String>,
        /// Keep trying until the time is up, rather than fail when a device can't be reached
        #[arg(long)]
        wait: bool,
        /// Seconds to wait for all to be the same
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
    /// Tell how the database is doing
    Status,
    /// List keys with several concurrent versions; the exit code is 3 if there are any
    Conflicts,
    /// Read everything and check it against the digest of the last commit
    Verify,
    /// Run the main job: three devices write apart, meet, and end with the same data
    Demo {
        /// Records to split over the devices, .jsonl or .tsv; without it, ISO 3166
        file: Option<PathBuf>,
        /// Where the three devices' directories go
        #[arg(long, value_name = "DIR", default_value = "multibee-demo")]
        out: PathBuf,
    },
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Put {
    /// The key
    pub(crate) key: String,
    /// The value
    #[arg(required_unless_present = "file")]
    pub(crate) value: Option<String>,
    /// Take the value from a file; - is the standard input
    #[arg(long, conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Ls {
    /// Only keys that begin with this
    pub(crate) prefix: Option<String>,
    /// Only keys from this one on
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<String>,
    /// Only keys up to, but without, this one
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<String>,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many
    #[arg(long)]
    pub(crate) limit: Option<u64>,
}
