//! A logarithmic axis from one power of ten to another.

/// Places between two pixels, for numbers above 0.
pub(super) struct Axis {
    /// Powers of ten at both ends.
    low: i32,
    high: i32,
    from: i32,
    to: i32,
}

impl Axis {
    /// Whole powers of ten around all numbers; two at least.
    pub(super) fn around(numbers: impl Iterator<Item = f64>, from: i32, to: i32) -> Self {
        let powers: Vec<_> = numbers.filter(|number| *number > 0.0).map(f64::log10).collect();
        let low = powers.iter().copied().reduce(f64::min).unwrap_or(0.0).floor() as i32;
        let high = powers.iter().copied().reduce(f64::max).unwrap_or(0.0).ceil() as i32;
        Self { low, high: high.max(low + 1), from, to }
    }

    /// Of a number; those beyond the ends are at the ends.
    pub(super) fn place(&self, number: f64) -> i32 {
        let share = (number.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
        self.from + (share * f64::from(self.to - self.from)).round() as i32
    }

    /// Each power of ten, with its place.
    pub(super) fn marks(&self) -> impl Iterator<Item = (i32, String)> {
        (self.low..=self.high).map(|power| {
            let number = 10_f64.powi(power);
            (self.place(number), short(number))
        })
    }
}

/// A number in few letters.
pub(super) fn short(number: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, letter) = units.into_iter().find(|(unit, _)| number >= *unit).unwrap_or((1.0, ""));
    let scaled = number / unit;
    let digits = if scaled >= 100.0 || scaled.fract() == 0.0 {
        0
    } else if scaled >= 1.0 {
        1
    } else {
        3
    };
    format!("{scaled:.digits$}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each tenfold is the same way; what is beyond the ends, or no number, stays at them.
    #[test]
    fn places_are_logarithmic() {
        let axis = Axis::around([30.0, 5000.0].into_iter(), 100, 400);
        assert_eq!([10.0, 100.0, 1000.0, 10_000.0].map(|at| axis.place(at)), [100, 200, 300, 400]);
        assert_eq!(
            [1.0, 0.0, -5.0, f64::NAN, 1e9].map(|at| axis.place(at)),
            [100, 100, 100, 100, 400]
        );
        let marks: Vec<_> = axis.marks().collect();
        let expected = [(100, "10"), (200, "100"), (300, "1k"), (400, "10k")];
        assert_eq!(marks, expected.map(|(at, text)| (at, text.to_owned())));
    }

    /// One number, or none, has an axis with two ends, too.
    #[test]
    fn an_axis_always_has_two_ends() {
        for numbers in [vec![], vec![100.0], vec![0.0]] {
            assert!(Axis::around(numbers.into_iter(), 0, 10).marks().count() >= 2);
        }
    }

    #[test]
    fn numbers_are_short() {
        let told = [0.25, 7.0, 12.34, 999.4, 1234.0, 250_000.0, 4_460_809.0].map(short);
        assert_eq!(told, ["0.250", "7", "12.3", "999", "1.2k", "250k", "4.5M"]);
    }
}
