//! Which types a program knows, and what a key with such versions shows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::limits::MAX_SHOWN_LEN;
use crate::version::PLAIN;
use crate::{
    Content, Counter, Dot, Map, MergeStrategy, MergeType, Renaming, Set, Time, Version, WriteError,
};

/// Least number of users' own types. Those below belong to Multibee.
pub const FIRST_USER_KIND: u32 = 0x1_0000;

/// The mergeable types that a program knows, by their numbers.
#[derive(Clone)]
pub struct Types(BTreeMap<u32, Arc<dyn MergeType>>);

/// A type's number is taken, or reserved: below [`FIRST_USER_KIND`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the type number {kind} is taken or reserved")]
pub struct TakenKind {
    /// The number.
    pub kind: u32,
}

/// What a key shows, once values that merge by themselves are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The values shown, the foremost first; empty if the key reads as absent.
    pub shown: Vec<ShownValue>,
    /// Positions of live versions that this program cannot read: of an unknown type, or with a
    /// state that does not decode. To be listed as not merged.
    pub opaque: Vec<usize>,
    /// Whether a user should look: something is at stake that no join has settled.
    pub conflict: bool,
}

/// A value that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownValue {
    /// The value as users see it.
    pub value: Bytes,
    /// Its type.
    pub kind: u32,
    /// The joined state, if the type has one.
    pub state: Option<Bytes>,
    /// Positions of the versions it comes from: one, or those that were joined.
    pub from: Vec<usize>,
}

impl Types {
    /// [`Map`], [`Set`] and [`Counter`], and `Automerge` if that feature is on.
    pub fn standard() -> Self {
        let types: &[Arc<dyn MergeType>] = &[
            Arc::new(Map),
            Arc::new(Set),
            Arc::new(Counter),
            #[cfg(feature = "automerge")]
            Arc::new(crate::Automerge),
        ];
        Self(types.iter().cloned().map(|known| (known.kind(), known)).collect())
    }

    /// Adds a type of one's own.
    ///
    /// # Errors
    ///
    /// Its number is taken or reserved.
    pub fn register(&mut self, own: Arc<dyn MergeType>) -> Result<(), TakenKind> {
        let kind = own.kind();
        if kind < FIRST_USER_KIND || self.0.contains_key(&kind) {
            return Err(TakenKind { kind });
        }
        self.0.insert(kind, own);
        Ok(())
    }

    /// The type with this number, if it is known.
    pub fn get(&self, kind: u32) -> Option<&dyn MergeType> {
        self.0.get(&kind).map(|known| &**known)
    }

    /// Whether renaming versions of this type needs to know what they were where histories part.
    pub fn renames_from_before(&self, kind: u32) -> bool {
        self.get(kind).is_some_and(MergeType::renames_from_before)
    }

    /// A version with other names for the writes that a renaming concerns, in its state. Its dot stays.
    /// `before` are the versions of the key where the histories part. A state that can't be read is
    /// kept as it is.
    pub fn rename(&self, version: &Version, renaming: &Renaming, before: &[Version]) -> Version {
        let renamed = || {
            let kind = self.get(version.kind)?;
            let same = before.iter().filter(|before| before.kind == version.kind);
            let mut base: Option<Bytes> = None;
            for state in same.filter_map(|before| before.state.as_ref()) {
                base = Some(match base {
                    Some(base) => kind.join(&base, state).ok()?,
                    None => state.clone(),
                });
            }
            kind.rename(version.state.as_ref()?, renaming, base.as_deref()).ok()
        };
        match renamed() {
            Some(state) => Version { state: Some(state), ..version.clone() },
            None => version.clone(),
        }
    }

