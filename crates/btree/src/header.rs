use bytes::Bytes;

use crate::error::DecodeError;
use crate::proto::{Fields, put_field};

/// Block 0 of every tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name of the format: `hyperbee`.
    pub protocol: String,
    /// What the writer put beside it.
    pub metadata: Option<Metadata>,
}

/// What a writer may put into the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The key of a log that holds larger contents, as Hyperdrive has it.
    pub content_feed: Option<Bytes>,
    /// Bytes of the application's own.
    pub user_data: Option<Bytes>,
}

impl Header {
    /// The header of a new tree.
    pub fn new(metadata: Option<Metadata>) -> Self {
        Self { protocol: PROTOCOL.to_owned(), metadata }
    }

    /// Whether this is the header of a Hyperbee.
    pub fn is_hyperbee(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// Reads block 0. Unknown fields are skipped.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if `block` is not such a message.
    pub fn decode(block: &[u8]) -> Result<Self, DecodeError> {
        let (mut protocol, mut metadata) = (None, None);
        for field in Fields::new(block) {
            let field = field?;
            match field.number {
                1 => protocol = block.get(field.into_body()?),
                2 => metadata = block.get(field.into_body()?),
                _ => {}
            }
        }
        let protocol = protocol.ok_or(DecodeError::Absent { number: 1 })?;
        let protocol =
            str::from_utf8(protocol).map_err(|_| DecodeError::NotText { number: 1 })?.to_owned();
        Ok(Self { protocol, metadata: metadata.map(Metadata::decode).transpose()? })
    }

    /// The bytes of block 0.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_field(&mut out, 0x0a, self.protocol.as_bytes());
        if let Some(metadata) = &self.metadata {
            put_field(&mut out, 0x12, &metadata.encode());
        }
        out
    }
}

impl Metadata {
    fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let mut metadata = Self::default();
        for field in Fields::new(message) {
            let field = field?;
            let place = match field.number {
                1 => &mut metadata.content_feed,
                2 => &mut metadata.user_data,
                _ => continue,
            };
            *place = message.get(field.into_body()?).map(Bytes::copy_from_slice);
        }
        Ok(metadata)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, bytes) in [(0x0a, &self.content_feed), (0x12, &self.user_data)] {
            if let Some(bytes) = bytes {
                put_field(&mut out, tag, bytes);
            }
        }
        out
    }
}

const PROTOCOL: &str = "hyperbee";
