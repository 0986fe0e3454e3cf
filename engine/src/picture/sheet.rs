//! Contact sheets: many pictures on one, with captions in a small font of our own.

use super::format::{DecodeError, check_size};
use super::raster::{Picture, index};

/// Pixels of a glyph, and of a character with the gap behind it.
const GLYPH_WIDTH: u32 = 5;
const ADVANCE: u32 = GLYPH_WIDTH + 1;
const GLYPH_HEIGHT: u32 = 7;
/// Pixels around pictures and captions.
const GAP: u32 = 4;
const PAPER: [u8; 3] = [255; 3];
const INK: [u8; 3] = [0; 3];

/// What stands under the pictures.
#[derive(Debug, Clone, Copy)]
pub enum Captions<'a> {
    /// Nothing.
    Off,
    /// A line for each picture, in order: letters, digits and `. , : - + = / % _ # ( )`; capitals
    /// become small, other characters `#`; what does not fit is cut off.
    Under(&'a [String]),
}

/// Lays pictures out in rows of `columns`, from the top left. Cells are as large as the largest
/// picture.
///
/// # Errors
/// [`DecodeError::Size`] when there are no pictures or the sheet would be too large.
pub fn contact_sheet(
    pictures: &[Picture],
    columns: u32,
    captions: Captions<'_>,
) -> Result<Picture, DecodeError> {
    let most = |side: fn(&Picture) -> u32| pictures.iter().map(side).max().unwrap_or(0);
    let (cell_width, picture_height) = (most(Picture::width), most(Picture::height));
    let count = u32::try_from(pictures.len()).unwrap_or(u32::MAX);
    let columns = columns.clamp(1, count.max(1));
    // Two pixels a dot from 256 pixels on, so that a caption stays readable.
    let dot = (cell_width / 256).clamp(1, 4) + u32::from(cell_width >= 256);
    let caption_height = match captions {
        Captions::Off => 0,
        Captions::Under(_) => GLYPH_HEIGHT * dot + GAP,
    };
    let cell_height = picture_height + caption_height;
    let extent = |cells: u32, side: u32| cells.saturating_mul(side + GAP).saturating_add(GAP);
    let width = extent(columns, cell_width);
    let height = extent(count.div_ceil(columns), cell_height);
    check_size(width, height)?;
    if pictures.is_empty() {
        return Err(DecodeError::Size { width, height });
    }
    let mut sheet = Picture::filled(width, height, PAPER)?;
    for (i, picture) in (0..).zip(pictures) {
        let x = GAP + (i % columns) * (cell_width + GAP);
        let y = GAP + (i / columns) * (cell_height + GAP);
        place(&mut sheet, picture, x, y);
        if let Captions::Under(lines) = captions
            && let Some(line) = lines.get(index(i))
        {
            let y = y + picture_height + GAP;
            write(&mut sheet, line, Pen { x, y, dot }, x + cell_width);
        }
    }
    Ok(sheet)
}

fn place(sheet: &mut Picture, picture: &Picture, x: u32, y: u32) {
    let stride = 3 * index(sheet.width());
    let len = 3 * index(picture.width());
    for (row, pixels) in picture.rgb().chunks_exact(len).enumerate() {
        let start = (index(y) + row) * stride + 3 * index(x);
        sheet.rgb_mut()[start..start + len].copy_from_slice(pixels);
    }
}

/// Where the next glyph goes, and how large its dots are.
#[derive(Clone, Copy)]
struct Pen {
    x: u32,
    y: u32,
    dot: u32,
}

fn write(sheet: &mut Picture, line: &str, mut pen: Pen, right: u32) {
    for c in line.chars() {
        if pen.x + GLYPH_WIDTH * pen.dot > right {
            return;
        }
        for (row, bits) in (0..).zip(glyph(c)) {
            for column in (0..GLYPH_WIDTH).filter(|column| bits >> (4 - column) & 1 == 1) {
                fill_dot(sheet, pen, column, row);
            }
        }
        pen.x += ADVANCE * pen.dot;
    }
}

