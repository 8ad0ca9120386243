use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use multibee_log::Durability;
use multibee_merge::Digest;
use tempfile::TempDir;

use super::folder::STEPS_LEFT;
use super::*;
use crate::{Options, RangeSpec};

fn options() -> Options {
    Options { durability: Durability::Buffered, ..Options::default() }
}

fn database(keys: u64) -> Multibee {
    let db = Multibee::create(Home::memory(), options()).unwrap();
    write(&db, 0..keys);
    db
}

fn write(db: &Multibee, keys: std::ops::Range<u64>) {
    for key in keys {
        db.put(format!("key/{key:04}"), format!("value {key}")).unwrap();
    }
}

fn back_up(db: &Multibee, path: &Path) -> Result<BackedUp, Error> {
    db.backup(path, &BackupOptions::default(), |_| {})
}

fn restored(path: &Path) -> Result<Multibee, Error> {
    let home = Home::memory();
    Multibee::restore(path, &home, |_| {})?;
    Multibee::open(home, options())
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// What is put back holds the same, is another device, and goes on by itself; the backup can be put
/// back once more.
#[test]
fn a_restored_database_holds_the_same() {
    let (db, dir) = (database(300), folder());
    db.del("key/0007").unwrap();
    db.put("long", vec![7; 1 << 20]).unwrap();
    let done = back_up(&db, dir.path()).unwrap();
    assert_eq!((done.version, done.logs), (db.view().unwrap().version(), 1));
    let digest = db.digest();
    for _ in 0..2 {
        let restored = restored(dir.path()).unwrap();
        assert_eq!(restored.verify().unwrap().digest, digest);
        assert_ne!(restored.key(), db.key());
        restored.put("by the restored one", "1").unwrap();
    }
    assert_eq!(db.digest(), digest);
}

/// A home that has a database keeps it.
#[test]
fn nothing_is_overwritten() {
    let (db, dir) = (database(3), folder());
    back_up(&db, dir.path()).unwrap();
    let home = Home::memory();
    drop(Multibee::create(home.clone(), options()).unwrap());
    let refused = Multibee::restore(dir.path(), &home, |_| {});
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    let home = Home::memory();
    Multibee::restore(dir.path(), &home, |_| {}).unwrap();
    let again = Multibee::restore(dir.path(), &home, |_| {});
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
}

/// While somebody writes, a backup is the database as of a commit: what was committed before is in
/// it, whole, and nothing that came later.
#[test]
fn a_backup_is_a_committed_prefix() {
    let (db, dir) = (database(0), folder());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0.. {
                let mut batch = db.batch();
                for part in ["a", "b", "c"] {
                    batch.put(format!("{number:08}/{part}"), vec![0; 2000]);
                }
                batch.commit().unwrap();
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let mut before = 0;
        for _ in 0..5 {
            let least = db.range(RangeSpec::default()).unwrap().count();
            back_up(&db, dir.path()).unwrap();
            let restored = restored(dir.path()).unwrap();
            restored.verify().unwrap();
            let keys = restored.range(RangeSpec::default()).unwrap();
            let keys: Vec<_> = keys.map(|entry| entry.unwrap().key).collect();
            let whole =
                (0..).flat_map(|number| ["a", "b", "c"].map(|part| format!("{number:08}/{part}")));
            let whole: Vec<_> = whole.take(keys.len()).collect();
            assert!(keys.len() % 3 == 0 && keys.len() >= least.max(before));
            assert_eq!(keys, whole);
            before = keys.len();
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

/// A second backup writes what is new, and nothing if nothing is. Files are their owner's alone.
#[test]
fn only_what_is_new_is_copied() {
    let (db, dir) = (database(2000), folder());
    let first = back_up(&db, dir.path()).unwrap();
    assert_eq!((first.bytes, first.bytes_written > 100_000), (first.bytes_written, true));
    let idle = back_up(&db, dir.path()).unwrap();
    assert_eq!((idle.bytes, idle.bytes_written), (first.bytes, 0));
    write(&db, 1000..1010);
    let second = back_up(&db, dir.path()).unwrap();
    assert_eq!(second.bytes, first.bytes + second.bytes_written);
    assert!((1..20_000).contains(&second.bytes_written), "{second:?}");
    assert_eq!(restored(dir.path()).unwrap().digest(), db.digest());

    let mut files = vec![dir.path().join("logs"), dir.path().join("keys")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap());
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }
}

/// When the database has moved to a fresh log, that is copied, and the old copy goes.
#[test]
fn a_move_is_followed() {
    let (db, dir) = (database(300), folder());
    write(&db, 0..300);
    back_up(&db, dir.path()).unwrap();
    db.compact(|_| {}).unwrap();
    back_up(&db, dir.path()).unwrap();
    assert_eq!(restored(dir.path()).unwrap().digest(), db.digest());
    assert_eq!(fs::read_dir(dir.path().join("logs")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(dir.path().join("keys")).unwrap().count(), 1);
}

/// Wherever a backup is cut short, the one before can be put back, or the new one; the next one is
/// whole. Before the first one was done there is none.
#[test]
fn a_backup_that_is_cut_short_harms_nothing() {
    let mut cuts = 0;
    for steps in 0.. {
        let (db, dir) = (database(20), folder());
        let path = dir.path().join("backup");
        let cut = |steps| {
            STEPS_LEFT.set(Some(steps));
            let result = back_up(&db, &path);
            STEPS_LEFT.set(None);
            result
        };
        let first = db.digest();
        let began = cut(steps);
        if began.is_err() {
            match restored(&path) {
                Ok(restored) => assert_eq!(restored.digest(), first, "{steps}"),
                Err(error) => assert!(matches!(error, Error::BadBackup { .. }), "{error}"),
            }
        }
        back_up(&db, &path).unwrap();
        write(&db, 10..30);
        // A move, too: then another file takes the place of the one that is there.
        if steps % 2 == 1 {
            db.compact(|_| {}).unwrap();
        }
        let ended = cut(steps);
        let digest = restored(&path).unwrap().digest();
        assert!(digest == first || digest == db.digest(), "{steps}");
        back_up(&db, &path).unwrap();
        assert_eq!(restored(&path).unwrap().digest(), db.digest(), "{steps}");
        assert_eq!(fs::read_dir(path.join("logs")).unwrap().count(), 1);
        cuts += u64::from(began.is_err()) + u64::from(ended.is_err());
        if began.is_ok() && ended.is_ok() {
            break;
        }
    }
    assert!(cuts > 20, "{cuts}");
}

/// What was cut short while it was put back is no database, and can be put back once more.
#[test]
fn a_restore_that_is_cut_short_leaves_no_database() {
    let (db, dir) = (database(20), folder());
    back_up(&db, dir.path()).unwrap();
    let (backup, catalog) = Folder::open_existing(dir.path()).unwrap();
    let home = Home::memory();
    let seed = backup.key(&catalog.primary).unwrap();
    let cut = home.restore_primary(catalog.primary, &seed, |log| {
        restoring::fill(&backup, &catalog.logs[0], log, &mut |_| {})?;
        Err(Error::Moving)
    });
    assert!(cut.is_err());
    drop(backup);
    assert!(matches!(Multibee::open(home.clone(), options()), Err(Error::NotADatabase { .. })));
    Multibee::restore(dir.path(), &home, |_| {}).unwrap();
    assert_eq!(Multibee::open(home, options()).unwrap().digest(), db.digest());
}

/// Whatever bit is wrong in a copied log: that is said, or it makes no difference.
#[test]
fn damage_is_found() {
    let (db, dir) = (database(20), folder());
    back_up(&db, dir.path()).unwrap();
    let file = fs::read_dir(dir.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    let sound = fs::read(&file).unwrap();
    let mut found = 0;
    for at in (0..sound.len()).step_by(7) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&file, &damaged).unwrap();
        match restored(dir.path()) {
            Ok(restored) => assert_eq!(restored.digest(), db.digest(), "{at}"),
            Err(Error::BadBackup { .. }) => found += 1,
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(found * 7 > sound.len() * 9 / 10, "{found}");
    fs::write(&file, &sound[..sound.len() - 1]).unwrap();
    assert!(matches!(restored(dir.path()), Err(Error::BadBackup { .. })));
    assert!(back_up(&db, dir.path()).is_err());
}

/// A folder with other things in it is left alone, and so is another database's backup.
#[test]
fn what_is_in_the_way_stays() {
    let (db, dir) = (database(3), folder());
    fs::write(dir.path().join("diary"), "dear").unwrap();
    let refused = back_up(&db, dir.path());
    assert!(matches!(refused, Err(Error::BadBackup { .. })), "{refused:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let (other, dir) = (database(5), folder());
    back_up(&other, dir.path()).unwrap();
    let refused = back_up(&db, dir.path());
    assert!(matches!(refused, Err(Error::BadBackup { .. })), "{refused:?}");
    assert_eq!(restored(dir.path()).unwrap().digest(), other.digest());
    assert_ne!(other.digest(), Digest::EMPTY);
    let none = restored(folder().path());
    assert!(matches!(none, Err(Error::BadBackup { .. })));
}

/// The key of the log that a backup was made of does not stay with what was put back.
#[test]
fn the_old_key_is_given_up() {
    let (db, dir) = (database(3), folder());
    back_up(&db, dir.path()).unwrap();
    let home = Home::memory();
    Multibee::restore(dir.path(), &home, |_| {}).unwrap();
    for _ in 0..2 {
        drop(Multibee::open(home.clone(), options()).unwrap());
    }
    let old = home.replica(db.key(), multibee_log::LogOptions::default()).unwrap();
    assert!(old.len() > 3 && old.seed().is_none() && !old.is_writable());
}
