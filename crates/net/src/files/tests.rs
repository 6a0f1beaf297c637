//! What is not a regular file of a fair size is refused at once.

use super::*;
use std::os::unix::fs::symlink;

fn check(path: &Path, expected: Result<&[u8], io::ErrorKind>) {
    let read = read(path, 8).map_err(|error| error.kind());
    assert_eq!(read.as_deref().map_err(|kind| *kind), expected, "{}", path.display());
}

// Finding: S1
#[test]
fn only_regular_files_within_the_bound_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("small"), b"12345678").unwrap();
    std::fs::write(at("large"), b"123456789").unwrap();
    symlink(at("small"), at("link")).unwrap();
    symlink("/dev/zero", at("endless")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    check(&at("small"), Ok(b"12345678"));
    check(&at("link"), Ok(b"12345678"));
    check(&at("large"), Err(io::ErrorKind::FileTooLarge));
    check(&at("pipe"), Err(io::ErrorKind::InvalidInput));
    check(&at("endless"), Err(io::ErrorKind::InvalidInput));
    check(folder.path(), Err(io::ErrorKind::InvalidInput));
    check(&at("none"), Err(io::ErrorKind::NotFound));
    check(Path::new("/dev/zero"), Err(io::ErrorKind::InvalidInput));
}
