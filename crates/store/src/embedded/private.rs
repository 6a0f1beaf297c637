//! What the store writes is its owner's alone: message bodies lie there in clear. Folders are 0700 and files 0600, whatever the
//! process's umask, and what an earlier version made is tightened when the store is opened.

use crate::Error;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;

/// Makes a folder with those on its way; one that is there is only tightened.
pub(super) fn make_folder(dir: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(FOLDER).create(dir);
    made.map_err(|error| Error::io(format!("cannot make {}", dir.display()), error))
}

/// How a file of ours is opened to be made.
pub(super) fn to_make() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(FILE);
    options
}

/// Takes the rights of others from the folder `dir`, from the folders in it that are ours and from their files. What belongs to
/// somebody else is left as it is, and said.
pub(super) fn tighten(dir: &Path) {
    take(dir, FOLDER);
    for folder in [dir.to_owned(), dir.join("log"), dir.join("tables")] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_file() {
                take(&entry.path(), FILE);
            } else if kind.is_dir() && folder == dir {
                take(&entry.path(), FOLDER);
            }
        }
    }
}

fn take(path: &Path, mode: u32) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    if metadata.permissions().mode() & 0o777 & !mode == 0 {
        return;
    }
    if let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(mode)) {
        tracing::warn!(path = %path.display(), %error, "others may read this, and its mode cannot be changed");
    }
}

#[cfg(test)]
mod tests;
