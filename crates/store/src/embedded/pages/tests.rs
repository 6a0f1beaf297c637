//! That the bytes stay where the device wants them, however they grow and shrink.

use super::*;

fn check(pages: &mut Pages, expected: &[u8]) {
    assert_eq!(pages.len(), expected.len());
    let whole = pages.whole();
    assert_eq!(whole.as_ptr().align_offset(PAGE_BYTES), 0, "starts on a page");
    assert!(whole.len().is_multiple_of(PAGE_BYTES));
    assert_eq!(&whole[..expected.len()], expected);
    assert!(whole[expected.len()..].iter().all(|byte| *byte == 0));
    pages.release_padding(expected.len());
}

impl Pages {
    fn release_padding(&mut self, length: usize) {
        self.bytes.truncate(self.start + length);
    }
}

#[test]
fn bytes_stay_on_their_page() {
    let mut pages = Pages::holding(b"abc");
    let mut model = b"abc".to_vec();
    for size in [0, 1, 4_093, 4_096, 70_000, 300_000, 9, 6 << 20, 17] {
        let more: Vec<u8> = (0..size).map(|place| u8::try_from(place % 251).unwrap()).collect();
        pages.room(more.len()).extend_from_slice(&more);
        model.extend_from_slice(&more);
        check(&mut pages, &model);
        let whole = pages.release(model.len());
        assert_eq!(whole, model.len() / PAGE_BYTES * PAGE_BYTES);
        model.drain(..whole);
        check(&mut pages, &model);
    }
    assert!(pages.bytes.capacity() <= LARGE_BYTES, "a large buffer is let go");
    pages.clear();
    check(&mut pages, b"");
}
