//! A long text keeps its two ends and whole characters.

use super::*;

#[test]
fn the_middle_is_left_out() {
    let check = |text: &str, expected: &str| assert_eq!(shortened(text.to_owned(), 15), expected);
    check("", "");
    check("fifteen letters", "fifteen letters");
    check("more than fifteen letters", "more  … tters");
    check("öööööööööö", "öö … öö");
}

#[test]
fn no_text_is_longer_than_its_bound() {
    for bytes_max in 0..40 {
        let short = shortened("a 🦀 and ö, and many more letters than that".to_owned(), bytes_max);
        assert!(short.len() <= bytes_max.max(GAP.len()), "{short}");
    }
}
