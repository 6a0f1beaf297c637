//! What the machine gives to this process, and how much of it is used: memory, open files, room on the disk.
//! Linux says all of it in files; where those are not, nothing is said rather than something wrong.

use hub::Gauge;
use std::path::Path;

/// How much is used of how much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Used now.
    pub used: u64,
    /// All there is.
    pub most: u64,
}

/// Resident memory of this process, in bytes, of what its control group or else the machine has.
pub fn memory() -> Option<Share> {
    let used = crate::overview::process().0;
    let most = group_memory().or_else(machine_memory)?;
    Some(Share { used, most })
}

/// Open files and sockets of this process, of the soft limit (`ulimit -n`).
pub fn open_files() -> Option<Share> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let most = line.split_whitespace().nth(3)?.parse().ok()?;
    let used = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(Share { used: u64::try_from(used).unwrap_or(u64::MAX), most })
}

/// Bytes of the file system that holds `folder`, as far as they are used or may be: what is kept for the superuser, or
/// beyond a quota, is neither.
pub fn disk(folder: &Path) -> Option<Share> {
    let system = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    let used = bytes(system.f_blocks.saturating_sub(system.f_bfree));
    Some(Share { used, most: used.saturating_add(bytes(system.f_bavail)) })
}

/// All of it as gauges.
pub(crate) fn gauges(data: Option<&Path>) -> Vec<Gauge> {
    let shares =
        [("memory_bytes", memory()), ("open_files", open_files()), ("disk_bytes", data.and_then(disk))];
    shares
        .into_iter()
        .filter_map(|(limit, share)| share.map(|share| (limit, share)))
        .map(|(limit, share)| Gauge { limit, of: "".into(), used: share.used, most: share.most })
        .collect()
}

/// The limit of the control group that this process is in (version 2), when it has one.
fn group_memory() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let mine = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = Path::new("/sys/fs/cgroup").join(mine.trim_start_matches('/'));
    // The smallest limit of all groups above holds.
    let limits = folder.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    limits
        .filter_map(|folder| std::fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok())
        .min()
}

fn machine_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests;
