//! Small values that a log carries beside its blocks: unsigned, on this copy only.

use std::sync::Arc;

use bytes::Bytes;

use crate::commit::UserData;
use crate::error::{Error, Result};
use crate::limits::{USER_DATA_BYTES_MAX, USER_DATA_ITEMS_MAX};
use crate::log::{Log, Shared};
use crate::oplog_codec::Entry;

impl Log {
    /// Returns a value that was set, or `None`.
    pub fn user_data(&self, key: &str) -> Option<Bytes> {
        let user_data = self.shared.state().user_data.clone();
        user_data.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
    }

    /// Sets a value, or removes it if it is empty. It is kept with this copy of the log: not
    /// signed, and not told to others. Replicas have user data of their own.
    ///
    /// To set it together with blocks, use a [`Batch`](crate::Batch).
    ///
    /// # Errors
    ///
    /// [`Error::BatchTooLarge`] if all values together would grow past a mebibyte, or past a
    /// thousand; [`Error::ReadOnly`] and [`Error::Io`]. The values are then as before.
    pub fn set_user_data(&self, key: &str, value: &[u8]) -> Result<()> {
        let pair = (key.to_owned(), Bytes::copy_from_slice(value));
        let change = self.shared.set_user_data(pair)?;
        self.shared.settle(change)
    }
}

impl Shared {
    fn set_user_data(&self, pair: (String, Bytes)) -> Result<u64> {
        let mut writer = self.writer()?;
        let after = self.with_user_data(std::slice::from_ref(&pair))?;
        let entry = Entry { user_data: Some(pair), ..Entry::default() };
        self.write_entries(&mut writer, &[entry], false)?;
        let change = {
            let mut state = self.state_mut();
            state.user_data = after;
            let commit = state.accepted.clone();
            state.accept(commit)
        };
        self.flush_if_due(&mut writer);
        Ok(change)
    }

    /// The user data as they are once `pairs` are set.
    pub(crate) fn with_user_data(&self, pairs: &[(String, Bytes)]) -> Result<Arc<UserData>> {
        let mut after = self.state().user_data.to_vec();
        for (key, value) in pairs {
            put(&mut after, key, value);
        }
        if after.len() > USER_DATA_ITEMS_MAX {
            let (len, limit) = (after.len() as u64, USER_DATA_ITEMS_MAX as u64);
            return Err(Error::BatchTooLarge { len, limit, unit: "values of user data" });
        }
        let len = after.iter().map(|(key, value)| (key.len() + value.len()) as u64 + 18).sum();
        if len > USER_DATA_BYTES_MAX {
            let limit = USER_DATA_BYTES_MAX;
            return Err(Error::BatchTooLarge { len, limit, unit: "bytes of user data" });
        }
        Ok(Arc::new(after))
    }
}

/// Sets one value, or removes it if it is empty.
pub(crate) fn put(user_data: &mut UserData, key: &str, value: &Bytes) {
    match user_data.iter_mut().find(|(other, _)| other == key) {
        Some((_, old)) if !value.is_empty() => old.clone_from(value),
        Some(_) => user_data.retain(|(other, _)| other != key),
        None if !value.is_empty() => user_data.push((key.to_owned(), value.clone())),
        None => {}
    }
}
