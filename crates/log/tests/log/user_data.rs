use multibee_log::{Error, Log, LogOptions, MemoryStorage};

use crate::keys;

/// A log takes a thousand values and no more, keeps all of them in a header, and can be rid of them.
#[test]
fn values_are_limited_in_number() {
    let storage = MemoryStorage::new();
    let log = Log::create(storage.clone(), keys(), LogOptions::default()).unwrap();
    let mut batch = log.batch();
    for number in 0..1000 {
        batch.set_user_data(format!("key {number}"), "value");
    }
    batch.commit().unwrap();
    let error = log.set_user_data("one more", b"value").unwrap_err();
    assert!(matches!(error, Error::BatchTooLarge { len: 1001, limit: 1000, .. }), "{error}");
    // One that is there may still change, and entries and header are read alike.
    log.set_user_data("key 7", b"another").unwrap();
    for is_flushed in [false, true] {
        if is_flushed {
            log.flush().unwrap();
        }
        let copy = Log::open(storage.deep_clone(), LogOptions::default()).unwrap();
        assert_eq!(copy.user_data("key 999").unwrap(), "value");
        assert_eq!(copy.user_data("key 7").unwrap(), "another");
        assert_eq!(copy.user_data("one more"), None);
    }
    log.set_user_data("key 0", b"").unwrap();
    log.set_user_data("one more", b"value").unwrap();
}
