//! What can be typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use multibee::DeviceRole;

use crate::kind;
use crate::when::When;

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
        /// All values that the key shows, if its rule keeps several
        #[arg(long, conflicts_with = "raw")]
        all: bool,
        #[command(flatten)]
        at: At,
    },
    /// Delete keys
    Del {
        /// The keys
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Merge a JSON object into the one under a key: fields that are not named stay, null removes one
    Patch {
        /// The key
        key: String,
        /// The fields, as a JSON object
        fields: String,
    },
    /// Add to the counter under a key, and print what it shows then
    Incr {
        /// The key
        key: String,
        /// How much
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
    },
    /// Add an element to the set under a key, or remove one
    Set {
        #[command(subcommand)]
        change: SetChange,
    },
    /// List keys and values, in the order of the keys
    Ls(Ls),
    /// List what has changed between two versions, and who changed it
    Diff(Diff),
    /// List what this device wrote and merged, commit by commit, and who wrote it
    History(History),
    /// Print changes as they happen, with who made them, until interrupted
    Watch(Watch),
    /// List what this device and others hold together, before it is merged here
    Union {
        /// Only keys that begin with this
        prefix: Option<String>,
        /// Where to connect to; without it, to all devices whose addresses are known
        #[arg(long, value_name = "ADDR")]
        with: Option<String>,
        /// Seconds to wait for answers
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
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
        #[command(flatten)]
        at: At,
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
        /// What it may do: read-only, full, or mirror
        #[arg(long, default_value = "full", value_parser = role)]
        role: DeviceRole,
    },
    /// Give a device another name, on every device
    Rename {
        /// The device: its name, its short id or its key
        device: String,
        /// The new name
        name: String,
    },
    /// Remove a device, for good: nothing that it writes from now on is taken
    Remove {
        /// The device: its name, its short id or its key
        device: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Wait no longer for a device that has stayed away. When it returns, it goes on under another key
    Retire {
        /// The device: its name, its short id or its key
        device: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List what this device wrote and the others did not take, because they removed it
    Unmerged,
    /// Make or check the words by which a new device gets in when others are lost
    #[command(subcommand)]
    Recovery(Recovery),
    /// Begin a new device with the recovery words, which are read from the standard input
    Recover(Recover),
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
        /// Connect to who serves the plain Hyperbees that are taken in; may be given several times
        #[arg(long = "source", value_name = "ADDR")]
        sources: Vec<String>,
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
    Conflicts {
        /// Only keys that begin with this
        prefix: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Settle a conflict, on every device
    Resolve(Resolve),
    /// List versions that this program can't read: they are kept, and shown after an upgrade
    NotMerged,
    /// List the rules by which keys are merged
    Rules,
    /// Set how keys that begin with a prefix are merged, on every device
    Rule(Rule),
    /// List the plain Hyperbees that are taken in
    Sources,
    /// Take in a plain Hyperbee, of a Node program say: its keys become keys of this database
    AddSource {
        /// The key of its log, as 52 characters or 64 hex digits
        key: String,
        /// A name for people to read
        #[arg(long)]
        name: Option<String>,
    },
    /// Take in nothing more of a plain Hyperbee; what was read of it stays
    RemoveSource {
        /// The key of its log
        key: String,
    },
    /// Copy the database to a folder, with this device's key. A second time only what is new is copied
    Backup {
        /// The folder: empty, or with a backup of this database
        path: PathBuf,
        /// Other devices' logs, too, as far as they are here
        #[arg(long)]
        replicas: bool,
    },
    /// Put a backup into the directory, where no database may be, as a device of its own
    Restore {
        /// The folder of the backup
        path: PathBuf,
    },
    /// Go on in a fresh log that holds only what is alive: the history is gone then, and this device has
    /// another key
    Compact {
        /// Only say what there is, what would be left, and what holds room back
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Give back room that nobody needs any more: what is remembered of deleted keys, and other
    /// devices' blocks that are merged. Says what has to stay, and because of which device
    Reclaim(Reclaim),
    /// Read everything: check all logs against their signatures, and the data against the digest of
    /// the last commit
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
    /// As a value that merges by itself: map, set, counter, or a type's number
    #[arg(long = "type", value_name = "TYPE", value_parser = kind::parse)]
    pub(crate) kind: Option<u32>,
    /// Only if the key has this value; otherwise the exit code is 3
    #[arg(long, value_name = "VALUE")]
    pub(crate) if_value: Option<String>,
    /// Only if the key is absent; otherwise the exit code is 3
    #[arg(long, conflicts_with = "if_value")]
    pub(crate) if_absent: bool,
}

/// What to do about the recovery words.
#[derive(Subcommand, Debug)]
pub(crate) enum Recovery {
    /// Make new words, and show them once; earlier ones count no longer
    Create {
        /// Do not ask if there are words already
        #[arg(long)]
        yes: bool,
    },
    /// Read words from the standard input, and say whether they are right; if not, the exit code is 1
    Check,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Recover {
    /// Where a device of the database listens
    #[arg(value_name = "HOST:PORT")]
    pub(crate) address: String,
    /// A name for the new device
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A device that is lost: its name, its short id or its key. It is removed. May be given several times
    #[arg(long, value_name = "DEVICE")]
    pub(crate) lost: Vec<String>,
    /// Seconds to wait for all to be the same
    #[arg(long, default_value_t = 600)]
    pub(crate) timeout: u64,
}

fn role(text: &str) -> Result<DeviceRole, String> {
    let roles = [DeviceRole::ReadOnly, DeviceRole::Full, DeviceRole::Mirror];
    let found = roles.into_iter().find(|role| role.to_string() == text);
    found.ok_or_else(|| format!("{text:?} is no role: say read-only, full or mirror"))
}

/// What to do with an element of a set.
#[derive(Subcommand, Debug)]
pub(crate) enum SetChange {
    /// Add an element
    Insert {
        /// The key
        key: String,
        /// The element, as JSON
        element: String,
    },
    /// Remove an element; what another device adds meanwhile stays
    Remove {
        /// The key
        key: String,
        /// The element, as JSON
        element: String,
    },
}

/// The version to read.
#[derive(ClapArgs, Debug)]
pub(crate) struct At {
    /// As this device showed it then: a version (a number), or a time in UTC, as 2026-11-22 or
    /// "2026-11-22 10:15:02"
    #[arg(long = "at", value_name = "WHEN", value_parser = When::parse)]
    pub(crate) when: Option<When>,
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
    /// Print only how many there are
    #[arg(long)]
    pub(crate) count: bool,
    #[command(flatten)]
    pub(crate) at: At,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Diff {
    /// The earlier version: a number, or a time in UTC
    #[arg(value_parser = When::parse)]
    pub(crate) from: When,
    /// The later version; without it, what is shown now
    #[arg(value_parser = When::parse)]
    pub(crate) to: Option<When>,
    /// Only keys that begin with this
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// At most so many
    #[arg(long)]
    pub(crate) limit: Option<u64>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct History {
    /// Only this key
    pub(crate) key: Option<String>,
    /// Only keys that begin with this
    #[arg(long, conflicts_with = "key")]
    pub(crate) prefix: Option<String>,
    /// Only what came after this: a version (a number), or a time in UTC
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub(crate) since: Option<When>,
    /// Only what came up to this
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub(crate) until: Option<When>,
    /// From the last change to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many changes
    #[arg(long)]
    pub(crate) limit: Option<usize>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Watch {
    /// Only keys that begin with this
    pub(crate) prefix: Option<String>,
    /// Only this key
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) key: Option<String>,
    /// Begin with what came after this: a version (a number), or a time in UTC
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    pub(crate) since: Option<When>,
    /// End after so many changes
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// Take connections, too; port 0 lets the system choose
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Do not dial the devices whose addresses are known
    #[arg(long)]
    pub(crate) no_dial: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Reclaim {
    /// Give nothing back: only say what could be
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    /// Other devices' blocks go as soon as they are merged here, even if a third device may not have
    /// them yet: it gets what it lacks otherwise
    #[arg(long)]
    pub(crate) even_for_others: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Resolve {
    /// The key
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) by: By,
}

/// How a conflict is settled.
#[derive(ClapArgs, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct By {
    /// By what this version says: DEVICE:BLOCK, as `conflicts` prints it
    #[arg(long, value_name = "VERSION")]
    pub(crate) pick: Option<String>,
    /// By this value
    #[arg(long)]
    pub(crate) value: Option<String>,
    /// By a delete
    #[arg(long)]
    pub(crate) delete: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Rule {
    /// The prefix
    pub(crate) prefix: String,
    /// What is shown of concurrent versions: last-writer, delete-wins, keep-all
    #[arg(long)]
    pub(crate) strategy: Option<String>,
    /// The type that `put` writes: plain, map, set, counter, or a type's number
    #[arg(long = "type", value_name = "TYPE", value_parser = kind::parse)]
    pub(crate) kind: Option<u32>,
    /// Take the rule for the prefix away
    #[arg(long, conflicts_with_all = ["strategy", "kind"])]
    pub(crate) clear: bool,
}
