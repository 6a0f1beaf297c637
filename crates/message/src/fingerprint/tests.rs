//! Fingerprints tell parts from their joints, come back, and never change.

use super::*;

// Finding: H0.1
#[test]
fn where_a_part_ends_counts() {
    let all = [
        Fingerprint::of(&[b"a", b"bc"]),
        Fingerprint::of(&[b"ab", b"c"]),
        Fingerprint::of(&[b"abc"]),
        Fingerprint::of(&[b"abc", b""]),
        Fingerprint::of(&[b"a", b"bc"]).within(&[b"x"]),
        Fingerprint::of(&[b"a", b"bc"]).within(&[b"y"]),
    ];
    for (place, one) in all.iter().enumerate() {
        assert_eq!(all.iter().position(|other| other == one), Some(place));
        assert_eq!(Fingerprint::from_bytes(one.to_bytes()), *one);
    }
}

#[test]
fn it_never_changes() {
    // They lie on disk: what was stored yesterday must be recognised today. SHA-256 of 01 00 00 00 00 00 00 00 61.
    let bytes = Fingerprint::of(&[b"a"]).to_bytes();
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(text, "ae6121c88ba555f64c3d812123eb799d");
    assert_eq!(Fingerprint::from_bytes([0; 16]), Fingerprint::from_bytes([0; 16]));
    assert_eq!(size_of::<Option<Fingerprint>>(), 16);
}
