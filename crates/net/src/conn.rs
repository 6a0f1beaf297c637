//! One connection: a byte stream in clear, in TLS or inside a WebSocket, with the sniffed bytes given back first.
//! It speaks no protocol and has no deadlines of its own: whoever reads sets them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsStream;

use crate::registry::{ConnInfo, Place};
use crate::tls::TlsInfo;
use crate::ws;

/// How long a peer may take none of what is written to it.
const STALL: Duration = Duration::from_secs(60);
/// How long a lingering close reads on, and how many bytes at most.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 64 << 20;

/// A connection, accepted or dialled: `AsyncRead + AsyncWrite + Unpin + Send`.
///
/// A peer that takes none of what is written to it for a minute is given up with `TimedOut`.
/// An accepted one holds its place in the connection budget until it is dropped, whoever owns it by then.
#[derive(Debug)]
pub struct Conn {
    io: Io,
    /// Bytes that were read to tell the protocol; they come first.
    replay: Bytes,
    info: Arc<ConnInfo>,
    linger: Option<Linger>,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
    place: Option<Place>,
}

// No `dyn`: the plain socket is on the hot path; the other two are boxed so that a connection stays small.
#[derive(Debug)]
enum Io {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Ws(Box<ws::ByteStream>),
}

#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    bytes: u64,
}

/// The first bytes of a connection, or why there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peeked {
    /// So many bytes are there to look at.
    Bytes(usize),
    /// The peer has said all that it will.
    End,
}

impl Conn {
    /// An accepted socket with its place in the budget.
    pub(crate) fn accepted(stream: TcpStream, place: Place) -> Conn {
        let info = Arc::clone(place.info());
        Conn {
            io: Io::Tcp(stream),
            replay: Bytes::new(),
            info,
            linger: None,
            stall: None,
            place: Some(place),
        }
    }

    /// A socket that we dialled.
    pub(crate) fn dialled(stream: TcpStream, info: Arc<ConnInfo>) -> Conn {
        Conn { io: Io::Tcp(stream), replay: Bytes::new(), info, linger: None, stall: None, place: None }
    }

    /// A WebSocket as a byte stream, so that a protocol runs over it with the code that it has for TCP.
    /// The place in the budget and the counters stay with the connection underneath.
    pub fn from_ws(socket: ws::Socket) -> Conn {
        let info = Arc::clone(socket.info());
        let io = Io::Ws(Box::new(ws::ByteStream::new(socket)));
        Conn { io, replay: Bytes::new(), info, linger: None, stall: None, place: None }
    }

    /// What is known about it; lives on in the list as long as the connection does.
    pub fn info(&self) -> &Arc<ConnInfo> {
        &self.info
    }

    /// The other side's address.
    pub fn peer(&self) -> SocketAddr {
        self.info.peer()
    }

    /// Our side's address.
    pub fn local(&self) -> SocketAddr {
        self.info.local()
    }

    /// What TLS negotiated; None in clear.
    pub fn tls(&self) -> Option<&Arc<TlsInfo>> {
        self.info.tls()
    }

    /// Labels the connection with what is spoken over it.
    pub fn set_protocol(&self, name: &'static str) {
        self.info.set_protocol(name);
    }

    /// The bytes that were read ahead and will be read again.
    pub fn peeked(&self) -> &[u8] {
        &self.replay
    }

    /// Puts back bytes that were read and are somebody else's; only when nothing is left to be read again.
    pub(crate) fn give_back(&mut self, bytes: Bytes) {
        debug_assert!(self.replay.is_empty(), "what was peeked at was read before");
        self.replay = bytes;
    }

    /// Reads more bytes ahead, without taking them. The caller sets the deadline. Cancel safe.
    pub async fn peek_more(&mut self) -> io::Result<Peeked> {
        let mut more = [0_u8; 512];
        let replay = std::mem::take(&mut self.replay);
        // With nothing left to replay the read goes to the socket; what was there is put back before any await.
        let mut aside = Aside { conn: self, replay };
        let read = aside.conn.read(&mut more).await?;
        if read == 0 {
            return Ok(Peeked::End);
        }
        let mut all = BytesMut::with_capacity(aside.replay.len() + read);
        all.extend_from_slice(&aside.replay);
        all.extend_from_slice(more.get(..read).unwrap_or_default());
        aside.replay = all.freeze();
        Ok(Peeked::Bytes(aside.replay.len()))
    }