fn fill_dot(sheet: &mut Picture, pen: Pen, column: u32, row: u32) {
    let stride = index(sheet.width());
    for y in 0..pen.dot {
        for x in 0..pen.dot {
            let x = index(pen.x + column * pen.dot + x);
            let y = index(pen.y + row * pen.dot + y);
            let at = 3 * (y * stride + x);
            sheet.rgb_mut()[at..at + 3].copy_from_slice(&INK);
        }
    }
}

fn glyph(c: char) -> [u8; 7] {
    let find = |c: char| GLYPHS.iter().find(|(known, _)| *known == c);
    let glyph = find(c.to_ascii_lowercase()).or_else(|| find('#'));
    glyph.map_or([0; 7], |(_, rows)| *rows)
}

/// Rows from the top; the leftmost dot is the bit of value 16.
const GLYPHS: [(char, [u8; 7]); 49] = [
    ('0', [14, 17, 19, 21, 25, 17, 14]),
    ('1', [4, 12, 4, 4, 4, 4, 14]),
    ('2', [14, 17, 1, 6, 8, 16, 31]),
    ('3', [30, 1, 1, 14, 1, 1, 30]),
    ('4', [2, 6, 10, 18, 31, 2, 2]),
    ('5', [31, 16, 30, 1, 1, 17, 14]),
    ('6', [6, 8, 16, 30, 17, 17, 14]),
    ('7', [31, 1, 2, 4, 8, 8, 8]),
    ('8', [14, 17, 17, 14, 17, 17, 14]),
    ('9', [14, 17, 17, 15, 1, 2, 12]),
    ('a', [0, 0, 14, 1, 15, 17, 15]),
    ('b', [16, 16, 30, 17, 17, 17, 30]),
    ('c', [0, 0, 15, 16, 16, 16, 15]),
    ('d', [1, 1, 15, 17, 17, 17, 15]),
    ('e', [0, 0, 14, 17, 31, 16, 14]),
    ('f', [6, 9, 8, 28, 8, 8, 8]),
    ('g', [0, 15, 17, 17, 15, 1, 14]),
    ('h', [16, 16, 22, 25, 17, 17, 17]),
    ('i', [4, 0, 12, 4, 4, 4, 14]),
    ('j', [2, 0, 6, 2, 2, 18, 12]),
    ('k', [16, 16, 18, 20, 24, 20, 18]),
    ('l', [12, 4, 4, 4, 4, 4, 14]),
    ('m', [0, 0, 26, 21, 21, 21, 21]),
    ('n', [0, 0, 22, 25, 17, 17, 17]),
    ('o', [0, 0, 14, 17, 17, 17, 14]),
    ('p', [0, 30, 17, 17, 30, 16, 16]),
    ('q', [0, 15, 17, 17, 15, 1, 1]),
    ('r', [0, 0, 22, 25, 16, 16, 16]),
    ('s', [0, 0, 15, 16, 14, 1, 30]),
    ('t', [8, 8, 28, 8, 8, 9, 6]),
    ('u', [0, 0, 17, 17, 17, 19, 13]),
    ('v', [0, 0, 17, 17, 17, 10, 4]),
    ('w', [0, 0, 17, 21, 21, 21, 10]),
    ('x', [0, 0, 17, 10, 4, 10, 17]),
    ('y', [0, 17, 17, 15, 1, 1, 14]),
    ('z', [0, 0, 31, 2, 4, 8, 31]),
    (' ', [0, 0, 0, 0, 0, 0, 0]),
    ('.', [0, 0, 0, 0, 0, 12, 12]),
    (',', [0, 0, 0, 0, 12, 4, 8]),
    (':', [0, 12, 12, 0, 12, 12, 0]),
    ('-', [0, 0, 0, 31, 0, 0, 0]),
    ('+', [0, 4, 4, 31, 4, 4, 0]),
    ('=', [0, 0, 31, 0, 31, 0, 0]),
    ('/', [1, 1, 2, 4, 8, 16, 16]),
    ('%', [24, 25, 2, 4, 8, 19, 3]),
    ('_', [0, 0, 0, 0, 0, 0, 31]),
    ('#', [10, 10, 31, 10, 31, 10, 10]),
    ('(', [2, 4, 8, 8, 8, 4, 2]),
    (')', [8, 4, 2, 2, 2, 4, 8]),
];
