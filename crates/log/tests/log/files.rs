use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use multibee_log::{Error, FileStorage, Log, LogOptions, MemoryStorage, Part, Storage};

use crate::keys;

/// A directory can be open once at a time, also within one process.
#[test]
fn a_second_open_is_locked_out() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let log =
        Log::create(FileStorage::create(&dir).unwrap(), keys(), LogOptions::default()).unwrap();
    let error = FileStorage::open(&dir).unwrap_err();
    assert!(matches!(error, Error::Locked { path } if path == dir));
    drop(log);
    FileStorage::open(&dir).unwrap();
}

/// A new log has the files that were written, readable by their owner alone.
#[test]
fn files_are_private_and_made_when_written() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().mode() & 0o777;
    let names = || {
        let entries = fs::read_dir(&dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let log =
        Log::create(FileStorage::create(&dir).unwrap(), keys(), LogOptions::default()).unwrap();
    assert_eq!(names(), ["instance", "key", "oplog"]);
    log.append(&["block"]).unwrap();
    assert_eq!(names(), ["data", "instance", "key", "oplog"]);
    assert_eq!(mode("."), 0o700);
    assert!(names().iter().all(|name| mode(name) == 0o600));
    assert_eq!(fs::metadata(dir.join("oplog")).unwrap().len(), 8192 + 119);
}

/// Where no file can reach there are no bytes, and to look is no error.
#[test]
fn nothing_is_found_beyond_any_file() {
    let temp = tempfile::tempdir().unwrap();
    let storage = FileStorage::create(temp.path().join("log")).unwrap();
    storage.write_at(Part::Data, 0, b"block").unwrap();
    for offset in [5, i64::MAX as u64 - 1, i64::MAX as u64, 1 << 63, u64::MAX] {
        assert_eq!(storage.read_at(Part::Data, offset, &mut [0; 3]).unwrap(), 0, "{offset}");
    }
}

/// A key that others can read is refused.
#[test]
fn an_exposed_key_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    drop(Log::create(FileStorage::create(&dir).unwrap(), keys(), LogOptions::default()).unwrap());
    fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o640)).unwrap();
    let error = Log::open(FileStorage::open(&dir).unwrap(), LogOptions::default()).unwrap_err();
    assert!(
        matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
    );
}

/// A log whose creation was not finished leaves nothing behind, and nothing in the way.
#[test]
fn unfinished_creation_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("deep/log");
    drop(FileStorage::create(&dir).unwrap());
    assert!(!dir.exists());
    assert_eq!(fs::read_dir(temp.path().join("deep")).unwrap().count(), 0);
    // As after a crash: the directory aside is still there.
    fs::create_dir(temp.path().join("deep/.log.new")).unwrap();
    fs::write(temp.path().join("deep/.log.new/oplog"), "rest").unwrap();
    drop(Log::create(FileStorage::create(&dir).unwrap(), keys(), LogOptions::default()).unwrap());
    assert_eq!(fs::read_dir(temp.path().join("deep")).unwrap().count(), 1);
    assert!(FileStorage::exists(&dir).unwrap());
}

/// A log is never made where one is already, nor where parts of one are left.
#[test]
fn creation_overwrites_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let log =
        Log::create(FileStorage::create(&dir).unwrap(), keys(), LogOptions::default()).unwrap();
    log.append(&["block"]).unwrap();
    drop(log);
    assert!(matches!(FileStorage::create(&dir), Err(Error::Io(_))));
    let storage = FileStorage::open(&dir).unwrap();
    let error = Log::create(storage, keys(), LogOptions::default()).unwrap_err();
    assert!(matches!(error, Error::WrongStorage { .. }));
    fs::remove_file(dir.join("oplog")).unwrap();
    let storage = FileStorage::create(&dir).unwrap();
    let error = Log::create(storage, keys(), LogOptions::default()).unwrap_err();
    assert!(matches!(error, Error::WrongStorage { .. }));
    // An existing directory without a log is used as it is.
    let dir = temp.path().join("empty");
    fs::create_dir(&dir).unwrap();
    drop(Log::create(FileStorage::create(&dir).unwrap(), keys(), LogOptions::default()).unwrap());
    assert!(Log::exists(&FileStorage::open(&dir).unwrap()).unwrap());
}

/// What is not a log is told from a log.
#[test]
fn absence_is_told() {
    let storage = MemoryStorage::new();
    assert!(!Log::exists(&storage).unwrap());
    let error = Log::open(storage.clone(), LogOptions::default()).unwrap_err();
    assert!(matches!(error, Error::WrongStorage { .. }));
    let temp = tempfile::tempdir().unwrap();
    assert!(matches!(FileStorage::open(temp.path()), Err(Error::Io(_))));
    drop(Log::create(storage.clone(), keys(), LogOptions::default()).unwrap());
    assert!(Log::exists(&storage).unwrap());
}

/// The secret key stands in its own part, nowhere else, and is never printed.
#[test]
fn the_secret_stays_in_its_part() {
    let secret = [0x5a; 32];
    let keys = multibee_log::KeyPair::from_seed(secret);
    assert!(!format!("{keys:?}").contains("5a5a5a"));
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys, LogOptions::default()).unwrap();
    log.append(&vec!["block"; 2000]).unwrap();
    assert!(!format!("{log:?}").contains("5a5a5a"));
    for part in Part::ALL {
        let mut bytes = vec![0; storage.len(part).unwrap() as usize];
        storage.read_at(part, 0, &mut bytes).unwrap();
        let has_secret = bytes.windows(32).any(|window| window == secret);
        assert_eq!(has_secret, part == Part::Key, "{part}");
    }
    drop(log);
    // Another log's key is not taken for this one's, and without a key the log can be read only.
    storage.write_at(Part::Key, 0, &[1; 32]).unwrap();
    let error = Log::open(storage.clone(), LogOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { part: Part::Key, .. }));
    storage.truncate(Part::Key, 0).unwrap();
    let log = Log::open(storage, LogOptions::default()).unwrap();
    assert!(!log.is_writable());
    assert!(matches!(log.append(&["more"]), Err(Error::NotWritable)));
    assert_eq!(log.sign(b"message"), None);
}

/// However many logs are open, few files are: two for each log at most once the limit is reached,
/// of which one is the locked one. All logs go on reading and writing.
#[cfg(target_os = "linux")]
#[test]
fn few_files_are_open() {
    let temp = tempfile::tempdir().unwrap();
    let open_files = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
            fs::read_link(entry.unwrap().path()).ok().filter(|path| path.starts_with(temp.path()))
        });
        links.count()
    };
    let logs: Vec<Log> = (0..300_u64)
        .map(|number| {
            let storage = FileStorage::create(temp.path().join(number.to_string())).unwrap();
            let log = Log::create(storage, keys(), LogOptions::default()).unwrap();
            log.append(&[number.to_le_bytes()]).unwrap();
            log.flush().unwrap();
            log
        })
        .collect();
    assert!(open_files() <= 300 + 256, "{} open files", open_files());
    for (number, log) in logs.iter().enumerate() {
        log.append(&["more"]).unwrap();
        let error = FileStorage::open(temp.path().join(number.to_string())).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "closing others never unlocks");
        assert_eq!(log.get(0).unwrap().unwrap(), (number as u64).to_le_bytes().as_slice());
        assert_eq!(log.get(1).unwrap().unwrap(), "more");
    }
    assert!(open_files() <= 300 + 256, "{} open files", open_files());
}
