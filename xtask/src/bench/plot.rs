//! Pictures of results: bars for each workload, curves of what grows.

mod axis;
mod bars;
mod curves;
mod paint;

use std::path::Path;

use anyhow::Result;

use super::growth::Curve;
use super::report::by_workload;
use super::rows::Row;
use paint::Font;

/// A colour, as red, green and blue.
type Colour = (u8, u8, u8);

const INK: Colour = (40, 40, 40);
const FAINT: Colour = (215, 215, 215);

/// What a picture is made of. Places are in pixels from the upper left.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    /// From corner to corner, filled.
    Bar {
        from: (i32, i32),
        to: (i32, i32),
        colour: Colour,
    },
    Line {
        points: Vec<(i32, i32)>,
        colour: Colour,
    },
    Dot {
        at: (i32, i32),
        colour: Colour,
    },
    /// At the left of `at` if it ends there, else at its right; in the middle of its height.
    Text {
        at: (i32, i32),
        ends: bool,
        text: String,
    },
}

/// A picture before it is painted.
#[derive(Clone, Debug)]
struct Picture {
    title: String,
    size: (u32, u32),
    shapes: Vec<Shape>,
}

/// Of whom there are pictures, each with the same colour in all; whoever else there is has the last.
const COLOURS: [(&str, Colour); 8] = [
    ("multibee", (31, 119, 180)),
    ("hypercore", (255, 127, 14)),
    ("hyperbee", (255, 127, 14)),
    ("hyperbee2", (214, 39, 40)),
    ("autobase", (140, 86, 75)),
    ("redb", (44, 160, 44)),
    ("fjall", (148, 103, 189)),
    ("sqlite", (127, 127, 127)),
];

fn colour(peer: &str) -> Colour {
    COLOURS.iter().find(|(known, _)| *known == peer).map_or((23, 190, 207), |(_, colour)| *colour)
}

/// What has been drawn.
pub(super) struct Drawn {
    /// Titles, and the names of the files that a page can show.
    pub(super) pictures: Vec<(String, String)>,
    /// If not all could be made.
    pub(super) complaint: Option<String>,
}

/// Draws all there is into a folder.
pub(super) fn draw(rows: &[Row<'_>], found: &[Curve], folder: &Path) -> Result<Drawn> {
    let groups = by_workload(rows);
    // What grows is drawn as curves.
    let of_workloads = groups.iter().filter(|(name, _)| !name.starts_with('G'));
    let mut pictures: Vec<_> = of_workloads.map(|(name, rows)| bars::picture(name, rows)).collect();
    for curves in found.chunk_by(|one, other| one.of == other.of) {
        pictures.push(curves::picture(curves));
    }
    let font = Font::find();
    let mut drawn = Vec::new();
    for picture in &pictures {
        let name: String = picture
            .title
            .chars()
            .take_while(|one| *one != ',')
            .map(|one| if one.is_ascii_alphanumeric() { one } else { '-' })
            .collect();
        let file = format!("{name}.svg");
        paint::svg(picture, &folder.join(&file))?;
        if let Some(font) = &font {
            paint::png(picture, font, &folder.join(format!("{name}.png")))?;
        }
        drawn.push((picture.title.clone(), file));
    }
    let complaint =
        "no PNG was drawn: that needs a TrueType font of this machine, such as DejaVu Sans";
    Ok(Drawn { pictures: drawn, complaint: font.is_none().then(|| complaint.to_owned()) })
}
