//! Settings as they lie in the table, of this version and of an earlier one.

use super::*;

// Finding: H0.6
#[test]
fn settings_come_back_and_those_of_a_version_that_knew_fewer_are_read() {
    let usual = QueueOptions::default();
    let options = QueueOptions {
        messages_max: 7,
        ordered: true,
        expired: Expired::Drop,
        dead_bytes_max: 3,
        ..usual.clone()
    };
    let bytes = options.encode();
    assert_eq!(QueueOptions::decode(&bytes), Some(options.clone()));
    assert_eq!(
        QueueOptions::decode(&bytes.slice(..bytes.len() - 1)),
        Some(QueueOptions { dead_bytes_max: usual.dead_bytes_max, ..options.clone() })
    );
    let newer = [&bytes[..], &[9]].concat();
    assert_eq!(QueueOptions::decode(&newer.into()), Some(options));
}
