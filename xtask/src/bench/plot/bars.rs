//! A bar for each row of a workload.

use super::axis::{Axis, short};
use super::{FAINT, INK, Picture, Shape, colour};
use crate::bench::rows::Row;

const WIDTH: i32 = 900;
/// Where bars begin and end.
const LEFT: i32 = 330;
const RIGHT: i32 = WIDTH - 90;
const TOP: i32 = 60;
const STEP: i32 = 22;
const BAR: i32 = 14;

/// All rows from above, their medians as bars, with both ends as a line.
pub(super) fn picture(workload: &str, rows: &[&Row<'_>]) -> Picture {
    let rates: Vec<_> = rows.iter().filter_map(|row| row.summary(|run| Some(run.rate))).collect();
    let axis = Axis::around(rates.iter().flat_map(|rate| [rate.min, rate.max]), LEFT, RIGHT);
    let bottom = TOP + STEP * rows.len() as i32;
    let mut shapes = Vec::new();
    for (at, text) in axis.marks() {
        shapes.push(Shape::Line { points: vec![(at, TOP), (at, bottom)], colour: FAINT });
        shapes.push(Shape::Text { at: (at - 8, bottom + 14), ends: false, text });
    }
    for ((row, rate), top) in rows.iter().zip(&rates).zip((TOP..).step_by(STEP as usize)) {
        let middle = top + STEP / 2;
        let first = row.first;
        let durability = match first.durability.as_str() {
            "read" => "",
            other => other,
        };
        let name = format!("{} {} {durability}", first.peer, first.variant);
        let hue = if row.is_floor() { (190, 190, 190) } else { colour(&first.peer) };
        let (low, end, high) =
            (axis.place(rate.min), axis.place(rate.median), axis.place(rate.max));
        let (from, to) = ((LEFT, middle - BAR / 2), (end, middle + BAR / 2));
        shapes.push(Shape::Text {
            at: (LEFT - 8, middle),
            ends: true,
            text: name.trim().to_owned(),
        });
        shapes.push(Shape::Bar { from, to, colour: hue });
        shapes.push(Shape::Line { points: vec![(low, middle), (high, middle)], colour: INK });
        let text = short(rate.median);
        shapes.push(Shape::Text { at: (high.max(end) + 6, middle), ends: false, text });
    }
    let unit = rows.first().map_or("", |row| row.first.unit.as_str());
    Picture {
        title: format!("{workload}, {unit}, logarithmic; longer is faster"),
        size: (WIDTH.unsigned_abs(), (bottom + 34).unsigned_abs()),
        shapes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Record;
    use crate::bench::record::tests::sample;
    use crate::bench::rows::rows;

    /// Faster ones have longer bars, each row has one, and all of it lies within the picture.
    #[test]
    fn faster_is_longer() {
        let run = |peer, rate| Record { rate, ..sample(peer, "x") };
        let records = [run("multibee", 5e5), run("multibee", 6e5), run("redb", 1e3)];
        let rows = rows(&records);
        let picture = picture("W8", &rows.iter().collect::<Vec<_>>());
        let bars: Vec<_> = picture
            .shapes
            .iter()
            .filter_map(|shape| match shape {
                Shape::Bar { from, to, colour } => Some((from, to, *colour)),
                _ => None,
            })
            .collect();
        assert_eq!(bars.len(), 2);
        assert!(bars[0].1.0 > bars[1].1.0 && bars[0].2 != bars[1].2);
        let (width, height) = (picture.size.0 as i32, picture.size.1 as i32);
        assert!(bars.iter().all(|(_, to, _)| to.0 < width && to.1 < height));
        assert!(picture.title.starts_with("W8, entries/s"));
    }
}
