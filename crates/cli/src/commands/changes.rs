//! `diff`, `history`, and how changes are printed.

use std::collections::BTreeMap;

use bytes::Bytes;
use multibee::{
    Changed, DeviceId, Entry, HistoryOptions, KeyCommit, Multibee, Origin, RangeSpec, View,
};
use serde_json::{Map, Value, json};

use crate::args;
use crate::exit::{Exit, fail};
use crate::output::Output;
use crate::text;
use crate::when;

/// What devices and sources are called, for people to read.
pub(super) struct Names {
    own: DeviceId,
    names: BTreeMap<DeviceId, String>,
}

impl Names {
    pub(super) fn of(db: &Multibee) -> anyhow::Result<Self> {
        let devices = db.devices()?.into_iter().map(|device| (device.id, device.name));
        let sources = db.sources().into_iter().map(|source| (source.id, source.name));
        let named = devices.chain(sources).filter_map(|(id, name)| Some((id, name?)));
        Ok(Self { own: db.device(), names: named.collect() })
    }

    fn text(&self, origin: Origin) -> String {
        match origin {
            Origin::Own => "this device".into(),
            Origin::Device(id) => self.names.get(&id).cloned().unwrap_or_else(|| id.to_string()),
        }
    }

    const fn device(&self, origin: Origin) -> DeviceId {
        match origin {
            Origin::Own => self.own,
            Origin::Device(id) => id,
        }
    }

    /// A change on one line: a sign, the key, the value, and who wrote it.
    pub(super) fn line(&self, changed: &Changed) -> String {
        let Changed { key, before, now, origin, .. } = changed;
        let (sign, value) = match (before, now) {
            (_, None) => ('-', String::new().into()),
            (None, Some(now)) => ('+', text::shown(&now.value)),
            (Some(_), Some(now)) => ('~', text::shown(&now.value)),
        };
        format!("{sign} {}\t{value}\t{}", text::shown(key), self.text(*origin))
    }

    pub(super) fn json(&self, changed: &Changed) -> Map<String, Value> {
        let Changed { key, before, now, origin, time } = changed;
        let mut object = Map::new();
        text::insert(&mut object, "key", key);
        let mut insert = |name: &str, entry: &Option<Entry>| {
            if let Some(entry) = entry {
                text::insert(&mut object, name, &entry.value);
            }
        };
        insert("before", before);
        insert("value", now);
        object.insert("deleted".into(), now.is_none().into());
        object.insert("own".into(), (*origin == Origin::Own).into());
        object.insert("device".into(), self.device(*origin).to_string().into());
        object.insert("timeMs".into(), time.millis().into());
        let conflicts = now.as_ref().map_or(0, |entry| entry.conflicts);
        object.insert("conflicts".into(), conflicts.into());
        object
    }
}

pub(super) fn diff(db: &Multibee, diff: args::Diff, output: &mut Output) -> anyhow::Result<Exit> {
    let (from, to) = (diff.from.view(db)?, when::view(db, diff.to)?);
    if from.version() > to.version() {
        let what = format!("version {} comes after {}", from.version(), to.version());
        return Err(fail(Exit::Usage, what));
    }
    let names = Names::of(db)?;
    let spec = RangeSpec { limit: diff.limit, ..prefix(diff.prefix.as_deref()) };
    for changed in &to.changes_since(&from, spec)? {
        let changed = changed?;
        output.print(&names.json(&changed).into(), &names.line(&changed))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn history(
    db: &Multibee,
    history: args::History,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let names = Names::of(db)?;
    let until = when::view(db, history.until)?;
    let since = history.since.map(|when| when.view(db)).transpose()?;
    let since = since.map_or(1, |view| view.version());
    let limit = history.limit.unwrap_or(usize::MAX);
    let mut printed = 0;
    let mut print = |commit: KeyCommit| {
        printed += 1;
        output.print(&commit_json(&names, &commit), &commit_line(&names, &commit))?;
        anyhow::Ok(printed < limit)
    };
    if limit == 0 {
        return Ok(Exit::Ok);
    }
    if let Some(key) = &history.key {
        // From the last change on; the other order has to know all of them.
        let commits = until.key_history(key.as_bytes());
        let is_later = |commit: &Result<KeyCommit, _>| {
            commit.as_ref().map_or(true, |commit: &KeyCommit| commit.version > since)
        };
        let mut commits = commits.take_while(is_later);
        if history.reverse {
            each(&mut commits, &mut print)?;
        } else {
            let mut commits = commits.collect::<Vec<_>>();
            commits.reverse();
            each(&mut commits.into_iter(), &mut print)?;
        }
    } else {
        let options = HistoryOptions {
            since: Some(since),
            range: prefix(history.prefix.as_deref()),
            reverse: history.reverse,
            ..HistoryOptions::default()
        };
        each(&mut changes(&until, options)?, &mut print)?;
    }
    Ok(Exit::Ok)
}

fn each(
    commits: &mut dyn Iterator<Item = Result<KeyCommit, multibee::Error>>,
    print: &mut impl FnMut(KeyCommit) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    for commit in commits {
        if !print(commit?)? {
            break;
        }
    }
    Ok(())
}

/// The changes of all commits, each with its commit.
fn changes(
    view: &View,
    options: HistoryOptions,
) -> Result<impl Iterator<Item = Result<KeyCommit, multibee::Error>>, multibee::Error> {
    Ok(view.history(options)?.flat_map(|commit| {
        let (commit, error) = match commit {
            Ok(commit) => (Some(commit), None),
            Err(error) => (None, Some(Err(error))),
        };
        let changes = commit.into_iter().flat_map(|commit| {
            let multibee::Commit { version, is_merge, at, changes } = commit;
            changes
                .into_iter()
                .map(move |changed| Ok(KeyCommit { version, is_merge, at, changed: changed? }))
        });
        changes.chain(error)
    }))
}

fn commit_line(names: &Names, commit: &KeyCommit) -> String {
    let at = commit.at.map_or_else(|| "-".into(), |at| text::time(at.millis()));
    format!("{}\t{at}\t{}", commit.version, names.line(&commit.changed))
}

fn commit_json(names: &Names, commit: &KeyCommit) -> Value {
    let mut object = names.json(&commit.changed);
    object.insert("version".into(), commit.version.into());
    object.insert("merge".into(), commit.is_merge.into());
    object.insert("atMs".into(), json!(commit.at.map(multibee::Time::millis)));
    object.into()
}

/// All keys that begin with a prefix, if there is one.
pub(super) fn prefix(prefix: Option<&str>) -> RangeSpec {
    RangeSpec::prefix(prefix.unwrap_or_default().as_bytes())
}

/// One key.
pub(super) fn one(key: String) -> RangeSpec {
    let key = Bytes::from(key);
    RangeSpec { gte: Some(key.clone()), lte: Some(key), ..RangeSpec::default() }
}
