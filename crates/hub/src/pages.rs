//! Pages of messages for HTTP: fetched and written a piece at a time while the client reads, within bounds of messages and
//! bytes. How an element looks is its face's; where elements come from, the broker's.

use broker::Bounds;
use message::Fault;
use net::ConnInfo;
use net::http::{Response, Rows, rows};
use std::future::Future;
use std::sync::Arc;

/// The most bytes that a client may ask for in one page. A page takes no memory for them, only time.
pub const PAGE_BYTES_MAX: usize = 64 << 20;
/// The most elements of one piece.
const PIECE_ELEMENTS: usize = 256;

/// A list and its form.
pub trait List: Send + 'static {
    /// One element, with what is needed to write it.
    type Element: Send;

    /// The next elements; none at the end.
    fn fetch(&mut self, max: Bounds) -> impl Future<Output = Result<Vec<Self::Element>, Fault>> + Send;

    /// What an element counts against the bytes of the page.
    fn weigh(element: &Self::Element) -> usize;

    /// Writes one element.
    fn write(&mut self, element: &Self::Element, out: &mut Vec<u8>);

    /// Writes what follows the last element, brackets included; `more` says whether the page ended at its bounds.
    fn close(&mut self, more: bool, out: &mut Vec<u8>) -> Result<(), Fault>;
}

struct Page<L> {
    list: L,
    open: &'static str,
    left: Bounds,
    begun: bool,
    any: bool,
}

impl<L: List> Rows for Page<L> {
    async fn more(&mut self, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let piece = Bounds {
            messages: self.left.messages.min(PIECE_ELEMENTS),
            bytes: self.left.bytes.min(net::PIECE_BYTES),
        };
        let elements = self.list.fetch(piece).await?;
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(self.open.as_bytes());
        }
        for element in &elements {
            if std::mem::replace(&mut self.any, true) {
                out.push(b',');
            }
            self.list.write(element, out);
            self.left.bytes = self.left.bytes.saturating_sub(L::weigh(element));
        }
        self.left.messages = self.left.messages.saturating_sub(elements.len());
        let bounded = self.left.messages == 0 || self.left.bytes == 0;
        if elements.is_empty() || bounded {
            self.list.close(bounded, out)?;
            return Ok(false);
        }
        Ok(true)
    }
}

/// Answers with one page of `list`; `open` is what stands before its first element. The page ends with the element that
/// reaches the bounds.
///
/// # Errors
/// Those of the first elements, and TL0039 when there is no memory for them.
pub async fn page<L: List>(
    conn: &Arc<ConnInfo>,
    content_type: &'static str,
    open: &'static str,
    list: L,
    bounds: Bounds,
) -> Result<Response, Fault> {
    rows(conn, content_type, Page { list, open, left: bounds, begun: false, any: false }).await
}
