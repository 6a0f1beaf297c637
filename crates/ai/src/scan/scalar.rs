//! Numbers, `true`, `false` and `null`, byte by byte as RFC 8259 §3 and §6 write them.
//! What number it is nobody here wants to know.

/// How far a scalar has been read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scalar {
    /// What is still to come of a word.
    Word(&'static [u8]),
    Minus,
    /// A 0 at the beginning, behind which no digit may stand.
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Scalar {
    /// The scalar that begins with this byte.
    pub(super) fn begin(byte: u8) -> Option<Scalar> {
        Some(match byte {
            b't' => Scalar::Word(b"rue"),
            b'f' => Scalar::Word(b"alse"),
            b'n' => Scalar::Word(b"ull"),
            b'-' => Scalar::Minus,
            b'0' => Scalar::Zero,
            b'1'..=b'9' => Scalar::Whole,
            _ => return None,
        })
    }

    /// With one more byte; None when it may not stand here.
    pub(super) fn step(self, byte: u8) -> Option<Scalar> {
        Some(match (self, byte) {
            (Scalar::Word(rest), _) => match rest.split_first() {
                Some((wanted, rest)) if *wanted == byte => Scalar::Word(rest),
                _ => return None,
            },
            (Scalar::Minus, b'0') => Scalar::Zero,
            (Scalar::Minus, b'1'..=b'9') | (Scalar::Whole, b'0'..=b'9') => Scalar::Whole,
            (Scalar::Zero | Scalar::Whole, b'.') => Scalar::Point,
            (Scalar::Point | Scalar::Fraction, b'0'..=b'9') => Scalar::Fraction,
            (Scalar::Zero | Scalar::Whole | Scalar::Fraction, b'e' | b'E') => Scalar::Exponent,
            (Scalar::Exponent, b'+' | b'-') => Scalar::ExponentSign,
            (Scalar::Exponent | Scalar::ExponentSign | Scalar::ExponentDigits, b'0'..=b'9') => {
                Scalar::ExponentDigits
            }
            _ => return None,
        })
    }

    /// Whether it may end here.
    pub(super) fn may_end(self) -> bool {
        match self {
            Scalar::Word(rest) => rest.is_empty(),
            Scalar::Zero | Scalar::Whole | Scalar::Fraction | Scalar::ExponentDigits => true,
            Scalar::Minus | Scalar::Point | Scalar::Exponent | Scalar::ExponentSign => false,
        }
    }
}
