//! Which strategies a program knows, by their names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{DeleteWins, KeepAll, LastWriter, MergeStrategy};

/// The strategies that a program knows. Devices name them to each other, so a name means one
/// behaviour for good: what behaves otherwise needs another name.
#[derive(Clone)]
pub struct Strategies(BTreeMap<String, Arc<dyn MergeStrategy + Send + Sync>>);

/// A strategy has this name already, or it is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is the name of another strategy, or empty, or longer than {MAX_NAME_LEN} bytes")]
pub struct BadName {
    /// The name.
    pub name: String,
}

/// Longest name of a strategy, in bytes.
const MAX_NAME_LEN: usize = 64;

impl Strategies {
    /// Name of [`LastWriter`], the default.
    pub const LAST_WRITER: &'static str = "last-writer";
    /// Name of [`DeleteWins`].
    pub const DELETE_WINS: &'static str = "delete-wins";
    /// Name of [`KeepAll`].
    pub const KEEP_ALL: &'static str = "keep-all";

    /// [`LastWriter`], [`DeleteWins`] and [`KeepAll`].
    pub fn standard() -> Self {
        let known: [(&str, Arc<dyn MergeStrategy + Send + Sync>); 3] = [
            (Self::LAST_WRITER, Arc::new(LastWriter)),
            (Self::DELETE_WINS, Arc::new(DeleteWins)),
            (Self::KEEP_ALL, Arc::new(KeepAll)),
        ];
        Self(known.into_iter().map(|(name, one)| (name.to_owned(), one)).collect())
    }

    /// Adds a strategy of one's own.
    ///
    /// # Errors
    ///
    /// The name is taken, empty or too long.
    pub fn register(
        &mut self,
        name: &str,
        own: Arc<dyn MergeStrategy + Send + Sync>,
    ) -> Result<(), BadName> {
        if name.is_empty() || name.len() > MAX_NAME_LEN || self.0.contains_key(name) {
            return Err(BadName { name: name.to_owned() });
        }
        self.0.insert(name.to_owned(), own);
        Ok(())
    }

    /// The strategy with this name, if it is known.
    pub fn get(&self, name: &str) -> Option<&(dyn MergeStrategy + Send + Sync)> {
        self.0.get(name).map(|known| &**known)
    }
}

impl Default for Strategies {
    fn default() -> Self {
        Self::standard()
    }
}

impl fmt::Debug for Strategies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Strategies").field(&self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name is given once, and has to be one.
    #[test]
    fn names_are_given_once() {
        let mut strategies = Strategies::standard();
        assert!(strategies.register("mine", Arc::new(KeepAll)).is_ok());
        for name in ["mine", Strategies::LAST_WRITER, "", &"x".repeat(MAX_NAME_LEN + 1)] {
            assert!(strategies.register(name, Arc::new(KeepAll)).is_err(), "{name}");
        }
        assert!(strategies.get("mine").is_some() && strategies.get("other").is_none());
    }
}
