//! A small picture in character cells: two pixels in each, one above the other.
//!
//! Cells are about twice as high as wide, so half a cell is a square. Without colours a cell is a
//! shade of its mean brightness.

use hearth_protocol::job::Preview;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::theme::Theme;

/// From dark to bright.
const SHADES: [&str; 5] = [" ", "░", "▒", "▓", "█"];

/// Returns the cells a preview takes inside an area, in its own proportions.
pub(crate) fn fitted(preview: &Preview, area: Rect) -> Rect {
    let (width, height) = (u32::from(preview.width), u32::from(preview.height));
    if width == 0 || height == 0 {
        return Rect {
            width: 0,
            height: 0,
            ..area
        };
    }
    let (columns, halves) = (u32::from(area.width), u32::from(area.height) * 2);
    let (columns, halves) = if columns * height <= halves * width {
        (columns, (columns * height / width).max(1))
    } else {
        ((halves * width / height).max(1), halves)
    };
    let fit = |cells: u32, most: u16| u16::try_from(cells).unwrap_or(most).min(most);
    Rect {
        width: fit(columns, area.width),
        height: fit(halves.div_ceil(2), area.height),
        ..area
    }
}

/// Draws a preview into the upper left of an area. Its bytes must fit its size.
pub(crate) fn draw(preview: &Preview, buffer: &mut Buffer, area: Rect, theme: Theme) {
    let area = fitted(preview, area).intersection(buffer.area);
    let halves = u32::from(area.height) * 2;
    for (row, line) in (0_u32..).zip(area.rows()) {
        for (column, position) in (0_u32..).zip(line.columns()) {
            let pixel = |half: u32| {
                mean(
                    preview,
                    (column, u32::from(area.width)),
                    (2 * row + half, halves),
                )
            };
            let (upper, lower) = (pixel(0), pixel(1));
            let Some(cell) = buffer.cell_mut(position.as_position()) else {
                continue;
            };
            match (theme.pixel(upper), theme.pixel(lower)) {
                (Some(upper), Some(lower)) => {
                    cell.set_symbol("▀").set_fg(upper).set_bg(lower);
                }
                (_, _) => {
                    cell.set_symbol(shade(upper, lower));
                }
            }
        }
    }
}

fn shade(upper: [u8; 3], lower: [u8; 3]) -> &'static str {
    let sum: usize = upper
        .iter()
        .chain(&lower)
        .map(|&part| usize::from(part))
        .sum();
    SHADES[sum * SHADES.len() / (6 * 255 + 1)]
}

/// Returns the mean colour of the pixels that one of `across` by `down` places covers.
fn mean(preview: &Preview, (x, across): (u32, u32), (y, down): (u32, u32)) -> [u8; 3] {
    let (width, height) = (u32::from(preview.width), u32::from(preview.height));
    let cover = |place: u32, places: u32, pixels: u32| {
        let first = place * pixels / places;
        first
            ..((place + 1) * pixels)
                .div_ceil(places)
                .clamp(first + 1, pixels.max(first + 1))
    };
    let mut sums = [0_u32; 3];
    let mut count = 0;
    for row in cover(y, down, height) {
        for column in cover(x, across, width) {
            let at = usize::try_from(3 * (row * width + column)).unwrap_or(usize::MAX);
            let Some(pixel) = preview.rgb.get(at..at.saturating_add(3)) else {
                continue;
            };
            for (sum, part) in sums.iter_mut().zip(pixel) {
                *sum += u32::from(*part);
            }
            count += 1;
        }
    }
    sums.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use ratatui::style::Color;

    use super::*;
    use crate::theme::Depth;

    fn checks(width: u16, height: u16) -> Preview {
        let pixels = usize::from(width) * usize::from(height);
        let rgb = (0..pixels)
            .flat_map(|pixel| if pixel % 2 == 0 { [255; 3] } else { [0; 3] })
            .collect();
        Preview { width, height, rgb }
    }

    #[test]
    fn proportions_are_kept() {
        let area = Rect::new(0, 0, 40, 10);
        assert_eq!(fitted(&checks(64, 64), area), Rect::new(0, 0, 20, 10));
        assert_eq!(fitted(&checks(128, 64), area), Rect::new(0, 0, 40, 10));
        assert_eq!(fitted(&checks(1, 128), area), Rect::new(0, 0, 1, 10));
        assert_eq!(fitted(&checks(128, 1), area), Rect::new(0, 0, 40, 1));
    }

    #[test]
    fn two_pixels_share_a_cell() {
        let picture = Preview {
            width: 1,
            height: 2,
            rgb: vec![255, 0, 0, 0, 0, 255],
        };
        let area = Rect::new(0, 0, 1, 1);
        let mut buffer = Buffer::empty(area);
        draw(&picture, &mut buffer, area, Theme::new(Depth::True));
        let cell = &buffer[(0, 0)];
        assert_eq!(
            (cell.symbol(), cell.fg, cell.bg),
            ("▀", Color::Rgb(255, 0, 0), Color::Rgb(0, 0, 255))
        );
        draw(&picture, &mut buffer, area, Theme::new(Depth::Palette));
        assert_eq!(buffer[(0, 0)].fg, Color::Indexed(196));
    }

    #[test]
    fn without_colours_there_are_shades() {
        let area = Rect::new(0, 0, 8, 4);
        let mut buffer = Buffer::empty(area);
        draw(&checks(8, 8), &mut buffer, area, Theme::new(Depth::Mono));
        assert_eq!(buffer[(0, 0)].symbol(), "█");
        assert_eq!(buffer[(1, 0)].symbol(), " ");
        assert_eq!(buffer[(0, 0)].fg, Color::Reset);
    }

    #[test]
    fn any_size_fits_any_area() {
        for (width, height) in [(1, 1), (3, 7), (128, 128), (500, 2)] {
            for (columns, rows) in [(0, 0), (1, 1), (5, 3), (60, 20)] {
                let area = Rect::new(0, 0, columns, rows);
                let mut buffer = Buffer::empty(area);
                draw(
                    &checks(width, height),
                    &mut buffer,
                    area,
                    Theme::new(Depth::True),
                );
            }
        }
    }
}
