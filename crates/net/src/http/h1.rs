//! HTTP/1.1 on the wire (RFC 9112), without a task of its own: what both sides of the program share.
//! It opens no socket and knows no path, no pool and no policy.

pub(crate) mod chunked;
