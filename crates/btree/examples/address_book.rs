//! An address book in a folder: puts, gets, deletes and lists people, with an index by city.
//!
//!     cargo run -p multibee-btree --example address_book -- FOLDER put ada "Ada Lovelace" London
//!     cargo run -p multibee-btree --example address_book -- FOLDER get ada
//!     cargo run -p multibee-btree --example address_book -- FOLDER in London
//!     cargo run -p multibee-btree --example address_book -- FOLDER list
//!     cargo run -p multibee-btree --example address_book -- FOLDER del ada
//!
//! Without arguments it does some of this in memory.

use std::error::Error;

use multibee_btree::{Bee, BeeOptions, RangeOptions};
use multibee_log::{FileStorage, KeyPair, Log, LogOptions, MemoryStorage};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// A person is one entry, and one more in the index: city, zero byte, nick.
struct AddressBook {
    bee: Bee,
    people: Bee,
    by_city: Bee,
}

impl AddressBook {
    fn new(log: Log) -> Result<Self> {
        let bee = Bee::open(log, BeeOptions::default())?;
        let (people, by_city) = (bee.sub("people"), bee.sub("by city"));
        Ok(Self { bee, people, by_city })
    }

    /// Both entries come in one batch, so the index is never wrong.
    fn put(&self, nick: &str, name: &str, city: &str) -> Result<()> {
        let mut batch = self.bee.batch()?;
        let old = batch.within(&self.people)?.get(nick.as_bytes())?;
        if let Some((_, city)) = old.and_then(|entry| parse(&entry.value?)) {
            batch.within(&self.by_city.sub(city))?.del(nick.as_bytes(), "")?;
        }
        let value = format!("{name}\n{city}");
        batch.within(&self.people)?.put(nick.as_bytes(), Some(value), "")?;
        batch.within(&self.by_city.sub(city))?.put(nick.as_bytes(), Some(""), "")?;
        batch.flush()?;
        Ok(())
    }

    fn get(&self, nick: &str) -> Result<Option<(String, String)>> {
        let entry = self.people.snapshot()?.get(nick.as_bytes())?;
        Ok(entry.and_then(|entry| parse(&entry.value?)))
    }

    fn del(&self, nick: &str) -> Result<bool> {
        let Some((_, city)) = self.get(nick)? else {
            return Ok(false);
        };
        let mut batch = self.bee.batch()?;
        batch.within(&self.people)?.del(nick.as_bytes(), "")?;
        batch.within(&self.by_city.sub(city))?.del(nick.as_bytes(), "")?;
        batch.flush()?;
        Ok(true)
    }

    fn list(&self) -> Result<Vec<String>> {
        nicks(&self.people)
    }

    fn in_city(&self, city: &str) -> Result<Vec<String>> {
        nicks(&self.by_city.sub(city))
    }
}

fn nicks(bee: &Bee) -> Result<Vec<String>> {
    let range = bee.snapshot()?.range(RangeOptions::default());
    range.map(|entry| Ok(String::from_utf8(entry?.key.to_vec())?)).collect()
}

fn parse(value: &[u8]) -> Option<(String, String)> {
    let (name, city) = std::str::from_utf8(value).ok()?.split_once('\n')?;
    Some((name.to_owned(), city.to_owned()))
}

fn run(book: &AddressBook, arguments: &[&str]) -> Result<()> {
    match arguments {
        ["put", nick, name, city] => book.put(nick, name, city)?,
        ["get", nick] => match book.get(nick)? {
            Some((name, city)) => println!("{name}, {city}"),
            None => println!("nobody is called {nick}"),
        },
        ["del", nick] => println!("{}", if book.del(nick)? { "deleted" } else { "not there" }),
        ["in", city] => book.in_city(city)?.iter().for_each(|nick| println!("{nick}")),
        ["list"] => book.list()?.iter().for_each(|nick| println!("{nick}")),
        _ => return Err("put NICK NAME CITY, get NICK, del NICK, in CITY, or list".into()),
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let options = LogOptions::default();
    if let [folder, command @ ..] = arguments.as_slice() {
        let log = if FileStorage::exists(folder)? {
            Log::open(FileStorage::open(folder)?, options)?
        } else {
            Log::create(FileStorage::create(folder)?, KeyPair::generate(), options)?
        };
        return run(&AddressBook::new(log)?, command);
    }
    let log = Log::create(MemoryStorage::new(), KeyPair::generate(), options)?;
    let book = AddressBook::new(log)?;
    for command in [
        ["put", "ada", "Ada Lovelace", "London"].as_slice(),
        &["put", "alan", "Alan Turing", "Manchester"],
        &["put", "alan", "Alan Turing", "London"],
        &["in", "London"],
        &["get", "alan"],
        &["del", "ada"],
        &["list"],
    ] {
        println!("> {}", command.join(" "));
        run(&book, command)?;
    }
    Ok(())
}
