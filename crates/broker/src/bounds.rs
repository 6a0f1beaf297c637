//! How much of a list one call may bring: messages and bytes, whichever is reached first.
//! It says nothing of where the list goes on; that is each list's own number, offset or name.

/// The most of a page or of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The most messages; at least 1, at most 1,000.
    pub messages: usize,
    /// The most bytes of their records, bodies and headers, as they are stored; one message always comes.
    pub bytes: usize,
}

impl Bounds {
    /// The most bytes when nobody says otherwise.
    pub const BYTES: usize = 4 << 20;
    /// The most messages of one call.
    pub const MESSAGES_MAX: usize = 1_000;

    /// So many messages, and the usual bytes.
    pub fn messages(messages: usize) -> Bounds {
        Bounds { messages, bytes: Bounds::BYTES }
    }

    /// What is left of it: asked with the bytes of each item in turn, says whether that still belongs in.
    pub(crate) fn meter(self) -> impl FnMut(usize) -> bool {
        let (mut count, mut bytes) = (0_usize, 0_usize);
        let most = self.messages.clamp(1, Bounds::MESSAGES_MAX);
        move |size| {
            bytes = bytes.saturating_add(size);
            let fits = count < most && (count == 0 || bytes <= self.bytes);
            count += 1;
            fits
        }
    }
}

impl From<usize> for Bounds {
    fn from(messages: usize) -> Bounds {
        Bounds::messages(messages)
    }
}