    /// The first byte, left where it is; None when the peer says nothing more.
    pub(crate) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let Io::Tcp(stream) = &self.io else { return Ok(None) };
        let mut byte = [0_u8; 1];
        let read = stream.peek(&mut byte).await?;
        Ok(byte.first().copied().filter(|_| read == 1))
    }

    /// Takes the plain socket out to put TLS over it; only sensible before anything was read.
    pub(crate) fn into_tcp(self) -> Option<(TcpStream, Arc<ConnInfo>, Option<Place>)> {
        match self.io {
            Io::Tcp(stream) if self.replay.is_empty() => Some((stream, self.info, self.place)),
            _ => None,
        }
    }

    /// The same connection with TLS over its socket.
    pub(crate) fn secured(
        stream: TlsStream<TcpStream>,
        tls: TlsInfo,
        info: Arc<ConnInfo>,
        place: Option<Place>,
    ) -> Conn {
        info.set_tls(tls);
        Conn { io: Io::Tls(Box::new(stream)), replay: Bytes::new(), info, linger: None, stall: None, place }
    }

    fn poll_io_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Ws(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_io_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Ws(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Whether bytes wait to be read; takes those that do, for nobody will want them any more.
    fn has_unread(&mut self, cx: &mut Context<'_>) -> bool {
        let mut scrap = [0_u8; 4096];
        let mut buf = ReadBuf::new(&mut scrap);
        matches!(self.poll_io_read(cx, &mut buf), Poll::Ready(Ok(())) if !buf.filled().is_empty())
    }

    /// Reads and forgets until the peer is done, so that no unread bytes turn our close into a reset that takes
    /// the answer from the peer's receive buffer (RFC 9112 §9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0_u8; 4096];
        loop {
            let Some(linger) = &mut self.linger else { return Poll::Ready(()) };
            if linger.bytes > LINGER_BYTES_MAX || linger.until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buf = ReadBuf::new(&mut scrap);
            match self.poll_io_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {
                    let read = buf.filled().len() as u64;
                    if let Some(linger) = &mut self.linger {
                        linger.bytes += read;
                    }
                }
            }
        }
    }

    fn closed() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, "closed by an operator")
    }

    /// A write or flush waits: ready with the error when it has waited too long or the connection is to close.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.info.wait_write(cx.waker());
        if self.info.is_closed() {
            return Poll::Ready(Conn::closed());
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing"))
    }

    fn wrote(&mut self, result: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Poll::Ready(result) = result else { return self.poll_stalled(cx).map(Err) };
        if self.stall.is_some() {
            self.stall = None;
        }
        if let Ok(bytes) = result
            && !matches!(self.io, Io::Ws(_))
        {
            self.info.add_out(bytes);
        }
        Poll::Ready(result)
    }
}

/// Puts the bytes back where they were, also when the read is cancelled.
struct Aside<'a> {
    conn: &'a mut Conn,
    replay: Bytes,
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.conn.replay = std::mem::take(&mut self.replay);
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.info.is_closed() {
            return Poll::Ready(Err(Conn::closed()));
        }
        if !this.replay.is_empty() {
            let take = this.replay.len().min(buf.remaining());
            buf.put_slice(this.replay.get(..take).unwrap_or_default());
            this.replay.advance(take);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match this.poll_io_read(cx, buf) {
            Poll::Pending => {
                this.info.wait_read(cx.waker());
                // Closed between the look above and the waker's arrival: nobody would wake us again.
                if this.info.is_closed() { Poll::Ready(Err(Conn::closed())) } else { Poll::Pending }
            }
            Poll::Ready(done) => {
                if !matches!(this.io, Io::Ws(_)) {
                    this.info.add_in(buf.filled().len() - before);
                }
                Poll::Ready(done)
            }
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.info.is_closed() {
            return Poll::Ready(Err(Conn::closed()));
        }
        let result = match &mut this.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Ws(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        this.wrote(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.info.is_closed() {
            return Poll::Ready(Err(Conn::closed()));
        }
        let result = match &mut this.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Ws(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.wrote(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Tcp(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
            Io::Ws(_) => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let result = match &mut this.io {
            // A plain socket has nothing to flush.
            Io::Tcp(_) => return Poll::Ready(Ok(())),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Io::Ws(stream) => Pin::new(stream).poll_flush(cx),
        };
        let Poll::Ready(result) = result else { return this.poll_stalled(cx).map(Err) };
        this.stall = None;
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(this.poll_io_shutdown(cx))?;
            if !this.info.lingers() && !this.has_unread(cx) {
                return Poll::Ready(Ok(()));
            }
            this.linger = Some(Linger { until: Box::pin(tokio::time::sleep(LINGER)), bytes: 0 });
        }
        ready!(this.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}
