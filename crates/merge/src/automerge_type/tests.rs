use ::automerge::transaction::Transactable;
use ::automerge::{ObjType, ROOT, ReadDoc, ScalarValue};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::Digest as _;

use super::*;
use crate::DeviceId;

fn dot(device: u64, seq: u64) -> Dot {
    Dot { device: DeviceId::from_u64(device), seq }
}

fn put(base: Option<&[u8]>, value: &str, dot: Dot) -> Bytes {
    Automerge.write(base, value.as_bytes(), dot, Time::from_millis(1_000)).unwrap()
}

fn value(state: &[u8]) -> Bytes {
    Automerge.value(state).unwrap()
}

/// Concurrent edits of one text, of one list and of different fields all count.
#[test]
fn concurrent_edits_merge() {
    let base = put(None, r#"{"t":"the cat sat","l":["b","c"],"n":{"x":1}}"#, dot(1, 0));
    let one =
        put(Some(&base), r#"{"t":"the black cat sat","l":["a","b","c"],"n":{"x":2}}"#, dot(1, 1));
    let two = put(
        Some(&base),
        r#"{"t":"the cat sat down","l":["b","d"],"n":{"x":1,"y":[null,true,0.5,18446744073709551615]}}"#,
        dot(2, 0),
    );
    let both = Automerge.join(&one, &two).unwrap();
    assert_eq!(both, Automerge.join(&two, &one).unwrap());
    assert_eq!(
        value(&both),
        r#"{"l":["a","b","d"],"n":{"x":2,"y":[null,true,0.5,18446744073709551615]},"t":"the black cat sat down"}"#
    );
}

/// A put of what is shown already leaves the state as it is.
#[test]
fn what_is_shown_is_no_change() {
    let text = r#"{"a":[1,{"b":"c"}],"z":null}"#;
    let base = put(None, text, dot(1, 0));
    assert_eq!(value(&base), text);
    assert_eq!(put(Some(&base), text, dot(2, 0)), base);
    assert_eq!(value(&put(None, "{}", dot(1, 0))), "{}");
}

/// After a delete a document begins anew; what was edited meanwhile is there whole.
#[test]
fn a_delete_ends_a_document() {
    let base = put(None, r#"{"a":1,"b":2}"#, dot(1, 0));
    let deleted = Automerge.delete(Some(&base), dot(1, 1)).unwrap();
    let anew = put(Some(&deleted), r#"{"c":3}"#, dot(1, 2));
    assert_eq!(value(&anew), r#"{"c":3}"#);
    let edited = put(Some(&base), r#"{"a":1,"b":9}"#, dot(2, 0));
    assert_eq!(value(&Automerge.join(&deleted, &edited).unwrap()), r#"{"a":1,"b":9}"#);
    assert_eq!(value(&Automerge.join(&anew, &edited).unwrap()), r#"{"a":1,"b":9,"c":3}"#);
}

/// Documents of other programs are taken in, with counters and bytes, and given out again; changes
/// of theirs are added to what there is.
#[test]
fn documents_of_others_are_taken_in() {
    let mut theirs = AutoCommit::new().with_actor(ActorId::from(&[7; 4]));
    theirs.put(ROOT, "n", ScalarValue::counter(5)).unwrap();
    theirs.put(ROOT, "s", "plain").unwrap();
    theirs.put(ROOT, "b", vec![1_u8, 2]).unwrap();
    let given = |base: Option<&[u8]>, bytes: &[u8], seq| {
        Automerge.write(base, bytes, dot(1, seq), Time::default())
    };
    let state = given(None, &theirs.save(), 0).unwrap();
    assert_eq!(value(&state), r#"{"b":[1,2],"n":5,"s":"plain"}"#);

    // A counter that is put as a number grows by the difference, also on two devices at once.
    let up = put(Some(&state), r#"{"b":[1,2],"n":7,"s":"plain"}"#, dot(1, 1));
    let heads = theirs.get_heads();
    theirs.increment(ROOT, "n", 10).unwrap();
    let later = given(Some(&up), &theirs.save_after(&heads), 2).unwrap();
    assert_eq!(value(&later), r#"{"b":[1,2],"n":17,"s":"plain"}"#);
    assert_eq!(given(Some(&later), &theirs.save(), 3).unwrap(), later);

    let mut ours = AutoCommit::load(&Automerge::document(&later).unwrap()).unwrap();
    assert_eq!(ours.get(ROOT, "n").unwrap().unwrap().0.to_i64(), Some(17));
    ours.put(ROOT, "more", true).unwrap();
    assert!(given(Some(&later), &ours.save(), 4).is_ok());

    // Changes without those that they build upon are none of this document.
    let wrong = given(None, &theirs.save_after(&heads), 5);
    assert!(matches!(wrong, Err(WriteError::WrongShape { .. })), "{wrong:?}");
}

/// What is no object, and what is nested too deeply, is refused.
#[test]
fn other_values_are_refused() {
    for wrong in ["1", "[]", "x", r#""text""#] {
        assert!(Automerge.write(None, wrong.as_bytes(), dot(1, 0), Time::default()).is_err());
    }
    let deep = |depth: usize| format!(r#"{}1{}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let at_limit = put(None, &deep(32), dot(1, 0));
    assert_eq!(value(&at_limit), deep(32).as_str());

    let mut deeper = AutoCommit::new();
    let mut at = ROOT;
    for _ in 0..5_000 {
        at = deeper.put_object(&at, "a", ObjType::Map).unwrap();
    }
    let refused = Automerge.write(None, &deeper.save(), dot(1, 0), Time::default());
    assert!(refused.is_err() || Automerge.value(&refused.unwrap()).is_err());
}

/// A few bytes that stand for very many operations, or for very long names, are refused unread.
#[test]
fn short_runs_of_many_are_refused() {
    let change = |columns: &[(u8, &[u8])]| {
        let mut body = vec![0, 1, 7, 1, 1, 0, 0, 0, columns.len() as u8];
        for (spec, data) in columns {
            body.extend([*spec, data.len() as u8]);
        }
        columns.iter().for_each(|(_, data)| body.extend(*data));
        let mut chunk = [chunk::MAGIC, &[0; 4], &[1, body.len() as u8]].concat();
        chunk.extend(body);
        chunk
    };
    let refused = |columns: &[(u8, &[u8])]| {
        matches!(chunk::Budget::to_read().check(&change(columns)), Err(StateError::TooMany { .. }))
    };
    let many = [0xff, 0xff, 0xff, 0xff, 0x0f];
    // A number, nothing, a flag, and a group of so many; a name of eight bytes, a million times.
    assert!(!refused(&[(0x42, &[0x80, 0x80, 0x10, 1])]));
    assert!(refused(&[(0x42, &[&many[..], &[1]].concat())]));
    assert!(refused(&[(0x42, &[&[0], &many[..]].concat())]));
    assert!(refused(&[(0x34, &many)]));
    assert!(refused(&[(0x70, &[&[1], &many[..]].concat())]));
    let name = [&[0x80, 0x80, 0x10, 100], &[b'x'; 100][..]].concat();
    assert!(refused(&[(0x15, &name)]));
    let deflated = chunk::Budget::to_read().check(&change(&[(0x4a, &[1, 1])]));
    assert!(matches!(deflated, Err(StateError::Malformed { .. })));
}

fn states() -> impl Strategy<Value = Vec<u8>> {
    vec(("[a-c]{1,2}", 0..4_u8, any::<i32>()), 1..6).prop_map(|puts| {
        let mut state: Option<Bytes> = None;
        for (seq, (name, kind, number)) in puts.into_iter().enumerate() {
            let text = match kind {
                0 => format!(r#"{{"{name}":{number}}}"#),
                1 => format!(r#"{{"{name}":"{number}","l":[{number}]}}"#),
                2 => format!(r#"{{"l":["{name}",{{"{name}":null}}],"a":"{name}{number}"}}"#),
                _ => format!(r#"{{"{name}":{{"{name}":{number}.5}},"a":"x"}}"#),
            };
            state = Some(put(state.as_deref(), &text, dot(1, seq as u64)));
        }
        state.unwrap_or_default().to_vec()
    })
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4_i64).prop_map(Value::from),
        "[a-c\u{e4}\u{1f41d}]{0,6}".prop_map(Value::from),
    ];
    let nested = leaf.prop_recursive(3, 24, 5, |inner| {
        let fields = vec(("[a-c]", inner.clone()), 0..4);
        let object = fields.prop_map(|fields| Value::Object(fields.into_iter().collect()));
        prop_oneof![vec(inner, 0..6).prop_map(Value::from), object]
    });
    vec(("[a-c]", nested), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// Changes some bytes of a change and makes its checksum right again, so that what is behind the
/// checksum is read.
fn harm(state: &[u8], which: usize, at: &[(usize, u8)]) -> Vec<u8> {
    let changes = Changes::decode(state).unwrap();
    let mut changes: Vec<Vec<u8>> = changes.0.iter().map(|change| change.to_vec()).collect();
    let which = which % changes.len();
    let change = &mut changes[which];
    for &(place, byte) in at {
        let place = 9 + place % (change.len() - 9);
        change[place] = byte;
    }
    let sum = sha2::Sha256::digest(&change[8..]);
    change[4..8].copy_from_slice(&sum[..4]);
    Changes(changes.iter().map(Vec::as_slice).collect()).encode().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What is put is what is shown, whatever was there before.
    #[test]
    fn what_is_put_is_shown(puts in vec(json(), 1..5)) {
        let mut state: Option<Bytes> = None;
        for (seq, wanted) in puts.iter().enumerate() {
            let text = wanted.to_string();
            let new = put(state.as_deref(), &text, dot(1 + seq as u64 % 2, seq as u64));
            prop_assert_eq!(value(&new), json::canonical(wanted));
            state = Some(new);
        }
    }

    /// Whatever a member writes as a state: it is shown, or refused by an error, in bounded time.
    #[test]
    fn hostile_states_are_shown_or_refused(
        state in states(), which: usize, at in vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let harmed = harm(&state, which, &at);
        if let Ok(value) = Automerge.value(&harmed) {
            prop_assert!(value.len() <= 2 * crate::limits::MAX_SHOWN_LEN);
            let _ = Automerge.write(Some(&harmed), b"{}", dot(9, 9), Time::default());
            let _ = Automerge::document(&harmed);
        }
        let _ = Automerge.join(&harmed, &state).map(|joined| Automerge.value(&joined));
    }

    /// The same of bytes that are cut short, or anything at all.
    #[test]
    fn arbitrary_bytes_are_refused(state in states(), len: usize, other in vec(any::<u8>(), 0..40)) {
        let cut = &state[..len % state.len()];
        prop_assert!(Automerge.value(cut).is_err());
        let _ = Automerge.value(&[&[1][..], &other].concat());
        let _ = Automerge.write(None, &[chunk::MAGIC, &other].concat(), dot(1, 1), Time::default());
    }
}
