//! A segment whose bytes the disk changed. A store opens on whatever it finds, and what it gives out is what was written.

use bytes::Bytes;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use store::{Durability, Options};

/// As small as a segment may be, so that a run is short.
const OPTIONS: fn() -> Options = || Options {
    durability: Durability::Buffered,
    segment_bytes: 65_536,
    spare_segments_max: 0,
    ..Options::default()
};
const LANES: [&str; 2] = ["a", "b"];
const RECORDS: u64 = 12;

/// A record's bytes say which it is.
fn record(lane: &str, number: u64) -> Bytes {
    let length = usize::try_from(number * 37 % 300).unwrap_or(0);
    Bytes::from(format!("{lane}{number}:{}", "x".repeat(length)))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        std::thread::yield_now();
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] })
        .collect();
    found.sort();
    found
}

/// A folder of this process, and a sound store in it that every run starts from.
static SOUND: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("trunkline-fuzz-{}", std::process::id()));
    let sound = folder.join("sound");
    drop(std::fs::remove_dir_all(&folder));
    let Ok(engine) = store::open(&sound, OPTIONS()) else { panic!("no store in {}", sound.display()) };
    for lane in LANES {
        let Ok(log) = engine.log(lane) else { panic!("no lane") };
        for number in 0..RECORDS {
            assert!(wait(log.append(vec![record(lane, number)])).is_ok());
        }
    }
    drop(engine);
    folder
});

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let Ok(inside) = file.strip_prefix(from) else { continue };
        let target = to.join(inside);
        if let Some(parent) = target.parent() {
            assert!(std::fs::create_dir_all(parent).is_ok());
        }
        assert!(std::fs::copy(&file, &target).is_ok());
    }
}

/// Three bytes of input are one change: where (16 bits, from the start of the first segment) and to what.
pub(crate) fn segment(data: &[u8]) {
    let folder = SOUND.join("run");
    drop(std::fs::remove_dir_all(&folder));
    copy(&SOUND.join("sound"), &folder);
    let segments =
        files(&folder).into_iter().filter(|file| file.extension().is_some_and(|it| it == "segment"));
    let Some(segment) = segments.min() else { panic!("no segment in {:?}", files(&folder)) };
    let Ok(mut bytes) = std::fs::read(&segment) else { panic!("unreadable") };
    for change in data.chunks_exact(3) {
        if let &[high, low, to] = change
            && let Some(byte) = bytes.get_mut(usize::from(u16::from_be_bytes([high, low])))
        {
            *byte = to;
        }
    }
    assert!(std::fs::write(&segment, bytes).is_ok());
    let Ok(engine) = store::open(&folder, OPTIONS()) else { return };
    for lane in LANES {
        let Ok(log) = engine.log(lane) else { continue };
        let mut from = log.head();
        while let Ok(found) = log.read(from, 100, 1 << 20) {
            let Some((last, _)) = found.last() else { break };
            from = last + 1;
            for (number, bytes) in &found {
                assert_eq!(*bytes, record(lane, *number), "{lane} {number}");
            }
        }
        // Whatever was found, it takes more.
        if let Ok(at) = wait(log.append(vec![Bytes::from_static(b"more")])) {
            let read = log.read(at.start, 1, 100).ok().and_then(|found| found.into_iter().next());
            assert_eq!(read, Some((at.start, Bytes::from_static(b"more"))));
        }
    }
}