    /// What `versions` show: those of one mergeable type are joined, then the strategy chooses
    /// among the joined values, the plain ones and the deletes.
    ///
    /// The strategy sees a joined value as a plain version with the dot and the time of the
    /// latest one in it. Opaque versions are not shown to it. `versions` is sorted by dot.
    pub fn resolve(
        &self,
        strategy: &dyn MergeStrategy,
        key: &[u8],
        versions: &[Version],
    ) -> Resolution {
        let (candidates, opaque) = self.candidates(versions);
        let seen: Vec<Version> = candidates.iter().map(|(version, _)| version.clone()).collect();
        let positions = match strategy.resolve(key, &seen) {
            crate::Shown::Nothing => Vec::new(),
            crate::Shown::One(position) => vec![position],
            crate::Shown::All(positions) => positions,
        };
        let value = |position: usize| candidates.get(position).and_then(|(_, shown)| shown.clone());
        let at_stake = !opaque.is_empty() || candidates.iter().any(|(_, shown)| shown.is_some());
        Resolution {
            shown: positions.into_iter().filter_map(value).collect(),
            conflict: at_stake && candidates.len() + opaque.len() > 1,
            opaque,
        }
    }

    /// What there is to choose from, sorted by dot, and the positions of what is unreadable.
    fn candidates(&self, versions: &[Version]) -> (Vec<(Version, Option<ShownValue>)>, Vec<usize>) {
        let mut candidates = Vec::new();
        let mut opaque = Vec::new();
        let mut kinds: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (position, version) in versions.iter().enumerate() {
            match &version.content {
                Content::Deleted => candidates.push((version.clone(), None)),
                Content::Value(value) if version.kind == PLAIN => {
                    let value = value.clone();
                    let from = vec![position];
                    let shown = ShownValue { value, kind: PLAIN, state: None, from };
                    candidates.push((version.clone(), Some(shown)));
                }
                Content::Value(_) => kinds.entry(version.kind).or_default().push(position),
            }
        }
        for (kind, positions) in kinds {
            let joined = self.joined(kind, versions, &positions);
            opaque.extend(positions.iter().filter(|position| match &joined {
                Some((_, shown)) => !shown.from.contains(position),
                None => true,
            }));
            candidates.extend(joined.map(|(version, shown)| (version, Some(shown))));
        }
        candidates.sort_by_key(|(version, _)| version.dot);
        opaque.sort_unstable();
        (candidates, opaque)
    }

    /// One value of the readable ones among these versions of one type.
    ///
    /// Each is checked by itself first, so that which of them are left out depends on the set
    /// alone. A join that is beyond all limits leaves none.
    fn joined(
        &self,
        kind: u32,
        versions: &[Version],
        positions: &[usize],
    ) -> Option<(Version, ShownValue)> {
        let known = self.get(kind)?;
        let mut from = Vec::new();
        let mut latest: Option<(Time, Dot)> = None;
        let mut joined: Option<Bytes> = None;
        for &position in positions {
            let Some(version) = versions.get(position) else { continue };
            let Some(state) = &version.state else { continue };
            if readable(known, state).is_err() {
                continue;
            }
            joined = Some(match joined {
                Some(sum) => known.join(&sum, state).ok()?,
                None => state.clone(),
            });
            latest = latest.max(Some((version.time, version.dot)));
            from.push(position);
        }
        let (state, (time, dot)) = (joined?, latest?);
        let value = readable(known, &state).ok()?;
        let version = Version::plain(dot, time, Content::Value(value.clone()));
        Some((version, ShownValue { value, kind, state: Some(state), from }))
    }

    /// The version that a put makes, which supersedes `seen`.
    ///
    /// `value` is what the user put; the version holds what is then shown. Readable states of
    /// this type among `seen`, those of deletes too, are what the write builds upon. Others are
    /// superseded as any value is: whoever wants to keep opaque ones must not put.
    ///
    /// # Errors
    ///
    /// The type is not known, or does not take the value.
    pub fn write(
        &self,
        kind: u32,
        seen: &[Version],
        value: &[u8],
        dot: Dot,
        time: Time,
    ) -> Result<Version, WriteError> {
        let known = self.get(kind).ok_or(WriteError::UnknownKind { kind })?;
        let base = base(known, seen)?;
        let state = known.write(base.as_deref(), value, dot, time)?;
        let content = Content::Value(known.value(&state)?);
        Ok(Version { dot, time, kind, content, state: Some(state) })
    }

