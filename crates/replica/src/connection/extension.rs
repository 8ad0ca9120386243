use bytes::Bytes;
use multibee_log::LogKey;

use super::{Connection, Shared};

impl Connection {
    /// Sends a message of an extension on a log's channel, if that is open and the message may be
    /// sent.
    pub(crate) fn send_extension(
        &mut self,
        key: &LogKey,
        name: &str,
        payload: &Bytes,
        shared: &mut Shared,
    ) -> bool {
        let mut is_sent = false;
        self.with_channel(key, shared, |channel, cx| {
            is_sent = channel.send_extension(name, payload, cx);
            Ok(())
        });
        is_sent
    }
}
