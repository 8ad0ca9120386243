//! Paints pictures as SVG, and as PNG where the machine has a font.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{INK, Picture, Shape};

const FAMILY: &str = "sans-serif";
const TEXT: i32 = 13;
const TITLE: i32 = 16;

/// A font is known to the painter.
pub(super) struct Font;

impl Font {
    /// One of this machine's, if it has any of those that are widely spread.
    pub(super) fn find() -> Option<Self> {
        let path = FONTS.iter().map(PathBuf::from).find(|path| path.is_file())?;
        // The painter wants it for as long as the program lives, which draws once and ends.
        let bytes = Box::leak(fs::read(path).ok()?.into_boxed_slice());
        register_font(FAMILY, FontStyle::Normal, bytes).ok().map(|()| Self)
    }
}

const FONTS: [&str; 8] = [
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/liberation-sans/LiberationSans-Regular.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/noto/NotoSans-Regular.ttf",
    "/System/Library/Fonts/Supplemental/Arial.ttf",
];

/// Text in it needs no font here: whoever shows it has one.
pub(super) fn svg(picture: &Picture, path: &Path) -> Result<()> {
    let mut text = String::new();
    paint(picture, &SVGBackend::with_string(&mut text, picture.size).into_drawing_area())?;
    fs::write(path, text).with_context(|| format!("{}", path.display()))
}

pub(super) fn png(picture: &Picture, _: &Font, path: &Path) -> Result<()> {
    let (width, height) = picture.size;
    let mut pixels = vec![255; 3 * width as usize * height as usize];
    {
        let backend = BitMapBackend::with_buffer(&mut pixels, picture.size);
        paint(picture, &backend.into_drawing_area())?;
    }
    let context = || format!("{}", path.display());
    let file = BufWriter::new(File::create(path).with_context(context)?);
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().with_context(context)?;
    writer.write_image_data(&pixels).with_context(context)?;
    writer.finish().with_context(context)
}

fn paint<B: DrawingBackend>(
    picture: &Picture,
    area: &DrawingArea<B, plotters::coord::Shift>,
) -> Result<()> {
    let failed = |error: DrawingAreaErrorKind<B::ErrorType>| anyhow!("cannot draw: {error}");
    area.fill(&WHITE).map_err(failed)?;
    let ink = rgb(INK);
    let title = (FAMILY, TITLE).into_font().color(&ink);
    let title = title.pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(picture.title.clone(), (16, 26), title)).map_err(failed)?;
    for shape in &picture.shapes {
        match shape {
            Shape::Bar { from, to, colour } => {
                area.draw(&Rectangle::new([*from, *to], rgb(*colour).filled())).map_err(failed)?;
            }
            Shape::Line { points, colour } => {
                let line = PathElement::new(points.clone(), rgb(*colour).stroke_width(1));
                area.draw(&line).map_err(failed)?;
            }
            Shape::Dot { at, colour } => {
                area.draw(&Circle::new(*at, 4, rgb(*colour).filled())).map_err(failed)?;
            }
            Shape::Text { at, ends, text } => {
                let side = if *ends { HPos::Right } else { HPos::Left };
                let style = (FAMILY, TEXT).into_font().color(&ink);
                let style = style.pos(Pos::new(side, VPos::Center));
                area.draw(&Text::new(text.clone(), *at, style)).map_err(failed)?;
            }
        }
    }
    area.present().map_err(failed)
}

fn rgb((red, green, blue): super::Colour) -> RGBColor {
    RGBColor(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let colour = (200, 0, 0);
        let shapes = vec![
            Shape::Bar { from: (10, 40), to: (60, 50), colour },
            Shape::Line { points: vec![(0, 0), (50, 50)], colour },
            Shape::Dot { at: (80, 80), colour },
            Shape::Text { at: (90, 60), ends: true, text: "a < b".to_owned() },
        ];
        Picture { title: "W8".to_owned(), size: (100, 100), shapes }
    }

    /// An SVG has every shape, and no text in it breaks it. No font is needed.
    #[test]
    fn an_svg_has_every_shape() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
        svg(&picture(), &path).unwrap();
        let text = fs::read_to_string(path).unwrap();
        for part in ["<svg", "<polyline", "<circle", "<text", "a &lt; b", "W8", "#C80000"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// A PNG, where there is a font, is a PNG.
    #[test]
    fn a_png_is_a_png() {
        let folder = tempfile::tempdir().unwrap();
        if let Some(font) = Font::find() {
            let path = folder.path().join("a.png");
            png(&picture(), &font, &path).unwrap();
            assert!(fs::read(path).unwrap().starts_with(b"\x89PNG\r\n"));
        }
    }
}
