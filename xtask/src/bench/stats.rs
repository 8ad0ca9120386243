//! What several runs of one measurement say together.

/// The middle and the ends of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: usize,
}

impl Summary {
    /// `None` of no numbers.
    pub(super) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<_> = numbers.into_iter().collect();
        let median = median(&mut numbers)?;
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        Some(Self { median, min, max, count: numbers.len() })
    }

    /// How far the number that is farthest from the median is from it, as a share of the median. One
    /// number alone says nothing about that.
    pub(super) fn deviation(&self) -> Option<f64> {
        let farthest = (self.max - self.median).max(self.median - self.min);
        (self.count > 1 && self.median > 0.0).then(|| farthest / self.median)
    }
}

/// The number in the middle, or between the two in the middle. Sorts the numbers.
pub(super) fn median(numbers: &mut [f64]) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let upper = *numbers.get(numbers.len() / 2)?;
    let lower = *numbers.get(numbers.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// The law y = factor * x^exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PowerLaw {
    pub(super) factor: f64,
    pub(super) exponent: f64,
}

impl PowerLaw {
    /// The one that is nearest to some points, by least squares of the logarithms. Points that have
    /// none are left out; `None` if fewer than two different x are left.
    pub(super) fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let points: Vec<_> = points
            .iter()
            .filter(|(x, y)| *x > 0.0 && *y > 0.0)
            .map(|(x, y)| (x.ln(), y.ln()))
            .collect();
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let common: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        let exponent = common / spread;
        (spread > 1e-9).then(|| Self { factor: (mean_y - exponent * mean_x).exp(), exponent })
    }

    pub(super) fn at(&self, x: f64) -> f64 {
        self.factor * x.powf(self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 100.0]), Some(3.5));
        assert_eq!(median(&mut [4.0, 1.0, 100.0]), Some(4.0));
        assert_eq!(median(&mut []), None);
    }

    /// The end that is farther from the middle says how much runs differ; a single run says nothing.
    #[test]
    fn the_farther_end_is_the_deviation() {
        let summary = Summary::of([90.0, 100.0, 130.0]).unwrap();
        assert_eq!(summary, Summary { median: 100.0, min: 90.0, max: 130.0, count: 3 });
        assert_eq!(summary.deviation(), Some(0.3));
        assert_eq!(Summary::of([130.0, 60.0, 100.0]).unwrap().deviation(), Some(0.4));
        assert_eq!(Summary::of([5.0]).unwrap().deviation(), None);
        assert_eq!(Summary::of([]), None);
    }

    /// Points on a power law give that law; what lies off it moves it.
    #[test]
    fn exponents_are_found() {
        let points = |exponent: f64| [1e4, 1e5, 1e6].map(|x: f64| (x, 3.0 * x.powf(exponent)));
        for exponent in [0.0, 0.5, 1.0, 1.3] {
            let law = PowerLaw::fit(&points(exponent)).unwrap();
            assert!((law.exponent - exponent).abs() < 1e-9, "{law:?}");
            assert!((law.factor - 3.0).abs() < 1e-6, "{law:?}");
            assert!((law.at(1e5) - 3.0 * 1e5_f64.powf(exponent)).abs() < 1e-3);
        }
        let bent = PowerLaw::fit(&[(1.0, 1.0), (10.0, 10.0), (100.0, 1000.0)]).unwrap();
        assert!((bent.exponent - 1.5).abs() < 1e-9);
    }

    /// One size alone, or none with a logarithm, says nothing about growth.
    #[test]
    fn too_few_points_have_no_exponent() {
        assert_eq!(PowerLaw::fit(&[]), None);
        assert_eq!(PowerLaw::fit(&[(10.0, 1.0), (10.0, 2.0)]), None);
        assert_eq!(PowerLaw::fit(&[(10.0, 1.0), (100.0, 0.0)]), None);
    }
}
