//! Keys and values of types other than bytes.

use bytes::Bytes;
use multibee_btree::{Ascii, Codec, CodecError, Error, Expect, HistoryOptions, Json, Utf8, typed};
use serde::{Deserialize, Serialize};

use crate::new_bee;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    born: u16,
}

fn person(name: &str, born: u16) -> Person {
    Person { name: name.to_owned(), born }
}

/// What is put under a key comes back as it was, from each of the handles: tree, batch, history,
/// diff and watch.
#[test]
fn values_come_back_through_all_handles() {
    let people: typed::Bee<Utf8, Json<Person>> = new_bee().sub("people").typed();
    let (ada, alan) = (person("Ada", 1815), person("Alan", 1912));
    people.put("ada", &ada).unwrap();
    let before = people.snapshot().unwrap();
    let mut watch = people.get_and_watch("alan").unwrap();
    assert_eq!(watch.entry().unwrap(), None);

    let mut batch = people.batch().unwrap();
    batch.put("alan", &alan).unwrap();
    assert_eq!(batch.get("alan").unwrap().unwrap().value.as_ref(), Some(&alan));
    assert!(batch.del("ada").unwrap().is_some());
    assert!(!batch.put_expecting("alan", &ada, &Expect::Absent).unwrap().is_written());
    batch.flush().unwrap();

    let now = people.snapshot().unwrap();
    let names: Vec<String> = now.range("a"..="b").unwrap().map(|e| e.unwrap().key).collect();
    assert_eq!(names, ["alan"]);
    assert_eq!(watch.look().unwrap().unwrap().unwrap().value.as_ref(), Some(&alan));
    let mut diff = now.diff(&before, ..).unwrap();
    let change = diff.next().unwrap().unwrap();
    assert_eq!((change.left, change.right.unwrap().value), (None, Some(ada.clone())));
    let mut history = people.history(HistoryOptions::default());
    assert_eq!(history.next().unwrap().unwrap().entry.value, Some(ada));
    let at = people.checkout(before.version()).unwrap();
    let reversed: Vec<String> = at.range_reversed(..).unwrap().map(|e| e.unwrap().key).collect();
    assert_eq!(reversed, ["ada"]);
    assert!(people.del("alan").unwrap());
    assert_eq!(people.get("alan").unwrap(), None);
}

/// What another program put there and is not of the type gives an error, and reading can go on
/// behind it. What cannot be encoded is not written.
#[test]
fn strangers_values_are_errors() {
    let bee = new_bee();
    bee.put(b"a", Some("not json")).unwrap();
    bee.put(b"b", Some("7")).unwrap();
    let numbers: typed::Bee<Ascii, Json<u8>> = bee.typed();
    assert!(matches!(numbers.get("a"), Err(Error::Codec(_))));
    let mut range = numbers.snapshot().unwrap().range(..).unwrap();
    assert!(matches!(range.next(), Err(Error::Codec(_))));
    assert_eq!(range.next().unwrap().unwrap().value, Some(7));

    enum Even {}
    impl Codec for Even {
        type View = u8;
        type Value = u8;

        fn encode(view: &u8) -> Result<Bytes, CodecError> {
            if view.is_multiple_of(2) {
                Ok(vec![*view].into())
            } else {
                Err(CodecError::new("odd"))
            }
        }

        fn decode(bytes: &Bytes) -> Result<u8, CodecError> {
            bytes.first().copied().ok_or_else(|| CodecError::new("empty"))
        }
    }
    let evens: typed::Bee<Even, Even> = bee.sub("evens").typed();
    let len = bee.log().len();
    assert!(matches!(evens.put(&2, &3), Err(Error::Codec(_))));
    assert!(matches!(evens.put(&3, &2), Err(Error::Codec(_))));
    assert_eq!(bee.log().len(), len);
    evens.put(&2, &4).unwrap();
    assert_eq!(evens.get(&2).unwrap().unwrap().value, Some(4));
}
