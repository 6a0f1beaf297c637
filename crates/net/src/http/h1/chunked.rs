//! The chunked transfer coding (RFC 9112 §7.1): a decoder that takes bytes as they come, and the heads of chunks.
//! It does no I/O. It is strict: line ends are CRLF, sizes are digits only; extensions are skipped.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The most digits of a chunk's size: what fits into 64 bits.
const DIGITS_MAX: u8 = 16;
/// The most bytes of extensions and of spaces after sizes in one body; more is an attack (CVE-2023-39326).
const EXTENSION_BYTES_MAX: usize = 4 << 10;
/// The most bytes of the trailer section, and the most fields in it.
const TRAILER_BYTES_MAX: usize = 16 << 10;
const TRAILERS_MAX: usize = 64;

/// What comes after the bytes of a chunk.
pub(crate) const CHUNK_END: &[u8] = b"\r\n";
/// The end of a body without trailers.
pub(crate) const LAST: &[u8] = b"0\r\n\r\n";

/// What the bytes that are there so far amount to.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes of the body, never none.
    Data(Bytes),
    /// Nothing yet: all bytes were taken and more are needed.
    More,
    /// The body has ended, with these trailers; what is left in the buffer belongs to the next message. Said again
    /// when asked again, then without trailers.
    End(Option<HeaderMap>),
}

/// A body as it comes in. After an error it is not to be asked again.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    state: State,
    /// Of the chunk's size line, then what is left of the chunk.
    left: u64,
    digits: u8,
    extension_bytes: usize,
    /// The trailer section so far, line ends included.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Size,
    /// White space between the size and an extension or the line's end, as some old servers send it.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section.
    Trailer,
    InTrailer,
    TrailerLf,
    EndLf,
    End,
}

impl Decoder {
    /// Takes bytes from the front of `buffer`, at most up to the end of the body. Data is split off, not copied.
    ///
    /// # Errors
    /// What the bytes do wrong, in words.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, &'static str> {
        loop {
            match self.state {
                State::Data if buffer.is_empty() => return Ok(Piece::More),
                State::Data => {
                    let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
                    self.left -= take as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Piece::Data(buffer.split_to(take).freeze()));
                }
                State::End => return Ok(Piece::End(self.take_trailers()?)),
                _ if buffer.is_empty() => return Ok(Piece::More),
                _ => {
                    let mut taken = 0;
                    for byte in buffer.iter() {
                        taken += 1;
                        self.step(*byte)?;
                        if matches!(self.state, State::Data | State::End) {
                            break;
                        }
                    }
                    buffer.advance(taken);
                }
            }
        }
    }

    /// How many bytes the chunk under way still has, as far as its size is known.
    pub(crate) fn left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == DIGITS_MAX {
                    return Err("the size of a chunk has more than 16 digits");
                }
                self.digits += 1;
                self.left = (self.left << 4) | u64::from(char::from(byte).to_digit(16).unwrap_or_default());
                State::Size
            }
            (State::Size | State::Space, b'\r') if self.digits > 0 => State::SizeLf,
            (State::Size | State::Space, b' ' | b'\t') if self.digits > 0 => self.extended(State::Space)?,
            (State::Size | State::Space, b';') if self.digits > 0 => self.extended(State::Extension)?,
            (State::Size | State::Space, _) => return Err("a chunk has no proper size"),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extended(State::Extension)?,
            (State::Extension, _) => return Err("a control character in a chunk extension"),
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailer,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataCr, _) => return Err("a chunk is longer than its size"),
            (State::DataLf, b'\n') => {
                self.digits = 0;
                State::Size
            }
            (State::Trailer, b'\r') => State::EndLf,
            (State::InTrailer, b'\r') => State::TrailerLf,
            (State::Trailer | State::InTrailer, b'\n') => return Err("a line end that is not CRLF"),
            (State::Trailer | State::InTrailer, byte) => {
                self.trailers.push(byte);
                State::InTrailer
            }
            (State::TrailerLf, b'\n') => {
                self.trailers.extend_from_slice(CHUNK_END);
                State::Trailer
            }
            (State::EndLf, b'\n') => State::End,
            (State::Data | State::End, _) => self.state,
            (_, _) => return Err("a line end that is not CRLF"),
        };
        if self.trailers.len() > TRAILER_BYTES_MAX {
            return Err("the trailers are larger than 16 KiB");
        }
        Ok(())
    }

    fn extended(&mut self, next: State) -> Result<State, &'static str> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err("the chunk extensions are larger than 4 KiB");
        }
        Ok(next)
    }

    fn take_trailers(&mut self) -> Result<Option<HeaderMap>, &'static str> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        let mut section = std::mem::take(&mut self.trailers);
        section.extend_from_slice(CHUNK_END);
        let mut fields = [httparse::EMPTY_HEADER; TRAILERS_MAX];
        let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&section, &mut fields)
        else {
            return Err("the trailers are no header fields");
        };
        let mut trailers = HeaderMap::new();
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) else {
                return Err("the trailers are no header fields");
            };
            // What frames or routes a message comes too late here (RFC 9110 §6.5.1).
            if ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST].contains(&name) {
                trailers.append(name, value);
            }
        }
        Ok((!trailers.is_empty()).then_some(trailers))
    }
}

/// Puts the line before a chunk of `size` bytes; 0 would end the body.
pub(crate) fn put_size(out: &mut BytesMut, size: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.max(1).leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        let digit = (size >> (4 * place)) & 0xf;
        out.extend_from_slice(DIGITS.get(digit..=digit).unwrap_or_default());
    }
    out.extend_from_slice(CHUNK_END);
}

/// Puts the end of a body with its trailers.
pub(crate) fn put_last(out: &mut BytesMut, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(CHUNK_END);
    }
    out.extend_from_slice(CHUNK_END);
}

#[cfg(test)]
mod tests;
