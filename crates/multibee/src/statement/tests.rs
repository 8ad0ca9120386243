use multibee_log::{KeyPair, Log, LogOptions, MemoryStorage};

use super::*;

pub(crate) fn log(seed: u8) -> Log {
    let keys = KeyPair::from_seed([seed; 32]);
    Log::create(MemoryStorage::default(), keys, LogOptions::default()).unwrap()
}

fn claims() -> Vec<Claim> {
    let key = log(2).key();
    let applied = Extent { length: 9, tag: Some([1; 8]) };
    let (me, subject) = (log(1).key(), log(2));
    let consent = Consent::of(&subject, Purpose::Successor, &me).unwrap();
    let recovery = Consent::of(&subject, Purpose::Recovery, &me).unwrap();
    vec![
        Claim::Add { key, name: Some("phone".into()), role: DeviceRole::Full },
        Claim::Add { key, name: None, role: DeviceRole::ReadOnly },
        Claim::Add { key, name: None, role: DeviceRole::Mirror },
        Claim::Remove { key, applied, why: Leaving::Removed },
        Claim::Remove { key, applied, why: Leaving::Absent },
        Claim::Succeed { key, end: Some(applied), consent: consent.clone() },
        Claim::Succeed { key, end: None, consent },
        Claim::Name { key, name: "laptop".into() },
        Claim::Recovery { key, consent: recovery },
        Claim::Applied { key, applied: Extent { length: 0, tag: None } },
        Claim::Source { key, name: Some("notes".into()) },
        Claim::SourceEnd { key },
    ]
}

/// What one device signs, another one reads, with the same meaning and the same name.
#[test]
fn statements_round_trip() {
    for claim in claims() {
        let made = Statement::sign(&log(1), Time::from_millis(5), claim).unwrap();
        let read = Statement::verify(made.signed.clone()).unwrap();
        assert_eq!((read.hash(), &read), (made.hash(), &made));
        assert_eq!(Statement::kept(made.signed.clone(), made.hash()).unwrap(), made);
    }
}

/// No bit of a statement can be changed on the way.
#[test]
fn every_flipped_bit_is_noticed() {
    for claim in claims() {
        let made = Statement::sign(&log(1), Time::from_millis(5), claim).unwrap();
        for bit in 0..made.signed.len() * 8 {
            let mut forged = made.signed.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = Statement::verify(forged.into()) {
                assert_eq!((read.author, read.claim), (made.author, made.claim.clone()));
            }
        }
    }
}

/// A statement in another's name is refused, whoever signs it.
#[test]
fn nobody_signs_for_another() {
    let body = Body {
        author: key_bytes(&log(1).key()),
        manifest: log(2).manifest().map(|manifest| manifest.encode().into()),
        ..Body::default()
    };
    let body = Bytes::from(body.encode_to_vec());
    let signature = Bytes::copy_from_slice(&log(2).sign(&signable(&body)).unwrap());
    let signed = SignedRecord { body, signature }.encode_to_vec();
    assert!(matches!(Statement::verify(signed.into()), Err(StatementError::Manifest)));
}

/// A log goes on for another one only if both say so: nobody is made an heir unasked, and a
/// consent holds for one log.
#[test]
fn nobody_is_made_an_heir_unasked() {
    let [old, heir, other] = [1, 2, 3].map(log);
    let made = Statement::succeed(&old, &heir, None, Time::from_millis(5)).unwrap();
    assert_eq!(Statement::verify(made.signed.clone()).unwrap(), made);
    let said = |key, consent| {
        let claim = Claim::Succeed { key, end: None, consent };
        Statement::sign(&old, Time::from_millis(5), claim).unwrap()
    };
    let consent = |of: &Log, purpose, to: &Log| Consent::of(of, purpose, &to.key()).unwrap();
    for forged in [
        said(heir.key(), consent(&other, Purpose::Successor, &old)),
        said(heir.key(), consent(&heir, Purpose::Successor, &other)),
        said(heir.key(), consent(&heir, Purpose::Recovery, &old)),
        said(other.key(), consent(&heir, Purpose::Successor, &old)),
    ] {
        let read = Statement::verify(forged.signed);
        assert!(matches!(read, Err(StatementError::Consent | StatementError::Manifest)));
    }
}
