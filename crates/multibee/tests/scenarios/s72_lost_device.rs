//! S72: a lost device, and a new one that has the recovery secret only.

use multibee::{AddOptions, Error, Home, KeyPair, Multibee, Options, RecoverySecret, Role};

use crate::devices::{Group, Kind, contents, converge, link, options, text, until};
use crate::scenario;

fn is_removed(by: &Multibee, of: &Multibee) -> bool {
    by.devices().unwrap().iter().any(|device| device.key == of.key() && device.removed)
}

/// A new device, from what is written on paper.
fn recover(group: &Group, home: Home, words: &str) -> Multibee {
    let secret = RecoverySecret::from_words(words).unwrap();
    let keys = Some(KeyPair::from_seed([72; 32]));
    let options = Options { keys, ..options(&group.devices[0].clock) };
    let device = AddOptions { name: Some("new".into()), ..AddOptions::default() };
    Multibee::recover(home, &secret, options, device).unwrap()
}

/// Three devices with data of each, in sync, and a recovery secret that A made.
async fn prepared(kind: Kind) -> (Group, String) {
    let group = Group::new(kind, 3);
    for number in 0..3 {
        group.db(number).put(format!("of {number}"), "1").unwrap();
    }
    let words = group.db(0).create_recovery().unwrap().words().to_string();
    let links = [group.link(0, 1).await, group.link(0, 2).await];
    group.converge().await;
    for link in links {
        link.cut().await;
    }
    (group, words)
}

/// A is lost. A new device with nothing but the words gets all data of C, removes A, and writes as
/// another device. B learns all that of C, and nobody takes anything from A any more.
async fn lost_device(kind: Kind) {
    let (group, words) = prepared(kind).await;
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number));
    let dir = tempfile::tempdir().unwrap();
    let home = if kind == Kind::Disk { Home::dir(dir.path().join("new")) } else { Home::memory() };
    let new = recover(&group, home, &words);
    let secret = RecoverySecret::from_words(&words).unwrap();
    let links = [link(&new, c).await];
    converge(&[&new, c]).await;
    assert_eq!(contents(&new).len(), 3);
    assert!(new.check_recovery(&secret) && c.check_recovery(&secret));

    new.remove_with(&secret, &a.key()).unwrap();
    new.put("of the new one", "1").unwrap();
    let more = [group.link(1, 2).await];
    converge(&[&new, b, c]).await;
    for db in [&new, b, c] {
        assert!(is_removed(db, a));
        assert_eq!(text(db, "of the new one"), Some("1".into()));
        let devices = db.devices().unwrap();
        assert_eq!(devices.len(), 4, "the secret is no device");
        let found = devices.iter().find(|device| device.key == new.key()).unwrap();
        assert_eq!(found.name.as_deref(), Some("new"));
        let lost = devices.iter().find(|device| device.key == a.key()).unwrap();
        assert_eq!(lost.removed_by, Some(secret.key()));
    }

    // Whoever has A now.
    a.put("stolen", "1").unwrap();
    let last = [group.link(0, 1).await, group.link(0, 2).await];
    until(a, "A is told", || is_removed(a, a)).await;
    assert!(matches!(a.put("more", "1"), Err(Error::Removed { .. })));
    converge(&[&new, b, c]).await;
    assert_eq!(text(&new, "stolen"), None);
    drop((links, more, last));
}

scenario!(s72_lost_device_new_device, lost_device);

/// Any device of the database will do, though it hears of the new one for the first time, whichever side
/// dials; also after it has moved to another log, and the new one has restarted.
async fn any_device(kind: Kind) {
    let (group, words) = prepared(kind).await;
    let home = Home::memory();
    drop(recover(&group, home.clone(), &words));
    let new = Multibee::open(home, options(&group.devices[0].clock)).unwrap();
    group.db(1).compact(|_| {}).unwrap();
    for number in [1, 2] {
        let link = if number == 1 {
            link(group.db(number), &new).await
        } else {
            link(&new, group.db(number)).await
        };
        converge(&[&new, group.db(number)]).await;
        link.cut().await;
    }
    assert_eq!(contents(&new).len(), 3);
}

scenario!(s72_any_device_will_do, any_device);

/// A secret of somebody else, or one that another one has replaced, opens nothing.
async fn wrong_secret(kind: Kind) {
    let (group, words) = prepared(kind).await;
    let [a, b, c] = [0, 1, 2].map(|number| group.db(number));
    let other = a.create_recovery().unwrap();
    let first = RecoverySecret::from_words(&words).unwrap();
    assert!(a.check_recovery(&other) && !a.check_recovery(&first) && a.has_recovery());
    assert!(c.check_recovery(&first), "C has not heard of it");
    let _links = [group.link(0, 1).await, group.link(0, 2).await];
    until(c, "C knows", || c.check_recovery(&other) && !c.check_recovery(&first)).await;
    let refused = b.remove_with(&first, &c.key());
    assert!(matches!(refused, Err(Error::UnknownRecovery { .. })));

    let new = recover(&group, Home::memory(), &words);
    let (left, right) = tokio::io::duplex(1 << 16);
    let dialled = new.attach(left, Role::Initiator);
    c.attach(right, Role::Responder);
    assert!(new.wait_introduced(dialled).await.is_err());
    assert_eq!(contents(&new).len(), 0);
    let stranger = Multibee::create(Home::memory(), Options::default()).unwrap();
    assert!(!stranger.has_recovery());
}

scenario!(s72_a_wrong_secret_opens_nothing, wrong_secret);