    /// The version that a plain put makes, which supersedes `seen`.
    ///
    /// If there are types among `seen`, the one written last is remembered, as a delete does: what
    /// is written to that type later must not go on where a plain value has ended it.
    pub fn plain(&self, seen: &[Version], value: Bytes, dot: Dot, time: Time) -> Version {
        let state = self.forget(seen, dot).map(|(kind, state)| {
            let parts = [&kind.to_le_bytes()[..], &state[..]];
            Bytes::from(parts.concat())
        });
        Version { state, ..Version::plain(dot, time, Content::Value(value)) }
    }

    /// The version that a delete makes, which supersedes `seen`.
    ///
    /// Of the types among `seen`, the one written last is remembered. A delete never fails: with
    /// nothing readable to remember it is a plain one.
    pub fn delete(&self, seen: &[Version], dot: Dot, time: Time) -> Version {
        let deleted = Version::plain(dot, time, Content::Deleted);
        match self.forget(seen, dot) {
            Some((kind, state)) => Version { kind, state: Some(state), ..deleted },
            None => deleted,
        }
    }

    /// What one who saw these versions sees of this type: the join of all its readable states,
    /// those of deletes too. `None` if there are none, or the type is not known.
    ///
    /// # Errors
    ///
    /// The join is beyond all limits.
    pub fn value(&self, kind: u32, seen: &[Version]) -> Result<Option<Bytes>, crate::StateError> {
        let Some(known) = self.get(kind) else { return Ok(None) };
        base(known, seen)?.map(|state| readable(known, &state)).transpose()
    }

    /// The join of all readable states of this type among `seen`, those of deletes too. `None` if
    /// there are none, or the type is not known.
    ///
    /// # Errors
    ///
    /// The join is beyond all limits.
    pub fn state(&self, kind: u32, seen: &[Version]) -> Result<Option<Bytes>, crate::StateError> {
        self.get(kind).map_or(Ok(None), |known| base(known, seen))
    }

    /// Why a version is opaque, if it is: for users to read.
    pub fn why_opaque(&self, version: &Version) -> Option<String> {
        if !version.is_live() || version.kind == PLAIN {
            return None;
        }
        let Some(known) = self.get(version.kind) else {
            return Some(format!("type {} is not known", version.kind));
        };
        match &version.state {
            None => Some("its state is missing".into()),
            Some(state) => readable(known, state).err().map(|error| error.to_string()),
        }
    }

    /// The state that ends the type written last among `seen`, and that type.
    fn forget(&self, seen: &[Version], dot: Dot) -> Option<(u32, Bytes)> {
        let typed = seen.iter().filter_map(|version| {
            let (kind, _) = remembered(version)?;
            Some(((version.time, version.dot), self.get(kind)?))
        });
        let (_, known) = typed.max_by_key(|(written, _)| *written)?;
        let base = base(known, seen).ok()?;
        Some((known.kind(), known.delete(base.as_deref(), dot).ok()?))
    }
}

/// The type and state that a version carries; a plain one may remember that of what it superseded.
fn remembered(version: &Version) -> Option<(u32, &[u8])> {
    let state = version.state.as_ref()?;
    if version.kind != PLAIN {
        return Some((version.kind, state));
    }
    let (kind, state) = state.split_first_chunk()?;
    Some((u32::from_le_bytes(*kind), state))
}

/// The value of a state, if that can be shown: what is shown has to fit a block.
fn readable(known: &dyn MergeType, state: &[u8]) -> Result<Bytes, crate::StateError> {
    let value = known.value(state)?;
    if value.len() > MAX_SHOWN_LEN {
        return Err(crate::StateError::TooMany { what: "bytes shown", limit: MAX_SHOWN_LEN });
    }
    Ok(value)
}

