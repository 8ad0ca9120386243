//! How keys and values become bytes: those of Hyperbee's encodings, and any type of one's own.

use bytes::Bytes;

/// Turns values of a type into bytes, and back. What is ordered in a tree is always the bytes.
///
/// An encoding is not noted in the log: readers and writers have to agree. (Section 9 of
/// docs/spec/btree.md.)
///
/// ```
/// use bytes::Bytes;
/// use multibee_btree::{Codec, CodecError};
///
/// /// Numbers, in an order that is theirs.
/// enum BigEndian {}
///
/// impl Codec for BigEndian {
///     type View = u64;
///     type Value = u64;
///
///     fn encode(number: &u64) -> Result<Bytes, CodecError> {
///         Ok(number.to_be_bytes().to_vec().into())
///     }
///
///     fn decode(bytes: &Bytes) -> Result<u64, CodecError> {
///         let bytes = bytes.as_ref().try_into().map_err(CodecError::new)?;
///         Ok(u64::from_be_bytes(bytes))
///     }
/// }
/// ```
pub trait Codec {
    /// What is encoded, by reference: `str` for text.
    type View: ?Sized;
    /// What is decoded: `String` for text.
    type Value;

    /// The bytes of a value.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if the value has none.
    fn encode(view: &Self::View) -> Result<Bytes, CodecError>;

    /// The value of bytes.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if they are not such a value's.
    fn decode(bytes: &Bytes) -> Result<Self::Value, CodecError>;
}

/// Why a key or a value cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct CodecError(Box<dyn std::error::Error + Send + Sync>);

impl CodecError {
    /// Wraps whatever a codec says.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Bytes as they are. Hyperbee's `binary`.
#[derive(Clone, Copy, Debug)]
pub enum Binary {}

impl Codec for Binary {
    type View = [u8];
    type Value = Bytes;

    fn encode(view: &[u8]) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(view))
    }

    fn decode(bytes: &Bytes) -> Result<Bytes, CodecError> {
        Ok(bytes.clone())
    }
}

/// Text. Hyperbee's `utf-8`, except that bytes which are no text are an error.
#[derive(Clone, Copy, Debug)]
pub enum Utf8 {}

impl Codec for Utf8 {
    type View = str;
    type Value = String;

    fn encode(view: &str) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(view.as_bytes()))
    }

    fn decode(bytes: &Bytes) -> Result<String, CodecError> {
        String::from_utf8(bytes.to_vec()).map_err(CodecError::new)
    }
}

/// Text of 7 bits. Hyperbee's `ascii`, which drops what does not fit: of other characters the low 8
/// bits (of each UTF-16 unit) are written, and 7 are read.
#[derive(Clone, Copy, Debug)]
pub enum Ascii {}

impl Codec for Ascii {
    type View = str;
    type Value = String;

    fn encode(view: &str) -> Result<Bytes, CodecError> {
        // Cut off on purpose.
        Ok(view.encode_utf16().map(|unit| unit as u8).collect())
    }

    fn decode(bytes: &Bytes) -> Result<String, CodecError> {
        Ok(bytes.iter().map(|byte| char::from(byte & 0x7f)).collect())
    }
}

/// Any type that serde knows, as JSON without spaces. Hyperbee's `json`.
///
/// Keys are ordered as text: `10` before `9`. A value that is `null` is bytes here, while for
/// Hyperbee it is no value. Numbers with a fraction of zero are written `1.0`, by JavaScript `1`.
#[cfg(feature = "json")]
#[derive(Debug)]
pub struct Json<T>(std::marker::PhantomData<fn() -> T>);

#[cfg(feature = "json")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec for Json<T> {
    type View = T;
    type Value = T;

    fn encode(view: &T) -> Result<Bytes, CodecError> {
        serde_json::to_vec(view).map(Bytes::from).map_err(CodecError::new)
    }

    fn decode(bytes: &Bytes) -> Result<T, CodecError> {
        serde_json::from_slice(bytes).map_err(CodecError::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded<C: Codec>(view: &C::View) -> Vec<u8> {
        C::encode(view).expect("it can be encoded").to_vec()
    }

    /// The bytes are those that Hyperbee writes.
    #[test]
    fn bytes_are_those_of_hyperbee() {
        assert_eq!(encoded::<Utf8>("h\u{e9}"), [b'h', 0xc3, 0xa9]);
        assert_eq!(encoded::<Ascii>("h\u{e9}"), [b'h', 0xe9]);
        assert_eq!(Ascii::decode(&Bytes::from_static(&[0xe9])).expect("any byte is read"), "i");
        assert_eq!(encoded::<Ascii>("\u{1f41d}"), [0x3d, 0x1d]);
        assert!(Utf8::decode(&Bytes::from_static(&[0xff])).is_err());
    }

    proptest! {
        /// What is encoded comes back.
        #[test]
        fn values_come_back(text: String, plain in "[ -~]*", bytes: Vec<u8>) {
            let back = |result: Result<String, CodecError>| result.expect("it was encoded");
            let encode = |bytes: Vec<u8>| Bytes::from(bytes);
            prop_assert_eq!(back(Utf8::decode(&encode(encoded::<Utf8>(&text)))), text);
            prop_assert_eq!(back(Ascii::decode(&encode(encoded::<Ascii>(&plain)))), plain);
            let binary = Binary::decode(&encode(encoded::<Binary>(&bytes)));
            prop_assert_eq!(binary.expect("any bytes are"), bytes);
        }
    }

    /// A type of one's own comes back, and text that is none of it is an error.
    #[cfg(feature = "json")]
    #[test]
    fn json_comes_back() {
        type Codec = Json<(String, Option<u8>)>;
        let value = ("a".to_owned(), None);
        assert_eq!(encoded::<Codec>(&value), br#"["a",null]"#);
        let decode = |text: &'static str| Codec::decode(&Bytes::from_static(text.as_bytes()));
        assert_eq!(decode(r#"["a",null]"#).expect("it was encoded"), value);
        assert!(decode("[1]").is_err());
    }
}
