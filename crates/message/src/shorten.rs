//! Text that quotes what somebody sent, bounded. Its middle is the part that is missed least: sentences begin with the thing
//! and end with the reason.

/// What stands for the part that was left out.
const GAP: &str = " … ";

/// A text of at most `bytes_max` bytes, without its middle when it is longer.
pub fn shortened(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    let half = bytes_max.saturating_sub(GAP.len()) / 2;
    let mut short = String::with_capacity(bytes_max);
    short.push_str(text.get(..text.floor_char_boundary(half)).unwrap_or_default());
    short.push_str(GAP);
    short.push_str(text.get(text.ceil_char_boundary(text.len() - half)..).unwrap_or_default());
    short
}

#[cfg(test)]
mod tests;
