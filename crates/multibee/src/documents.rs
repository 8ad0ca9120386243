//! Automerge documents under keys.

use bytes::Bytes;
use multibee_merge::{Automerge, WriteError};

use crate::{Error, Multibee};

impl Multibee {
    /// Puts an Automerge document: a JSON object, of which the change from what is shown is kept, or
    /// what the `automerge` crate writes, a saved document or changes, which are added to what is
    /// there. Texts in it merge letter by letter.
    ///
    /// Give it only bytes that you trust as you trust your own program: what `automerge` packs may be
    /// very long when it is unpacked. (What other devices write is bounded.)
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if the bytes are neither, if changes are missing that they build upon, or if
    /// the document's history grows too long; or as [`put`](Self::put).
    pub fn put_document(
        &self,
        key: impl AsRef<[u8]>,
        document: impl Into<Bytes>,
    ) -> Result<(), Error> {
        self.put_typed(key, Automerge::KIND, document)
    }

    /// The Automerge document under a key, whole, for the `automerge` crate to load. Its value is
    /// what [`get`](Self::get) shows.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if its versions are beyond all limits together; or as [`get`](Self::get).
    pub fn document(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Error> {
        let view = self.view()?;
        let held = view.held(key.as_ref())?;
        if !held.versions.iter().any(|one| one.is_live() && one.kind == Automerge::KIND) {
            return Ok(None);
        }
        let state = view.resolver().types.state(Automerge::KIND, &held.versions);
        let document =
            state.and_then(|state| state.as_deref().map(Automerge::document).transpose());
        document.map_err(|error| WriteError::State(error).into())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Home, Options};

    use super::*;

    /// A document that was put as JSON is one that `automerge` reads and changes; its changes come
    /// back by a put of what it saves. A delete ends it.
    #[test]
    fn documents_come_and_go() {
        let db = Multibee::create(Home::memory(), Options::default()).unwrap();
        assert_eq!(db.document("k").unwrap(), None);
        db.put_document("k", r#"{"title":"Milk"}"#).unwrap();
        let saved = db.document("k").unwrap().unwrap();
        db.put_document("copy", saved.clone()).unwrap();
        assert_eq!(db.get("copy").unwrap().unwrap().value, r#"{"title":"Milk"}"#);
        db.put_document("k", r#"{"title":"Milk!"}"#).unwrap();
        db.put_document("k", saved).unwrap();
        assert_eq!(db.get("k").unwrap().unwrap().value, r#"{"title":"Milk!"}"#);
        db.del("k").unwrap();
        assert_eq!(db.document("k").unwrap(), None);
        assert!(matches!(db.put_document("k", "no JSON"), Err(Error::Value(_))));
    }
}
