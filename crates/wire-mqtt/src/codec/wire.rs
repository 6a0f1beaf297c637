//! The data representations of MQTT (§1.5): integers, variable byte integers, UTF-8 strings, binary data.
//! It knows no packets.

use super::Error;
use bytes::{Buf, BufMut, Bytes};
use std::fmt;

/// The largest variable byte integer: four bytes of seven bits (§1.5.5).
pub const VARINT_MAX: usize = 268_435_455;

/// A UTF-8 string that was checked when it was read (§1.5.4), still lying in the packet's bytes.
///
/// Invariant: the bytes are UTF-8 without U+0000. [`Text::from_bytes`] checks it; nothing else makes one.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(Bytes);

impl Text {
    /// The text in `bytes`, without copying them; refused unless they are UTF-8 without U+0000.
    pub fn from_bytes(bytes: Bytes) -> Result<Text, Error> {
        match std::str::from_utf8(&bytes) {
            Err(_) => Err(Error::malformed("1.5.4", "a string is not UTF-8")),
            Ok(text) if text.contains('\0') => Err(Error::malformed("1.5.4", "a string holds U+0000")),
            Ok(_) => Ok(Text(bytes)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Text {
    /// A copy of `text`, up to a U+0000, which no MQTT string may hold.
    fn from(text: &str) -> Text {
        let clean = text.split('\0').next().unwrap_or_default();
        Text(Bytes::copy_from_slice(clean.as_bytes()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

const SHORT: Error = Error::malformed("2.1.4", "the packet ends within a field");

/// Takes fields from the front of one packet; slices share its bytes.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.0.try_get_u8().map_err(|_| SHORT)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.0.try_get_u16().map_err(|_| SHORT)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.0.try_get_u32().map_err(|_| SHORT)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, Error> {
        if self.0.len() < len { Err(SHORT) } else { Ok(self.0.split_to(len)) }
    }

    /// Binary data: two bytes of length, then the bytes (§1.5.6).
    pub(super) fn binary(&mut self) -> Result<Bytes, Error> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    pub(super) fn text(&mut self) -> Result<Text, Error> {
        Text::from_bytes(self.binary()?)
    }

    /// A variable byte integer in its shortest form (§1.5.5).
    pub(super) fn varint(&mut self) -> Result<u32, Error> {
        match varint(&self.0, true)? {
            None => Err(SHORT),
            Some((value, len)) => {
                self.0.advance(len);
                Ok(value)
            }
        }
    }

    /// All that is left.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    /// Fails when something is left: every packet but PUBLISH says all that it holds.
    pub(super) fn end(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::malformed("2.1.4", "bytes follow the last field")) }
    }
}

/// Reads a variable byte integer at the front of `bytes`: its value and its length, `None` when more bytes are
/// needed. `shortest` refuses padded forms, as v5 does ([MQTT-1.5.5-1]; 3.1.1 does not ask for it).
pub(super) fn varint(bytes: &[u8], shortest: bool) -> Result<Option<(u32, usize)>, Error> {
    let mut value = 0_u32;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            if shortest && place > 0 && *byte == 0 {
                return Err(Error::malformed(
                    "1.5.5",
                    "a variable byte integer is longer than it needs to be",
                ));
            }
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() >= 4 {
        return Err(Error::malformed("1.5.5", "a variable byte integer has more than four bytes"));
    }
    Ok(None)
}

/// How many bytes `value` takes as a variable byte integer.
pub fn varint_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Writes a variable byte integer; values over [`VARINT_MAX`] become it, which callers must have ruled out.
pub fn put_varint(out: &mut impl BufMut, value: usize) {
    debug_assert!(value <= VARINT_MAX, "a length was not checked before it was written");
    let mut rest = value.min(VARINT_MAX);
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

/// Writes two bytes of length and the bytes. What does not fit in 65,535 bytes is cut: callers send nothing that
/// long (addresses end at 1,024 bytes, headers are checked).
pub fn put_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    debug_assert!(u16::try_from(bytes.len()).is_ok(), "a field was not checked before it was written");
    let fits = bytes.get(..bytes.len().min(usize::from(u16::MAX))).unwrap_or_default();
    out.put_u16(u16::try_from(fits.len()).unwrap_or(u16::MAX));
    out.put_slice(fits);
}
