//! What lies outside a configuration and is only named in it: secrets, schema files, certificates. It is handed in, as clock
//! and dice are, so that a text which somebody sends can be checked without opening anything that it names.

use std::io;
use std::path::Path;

/// Whether what a configuration names is looked at.
///
/// Invariant: with [`Outside::Unread`] nothing depends on what a file or a variable holds, or on whether it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outside {
    /// Files and environment variables are read.
    Read,
    /// Only the form of what names them is looked at.
    Unread,
}

impl Outside {
    /// A regular file of at most `bytes_max` bytes; nothing when it is not looked at.
    ///
    /// # Errors
    /// As [`net::files::read`].
    pub fn file(self, path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        match self {
            Outside::Read => net::files::read(path, bytes_max).map(Some),
            Outside::Unread => Ok(None),
        }
    }
}
