//! Hexadecimal digits without the formatter: ids and traces are written on every message's way.
//! It reads none.

/// Fills `place` with the lowest digits of `value`, in lower case.
pub(crate) fn put(place: &mut [u8], mut value: u128) {
    for digit in place.iter_mut().rev() {
        *digit = match u8::try_from(value & 0xf).unwrap_or(0) {
            low @ 0..=9 => b'0' + low,
            high => b'a' + high - 10,
        };
        value >>= 4;
    }
}
