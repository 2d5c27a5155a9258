//! Units of a column: where its zero lies, and how far one is.

/// A column varies if its standard deviation is above this share of its mean: rounding alone stays below, and a millisecond of a time
/// since 1970 above.
const VARIES: f64 = 1e-13;

/// The least standard deviation whose square is still a normal number.
pub(super) const LEAST_SCALE: f64 = 1e-150;

/// Units of a number column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standard {
    /// The value that stands for 0.
    pub location: f64,
    /// The distance that stands for 1.
    pub scale: f64,
}

impl Standard {
    /// The mean and standard deviation of numbers with these moments, if they have varied.
    pub(super) fn learnt(count: f64, mean: f64, scatter: f64) -> Option<Self> {
        let scale = if count > 0.0 { (scatter / count).sqrt() } else { 0.0 };
        (scale > VARIES * mean.abs() && scale > LEAST_SCALE && scale.is_finite()).then_some(Self { location: mean, scale })
    }

    /// Whether `value` is another than `constant`, the only one that a column has ever had.
    pub(super) fn differs(value: f64, constant: f64) -> bool {
        (value - constant).abs() > VARIES * constant.abs()
    }

    /// Whether it measures anything.
    pub(super) fn is_right(self) -> bool {
        self.location.is_finite() && self.scale.is_finite() && self.scale > LEAST_SCALE
    }
}
