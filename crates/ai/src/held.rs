//! The part of a request's body that is here before it is known where it goes: small ones in memory, larger ones in a file.
//! The file has no name: it is taken out of its folder as soon as it is open, so that nothing is left of it, whatever ends
//! the program. How much all such files hold together is bounded.

use bytes::{Bytes, BytesMut};
use message::{Code, Fault};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much is written or read at once.
const PIECE_BYTES: usize = 256 << 10;

/// What is here of a body.
#[derive(Clone)]
pub(crate) enum Held {
    Memory(Bytes),
    Disk(Arc<Spool>),
}

impl Held {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Held::Memory(bytes) => bytes.len() as u64,
            Held::Disk(spool) => spool.len,
        }
    }
}

/// Where the files are made, and how much is in all of them.
#[derive(Debug, Default)]
pub(crate) struct Room {
    folder: std::sync::OnceLock<PathBuf>,
    used: AtomicU64,
    count: AtomicU64,
}

impl Room {
    /// Says where; without it, in the machine's folder for temporary files.
    pub(crate) fn set_folder(&self, folder: PathBuf) {
        // The first who says it is the binary at its start.
        let _is_first = self.folder.set(folder).is_ok();
    }

    fn open(&self) -> io::Result<File> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let folder = self.folder.get().cloned().unwrap_or_else(std::env::temp_dir);
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".body-{}-{count}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }

    fn take(&self, bytes: u64, most: u64) -> Result<(), Fault> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(|_| {
            let what =
                format!("the bodies of which the model has not come hold {most} bytes (models.spool_bytes)");
            Fault::new(Code::TooManyRequests, what).retry_after(Duration::from_secs(1))
        })
    }

    /// How many bytes are in the files now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// A body's beginning in a file.
pub(crate) struct Spool {
    file: Arc<File>,
    len: u64,
    /// What is not written yet.
    rest: BytesMut,
    taken: Taken,
}

/// What was taken of the room; given back when it is dropped.
struct Taken {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when no file can be made.
    pub(crate) async fn begin(room: &Arc<Room>) -> Result<Spool, Fault> {
        let maker = Arc::clone(room);
        let file = on_disk(move || maker.open()).await?;
        let taken = Taken { room: Arc::clone(room), bytes: 0 };
        Ok(Spool { file: Arc::new(file), len: 0, rest: BytesMut::new(), taken })
    }

    /// Adds bytes; `most` is how much all files may hold together.
    ///
    /// # Errors
    /// [`Code::TooManyRequests`] when that is reached, [`Code::StoreUnavailable`] when the disk does not take them.
    pub(crate) async fn push(&mut self, bytes: &[u8], most: u64) -> Result<(), Fault> {
        self.taken.room.take(bytes.len() as u64, most)?;
        self.taken.bytes += bytes.len() as u64;
        self.rest.extend_from_slice(bytes);
        if self.rest.len() >= PIECE_BYTES { self.write().await } else { Ok(()) }
    }

    /// All of it, to be read.
    ///
    /// # Errors
    /// As [`Spool::push`].
    pub(crate) async fn done(mut self) -> Result<Held, Fault> {
        self.write().await?;
        Ok(Held::Disk(Arc::new(self)))
    }

    async fn write(&mut self) -> Result<(), Fault> {
        use std::os::unix::fs::FileExt as _;
        let (file, at, piece) = (Arc::clone(&self.file), self.len, self.rest.split().freeze());
        self.len += piece.len() as u64;
        on_disk(move || file.write_all_at(&piece, at)).await
    }

    /// The next bytes from `at`, at most up to `end`; empty at the end.
    ///
    /// # Errors
    /// [`Code::StoreUnavailable`] when the disk does not give them.
    pub(crate) async fn read(&self, at: u64, end: u64) -> Result<Bytes, Fault> {
        use std::os::unix::fs::FileExt as _;
        let most = end.min(self.len).saturating_sub(at);
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let file = Arc::clone(&self.file);
        on_disk(move || {
            let mut piece = vec![0; count];
            file.read_exact_at(&mut piece, at)?;
            Ok(Bytes::from(piece))
        })
        .await
    }
}

/// Off the connection's thread: a disk may take its time.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| {
        Fault::new(Code::StoreUnavailable, format!("a body cannot be held on disk: {error}"))
    })
}
