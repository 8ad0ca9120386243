//! What several peers take for one thing, by its size.

use super::axis::{Axis, short};
use super::{FAINT, INK, Picture, Shape, colour};
use crate::bench::growth::Curve;

const WIDTH: i32 = 760;
const HEIGHT: i32 = 460;
const LEFT: i32 = 80;
const RIGHT: i32 = 500;
const TOP: i32 = 60;
const BOTTOM: i32 = HEIGHT - 60;
const STEP: i32 = 20;

/// Both axes logarithmic, so that a power law is a straight line; beside it the exponents.
pub(super) fn picture(curves: &[Curve]) -> Picture {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let across = Axis::around(points().map(|point| point.0), LEFT, RIGHT);
    let up = Axis::around(points().map(|point| point.1), BOTTOM, TOP);
    let mut shapes = Vec::new();
    for (at, text) in across.marks() {
        shapes.push(Shape::Line { points: vec![(at, TOP), (at, BOTTOM)], colour: FAINT });
        shapes.push(Shape::Text { at: (at - 8, BOTTOM + 14), ends: false, text });
    }
    for (at, text) in up.marks() {
        shapes.push(Shape::Line { points: vec![(LEFT, at), (RIGHT, at)], colour: FAINT });
        shapes.push(Shape::Text { at: (LEFT - 8, at), ends: true, text: format!("{text} ms") });
    }
    for (curve, at) in curves.iter().zip((TOP + STEP..).step_by(STEP as usize)) {
        let hue = colour(&curve.peer);
        let place = |(size, ms): &(f64, f64)| (across.place(*size), up.place(*ms));
        let places: Vec<_> = curve.points.iter().map(place).collect();
        shapes.extend(places.iter().map(|at| Shape::Dot { at: *at, colour: hue }));
        shapes.push(Shape::Line { points: places, colour: hue });
        if let Some(law) = curve.law {
            let line = curve.points.iter().map(|(size, _)| place(&(*size, law.at(*size))));
            shapes.push(Shape::Line { points: line.collect(), colour: INK });
        }
        let exponent =
            curve.law.map_or_else(String::new, |law| format!(" size^{:.2}", law.exponent));
        let last = curve.points.last().map_or(0.0, |point| point.1);
        let text = format!("{}{exponent}, {} ms", curve.peer, short(last));
        shapes.push(Shape::Dot { at: (RIGHT + 20, at), colour: hue });
        shapes.push(Shape::Text { at: (RIGHT + 30, at), ends: false, text });
    }
    let of = curves.first().map_or("", |curve| curve.of.as_str());
    Picture {
        title: format!("growth of {of}, ms by size; black: the nearest power law"),
        size: (WIDTH.unsigned_abs(), HEIGHT.unsigned_abs()),
        shapes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stats::PowerLaw;

    /// More is further right, longer is further up, and the exponent stands beside it.
    #[test]
    fn curves_rise_to_the_right() {
        let points = vec![(1e4, 10.0), (1e5, 100.0), (1e6, 1000.0)];
        let law = PowerLaw::fit(&points);
        let (peer, of) = ("multibee".to_owned(), "W4".to_owned());
        let picture = picture(&[Curve { peer, of, points, law }]);
        let hue = colour("multibee");
        let line = picture.shapes.iter().find_map(|shape| match shape {
            Shape::Line { points, colour } if *colour == hue => Some(points),
            _ => None,
        });
        let line = line.unwrap();
        assert_eq!(line.len(), 3);
        assert!(line.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1));
        let is_told =
            |shape: &Shape| matches!(shape, Shape::Text { text, .. } if text.contains("size^1.00"));
        assert!(picture.shapes.iter().any(is_told));
    }
}
