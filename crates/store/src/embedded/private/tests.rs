//! What is made is private, and what was there becomes it.

use super::*;
use crate::{Embedded, Engine, Options, Write};

fn modes(dir: &Path, found: &mut Vec<(String, u32)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        found.push((path.display().to_string(), mode));
        if path.is_dir() {
            modes(&path, found);
        }
    }
}

fn check(dir: &Path) {
    let mut found = vec![(dir.display().to_string(), dir.metadata().unwrap().permissions().mode() & 0o777)];
    modes(dir, &mut found);
    assert!(found.len() > 4, "{found:?}");
    for (path, mode) in found {
        let wanted = if Path::new(&path).is_dir() { FOLDER } else { FILE };
        assert_eq!(mode, wanted, "{path} has {mode:o}");
    }
}

// Finding: S7
#[test]
fn folders_and_files_of_the_store_are_its_owners_alone() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("data");
    let fill = || {
        let engine = Embedded::open(&dir, Options::default()).unwrap();
        engine.log("queue/a").unwrap().append(vec!["body".into()]).wait().unwrap();
        let table = engine.table("retained").unwrap();
        table.commit(vec![Write::Put { key: "key".into(), value: "value".into() }]).wait().unwrap();
        engine.close().unwrap();
    };
    fill();
    check(&dir);
    let mut found = Vec::new();
    modes(&dir, &mut found);
    // As versions before left them.
    for path in found.iter().map(|(path, _)| Path::new(path)).chain([dir.as_path()]) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    fill();
    check(&dir);
}