/// The join of all readable states of one type.
fn base(known: &dyn MergeType, seen: &[Version]) -> Result<Option<Bytes>, crate::StateError> {
    let mut base: Option<Bytes> = None;
    for (_, state) in seen.iter().filter_map(remembered).filter(|(kind, _)| *kind == known.kind()) {
        if readable(known, state).is_err() {
            continue;
        }
        base = Some(match base {
            Some(sum) => known.join(&sum, state)?,
            None => Bytes::copy_from_slice(state),
        });
    }
    Ok(base)
}

impl Default for Types {
    fn default() -> Self {
        Self::standard()
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Types").field(&self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceId, LastWriter};

    fn dot(device: u64) -> Dot {
        Dot { device: DeviceId::from_u64(device), seq: 0 }
    }

    /// Concurrent versions of one type are no conflict; beside a plain value they are.
    #[test]
    fn what_joins_is_no_conflict() {
        let types = Types::standard();
        let put = |device, value: &str| {
            types.write(Set::KIND, &[], value.as_bytes(), dot(device), Time::default()).unwrap()
        };
        let mut versions = vec![put(1, "[1]"), put(2, "[2]")];
        let resolution = types.resolve(&LastWriter, b"k", &versions);
        assert_eq!(resolution.shown[0].value, "[1,2]");
        assert_eq!((resolution.conflict, resolution.opaque), (false, vec![]));

        let time = Time::from_millis(9);
        versions.push(Version::plain(dot(3), time, Content::Value("plain".into())));
        let resolution = types.resolve(&LastWriter, b"k", &versions);
        assert_eq!(resolution.shown[0].value, "plain");
        assert!(resolution.conflict);
    }

    /// What cannot be read is listed, hides nothing, and is shown once it can be.
    #[test]
    fn unreadable_versions_are_opaque() {
        let types = Types::standard();
        let good = types.write(Counter::KIND, &[], b"1", dot(1), Time::default()).unwrap();
        let bad = Version { dot: dot(2), state: Some("x".into()), ..good.clone() };
        let newer = Version { dot: dot(3), kind: 77, ..good.clone() };
        let resolution = types.resolve(&LastWriter, b"k", &[good, bad, newer]);
        assert_eq!(resolution.shown[0].value, "1");
        assert_eq!((resolution.opaque, resolution.conflict), (vec![1, 2], true));
    }

    /// A plain value between two counts ends the first one: a device begins a new share after it,
    /// as after a delete, also when the plain value came from another device.
    #[test]
    fn a_plain_value_ends_a_count() {
        let types = Types::standard();
        let dot = |device, seq| Dot { device: DeviceId::from_u64(device), seq };
        let time = Time::from_millis;
        let add = |seen: &[Version], to: &str, dot, at| {
            types.write(Counter::KIND, seen, to.as_bytes(), dot, time(at)).unwrap()
        };
        let one = add(&[], "1", dot(1, 5), 1);
        let two = add(std::slice::from_ref(&one), "2", dot(1, 7), 2);
        let plain = types.plain(std::slice::from_ref(&two), "x".into(), dot(1, 8), time(3));
        let plain = types.plain(&[plain], "y".into(), dot(4, 0), time(4));
        let saved = add(&[one], "11", dot(2, 0), 5);
        let again = add(&[plain, saved], "12", dot(1, 9), 6);
        let more = add(&[two], "102", dot(3, 0), 7);
        let all = types.resolve(&LastWriter, b"k", &[again, more]);
        assert_eq!(all.shown[0].value, "113");
    }

    /// Plain values that supersede plain values remember nothing.
    #[test]
    fn plain_over_plain_is_plain() {
        let types = Types::standard();
        let one = types.plain(&[], "a".into(), dot(1), Time::default());
        assert_eq!(types.plain(&[one], "b".into(), dot(2), Time::default()).state, None);
    }

    /// A number is given once, and the low ones are not for users.
    #[test]
    fn numbers_are_given_once() {
        let mut types = Types::standard();
        assert_eq!(types.register(Arc::new(Counter)), Err(TakenKind { kind: 3 }));
    }
}
