//! The writer's buffer: bytes that start on a page in memory as they do in the file, so that the device can take them as
//! they are. It knows no records.

use super::format::PAGE;

const PAGE_BYTES: usize = 4096;
const _: () = assert!(PAGE_BYTES as u64 == PAGE, "pages in memory are pages in the file");
/// What a buffer is made with, and what it is brought back to.
const USUAL_BYTES: usize = 128 << 10;
/// A buffer that has grown beyond this is made anew when it is empty again.
const LARGE_BYTES: usize = 4 << 20;

/// Bytes that begin at a multiple of [`PAGE`] in memory.
pub(super) struct Pages {
    /// Padding up to the first whole page, then the bytes. It never grows by itself: that would move it.
    bytes: Vec<u8>,
    start: usize,
}

impl Pages {
    /// A buffer that holds `bytes`.
    pub(super) fn holding(bytes: &[u8]) -> Pages {
        let mut pages = Pages::with_room(USUAL_BYTES.max(bytes.len()));
        pages.bytes.extend_from_slice(bytes);
        pages
    }

    fn with_room(room: usize) -> Pages {
        let mut bytes: Vec<u8> = Vec::with_capacity(room.next_multiple_of(PAGE_BYTES) + PAGE_BYTES);
        let start = bytes.as_ptr().align_offset(PAGE_BYTES);
        bytes.resize(start, 0);
        Pages { bytes, start }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn clear(&mut self) {
        self.bytes.truncate(self.start);
    }

    /// The bytes to append to, with room for `more`.
    pub(super) fn room(&mut self, more: usize) -> &mut Vec<u8> {
        // Always enough to fill the last page.
        if self.bytes.capacity() - self.bytes.len() < more + PAGE_BYTES {
            let mut larger = Pages::with_room((self.len() + more).max(2 * self.len()));
            larger.bytes.extend_from_slice(self.bytes.get(self.start..).unwrap_or_default());
            *self = larger;
        }
        &mut self.bytes
    }

    /// All of it, the last page filled up with zeros.
    pub(super) fn whole(&mut self) -> &[u8] {
        let end = self.start + self.len().next_multiple_of(PAGE_BYTES);
        self.bytes.resize(end, 0);
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Goes back to `length` and lets go of the whole pages in it: their bytes.
    pub(super) fn release(&mut self, length: usize) -> usize {
        self.bytes.truncate(self.start + length);
        let whole = length / PAGE_BYTES * PAGE_BYTES;
        self.bytes.copy_within(self.start + whole.., self.start);
        self.bytes.truncate(self.start + length - whole);
        if self.bytes.capacity() > LARGE_BYTES {
            *self = Pages::holding(self.bytes.get(self.start..).unwrap_or_default());
        }
        whole
    }
}

#[cfg(test)]
mod tests;
