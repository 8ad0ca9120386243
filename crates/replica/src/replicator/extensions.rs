//! Messages of extensions, which travel in the channels of logs.

use bytes::Bytes;
use multibee_log::LogKey;

use super::Replicator;
use crate::event::ConnectionId;

impl Replicator {
    /// Has messages of an extension told by [`Event::Extension`](crate::Event::Extension). Those of
    /// other names are ignored. Nothing is announced: the protocol has it that whoever does not know
    /// an extension ignores its messages.
    pub fn accept_extension(&mut self, name: &str) {
        self.shared.extensions.insert(name.to_owned());
    }

    /// Sends a message of an extension on a log's channel to one remote. Returns whether it is
    /// queued: not if the log is not open there, if the name is empty or longer than 128 bytes, if
    /// the message is longer than 1 MiB less 5 bytes, or if the name is one that replicators use
    /// themselves.
    ///
    /// The message is framed, and those that come are taken, as Hypercore does it for extensions that
    /// choose no encoding of their own: its length goes before it. What comes otherwise is ignored.
    ///
    /// Nothing bounds what is queued: look at [`queued_len`](Self::queued_len) before sending much.
    pub fn send_extension(
        &mut self,
        id: ConnectionId,
        key: &LogKey,
        name: &str,
        payload: impl Into<Bytes>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        self.wake.insert(id);
        connection.send_extension(key, name, &payload.into(), &mut self.shared)
    }

    /// As [`send_extension`](Self::send_extension), to all remotes with which the log is open.
    /// Returns how many there are.
    pub fn broadcast_extension(
        &mut self,
        key: &LogKey,
        name: &str,
        payload: impl Into<Bytes>,
    ) -> usize {
        let payload = payload.into();
        let mut count = 0;
        for (&id, connection) in &mut self.connections {
            if connection.send_extension(key, name, &payload, &mut self.shared) {
                self.wake.insert(id);
                count += 1;
            }
        }
        count
    }
}
