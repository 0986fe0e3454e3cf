//! Lists: columns that give way when it gets narrow, and a cursor that stays in sight.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::text::{self, Side};
use crate::theme::{Theme, Tone};

/// A column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// Cells it needs.
    pub(crate) width: u16,
    pub(crate) side: Side,
    /// The highest rank leaves first when it gets narrow; 0 stays, and takes what room is left.
    pub(crate) rank: u8,
}

/// Makes a column whose text stands left.
pub(crate) const fn left(title: &'static str, width: u16, rank: u8) -> Column {
    Column {
        title,
        width,
        side: Side::Left,
        rank,
    }
}

/// Makes a column whose text stands right, for numbers.
pub(crate) const fn right(title: &'static str, width: u16, rank: u8) -> Column {
    Column {
        title,
        width,
        side: Side::Right,
        rank,
    }
}

/// What stands in one column of one row.
#[derive(Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// Makes a cell; its text may come from anybody.
pub(crate) fn cell(tone: Tone, text: &str) -> Cell {
    Cell {
        text: text::clean(text),
        tone,
    }
}

/// Returns which of `len` rows are shown in `height` lines, the cursor among them.
pub(crate) fn window(cursor: usize, len: usize, height: u16) -> Range<usize> {
    let height = usize::from(height);
    let first = cursor
        .saturating_sub(height / 2)
        .min(len.saturating_sub(height));
    first..len.min(first + height)
}

/// Returns the columns that fit, with their widths.
fn fitted(columns: &[Column], width: u16) -> Vec<(usize, usize)> {
    let mut kept: Vec<usize> = (0..columns.len()).collect();
    let total = |kept: &[usize]| {
        let cells: u16 = kept.iter().map(|&index| columns[index].width + 1).sum();
        cells.saturating_sub(1)
    };
    while total(&kept) > width {
        let Some(&worst) = kept.iter().max_by_key(|&&index| columns[index].rank) else {
            break;
        };
        if columns[worst].rank == 0 {
            break;
        }
        kept.retain(|&index| index != worst);
    }
    let spare = width.saturating_sub(total(&kept));
    kept.into_iter()
        .map(|index| {
            let more = if columns[index].rank == 0 { spare } else { 0 };
            (index, usize::from(columns[index].width + more))
        })
        .collect()
}

/// Draws items as rows, with a heading where there is room for one.
pub(crate) fn draw<T>(
    buffer: &mut Buffer,
    area: Rect,
    theme: Theme,
    columns: &[Column],
    (items, cursor): (&[T], Option<usize>),
    cells: impl Fn(&T) -> Vec<Cell>,
) {
    let fitted = fitted(columns, area.width);
    let mut rows = area.rows();
    let mut height = area.height;
    if height >= 2
        && let Some(heading) = rows.next()
    {
        let titles: Vec<String> = fitted
            .iter()
            .map(|&(index, width)| text::fill(columns[index].title, width, columns[index].side))
            .collect();
        Line::styled(titles.join(" "), theme.style(Tone::Muted)).render(heading, buffer);
        height -= 1;
    }
    let shown = window(cursor.unwrap_or(0), items.len(), height);
    for (index, row) in shown.zip(rows) {
        let cells = cells(&items[index]);
        let mut spans = Vec::with_capacity(2 * fitted.len());
        for &(column, width) in &fitted {
            let Cell { text, tone } = &cells[column];
            let text = text::fill(text, width, columns[column].side);
            spans.push(Span::styled(text, theme.style(*tone)));
            spans.push(Span::raw(" "));
        }
        Line::from(spans).render(row, buffer);
        if cursor == Some(index) {
            buffer.set_style(row, theme.selection());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_is_always_in_the_window() {
        for len in 0..30_usize {
            for height in 1..12 {
                for cursor in 0..len {
                    let window = window(cursor, len, height);
                    assert!(window.contains(&cursor), "{cursor} of {len} in {height}");
                    assert_eq!(window.len(), len.min(usize::from(height)));
                }
            }
        }
    }

    #[test]
    fn columns_leave_by_rank_and_the_first_takes_the_rest() {
        let columns = [left("a", 10, 0), right("b", 5, 2), right("c", 5, 1)];
        assert_eq!(fitted(&columns, 30), [(0, 18), (1, 5), (2, 5)]);
        assert_eq!(fitted(&columns, 21), [(0, 15), (2, 5)]);
        assert_eq!(fitted(&columns, 8), [(0, 10)]);
    }
}
