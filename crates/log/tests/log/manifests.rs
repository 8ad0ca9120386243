use multibee_log::{Error, KeyPair, Log, LogOptions, Manifest, MemoryStorage, Signer};

use crate::keys;

fn signer(keys: &KeyPair, namespace: u8) -> Signer {
    Signer { namespace: [namespace; 32], public_key: keys.public_key() }
}

fn create(manifest: &Manifest, compat: bool) -> Result<Log, Error> {
    let manifest = Some(manifest.clone());
    let options = LogOptions { compat, manifest, ..LogOptions::default() };
    Log::create(MemoryStorage::new(), keys(), options)
}

/// One key pair has as many logs as it has namespaces, and may be one of several who each may sign.
#[test]
fn namespaces_set_logs_apart() {
    let other = KeyPair::from_seed([8; 32]);
    let manifests = [
        Manifest::single(keys().public_key()),
        Manifest::new(vec![signer(&keys(), 1)], 1),
        Manifest::new(vec![signer(&keys(), 2)], 1),
        Manifest::new(vec![signer(&other, 1), signer(&keys(), 1)], 1),
    ];
    let logs = manifests.each_ref().map(|manifest| create(manifest, false).unwrap());
    for (log, manifest) in logs.iter().zip(&manifests) {
        assert_eq!(log.key(), manifest.key());
        assert_eq!(log.manifest().as_ref(), Some(manifest));
        assert_eq!(log.append(&["block"]).unwrap(), 1);
    }
    for (number, log) in logs.iter().enumerate() {
        assert!(logs[..number].iter().all(|other| other.key() != log.key()));
    }
}

/// A log that its creator could not write is not created.
#[test]
fn unfit_manifests_are_refused() {
    let other = KeyPair::from_seed([8; 32]);
    let both = vec![signer(&keys(), 1), signer(&other, 1)];
    let mut with_prologue = vec![1, 2, 0, 1, 1, 0];
    with_prologue.extend_from_slice(&[1; 32]);
    with_prologue.extend_from_slice(&keys().public_key());
    with_prologue.extend_from_slice(&[9; 32]);
    with_prologue.push(5);
    let unfit = [
        (Manifest::single(other.public_key()), false),
        (Manifest::single(other.public_key()), true),
        (Manifest::new(both.clone(), 2), false),
        (Manifest::new(both.clone(), 0), false),
        (Manifest::new(both, 1), true),
        (Manifest::decode(&with_prologue).unwrap(), false),
    ];
    for (manifest, compat) in &unfit {
        let outcome = create(manifest, *compat);
        assert!(matches!(outcome, Err(Error::NotWritable)), "{manifest:?}: {outcome:?}");
    }
}
