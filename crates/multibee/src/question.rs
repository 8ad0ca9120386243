//! Questions of sparse readers: which blocks their reads of a tree need.

use bytes::Bytes;
use multibee_btree::{Bee, EXTENSION_NAME, ExtensionMessage};
use multibee_replica::{ConnectionId, Endpoint, Event as NetEvent};

use crate::core::Core;

/// Answers are hints, and none are given to a peer for whom more bytes than this wait.
const QUEUED_LEN_MAX: usize = 256 * 1024;

/// What a peer wants to know of one of the logs that are served.
pub(crate) struct Question {
    from: ConnectionId,
    bee: Bee,
    payload: Bytes,
}

impl Question {
    /// The question that an event of the network is, or else the event.
    pub(crate) fn of(event: NetEvent, core: &Core) -> Result<Option<Self>, NetEvent> {
        match event {
            NetEvent::Extension { id: from, key, name, payload } if name == EXTENSION_NAME => {
                let bee = core.bee(&key).cloned();
                Ok(bee.map(|bee| Self { from, bee, payload }))
            }
            event => Err(event),
        }
    }

    /// Sends what there is to say. Reads the tree, so no lock should be held meanwhile.
    pub(crate) fn answer(self, endpoint: &Endpoint) {
        let Self { from, bee, payload } = self;
        // Whoever sends what is no message of the extension is not answered, as in Hyperbee.
        let Ok(message) = ExtensionMessage::decode(&payload) else { return };
        if endpoint.with(|replicator| replicator.queued_len(from)) > QUEUED_LEN_MAX {
            return;
        }
        let key = bee.log().key();
        let parts = bee.answer_hint(&message);
        endpoint.with(|replicator| {
            for part in parts {
                replicator.send_extension(from, &key, EXTENSION_NAME, part.encode());
            }
        });
    }
}
