//! What this machine says of itself.

use super::*;

#[test]
fn this_machine_says_something_sensible() {
    for share in [memory(), open_files(), disk(Path::new("/"))] {
        let share = share.unwrap();
        assert!(share.used > 0 && share.used <= share.most, "{share:?}");
    }
    assert_eq!(disk(Path::new("/no such folder")), None);
}
