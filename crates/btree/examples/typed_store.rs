//! Keeps values of one's own types, creates them only where there are none, and follows one of them.
//!
//!     cargo run -p multibee-btree --example typed_store

use std::error::Error;
use std::thread;

use multibee_btree::{Bee, BeeOptions, Expect, Json, Utf8, typed};
use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    title: String,
    done: bool,
}

type Tasks = typed::Bee<Utf8, Json<Task>>;

fn main() -> Result<(), Box<dyn Error>> {
    let log = Log::create(MemoryStorage::new(), KeyPair::generate(), LogOptions::default())?;
    let tasks: Tasks = Bee::open(log, BeeOptions::default())?.sub("tasks").typed();

    let task = |title: &str| Task { title: title.to_owned(), done: false };
    for (id, title) in [("1", "buy bread"), ("2", "call Ada"), ("1", "buy milk")] {
        let outcome = tasks.put_expecting(id, &task(title), &Expect::Absent)?;
        println!("task {id}, {title:?}: {}", if outcome.is_written() { "new" } else { "taken" });
    }

    // Another thread changes a task, unless somebody has changed it since it was read.
    let mut watch = tasks.get_and_watch("2")?;
    let writer = thread::spawn({
        let tasks = tasks.clone();
        move || -> Result<bool, multibee_btree::Error> {
            let Some(entry) = tasks.get("2")? else { return Ok(false) };
            let Some(task) = entry.value else { return Ok(false) };
            let done = Task { done: true, ..task };
            Ok(tasks.put_expecting("2", &done, &Expect::Seq(entry.seq))?.is_written())
        }
    });
    let seen = watch.wait()?.and_then(|entry| entry.value);
    println!("task 2 is now {seen:?}");
    writer.join().map_err(|_| "the writer panicked")??;

    for entry in tasks.snapshot()?.range(..)? {
        let entry = entry?;
        println!("{}: {:?}", entry.key, entry.value);
    }
    Ok(())
}
