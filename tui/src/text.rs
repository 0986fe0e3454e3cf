//! Text as it may be shown: harmless, bounded, and cut to a number of terminal cells.
//!
//! Names, prompts and reasons come from other people; none of them may move the cursor, turn the
//! writing direction around or fill the screen.

use hearth_protocol::limits;
use hearth_protocol::unit::{Millis, Timestamp};
use unicode_width::UnicodeWidthChar;

/// Marks within a letter that are kept in a row: enough for every script, too few to climb lines.
const MARKS_MAX: usize = 2;

/// Replaces control characters by spaces and drops invisible ones.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::new();
    let mut marks = 0;
    for letter in text.chars().take(limits::TEXT_LEN_MAX) {
        if letter.is_control() {
            shown.push(' ');
            continue;
        }
        if is_invisible(letter) {
            continue;
        }
        marks = if letter.width() == Some(0) {
            marks + 1
        } else {
            0
        };
        if marks <= MARKS_MAX {
            shown.push(letter);
        }
    }
    shown
}

/// Writing-direction controls, joiners, separators, tags and private use.
fn is_invisible(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}

/// Returns how many cells a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|letter| letter.width().unwrap_or(0)).sum()
}

/// Cuts a text to a number of cells, with `…` where something is missing.
pub(crate) fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let Some(room) = cells.checked_sub(1) else {
        return String::new();
    };
    let mut shown = String::new();
    let mut used = 0;
    for letter in text.chars() {
        used += letter.width().unwrap_or(0);
        if used > room {
            break;
        }
        shown.push(letter);
    }
    shown.push('…');
    shown
}

/// Cuts and fills a text to exactly a number of cells.
pub(crate) fn fill(text: &str, cells: usize, side: Side) -> String {
    let shown = cut(text, cells);
    let space = " ".repeat(cells.saturating_sub(width(&shown)));
    match side {
        Side::Left => shown + &space,
        Side::Right => space + &shown,
    }
}

/// Where a text stands in its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Breaks a text into lines of at most so many cells, between words where it can.
pub(crate) fn wrap(text: &str, cells: usize) -> Vec<String> {
    let cells = cells.max(2);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        if used > 0 && used + width(word.trim_end()) > cells {
            lines.push(String::new());
            used = 0;
        }
        for letter in word.chars() {
            let more = letter.width().unwrap_or(0);
            if used + more > cells {
                if letter == ' ' {
                    continue;
                }
                lines.push(String::new());
                used = 0;
            }
            used += more;
            if let Some(line) = lines.last_mut() {
                line.push(letter);
            }
        }
    }
    lines
}

/// Returns a bar of so many cells, `have` of `total` filled.
pub(crate) fn bar(have: u64, total: u64, cells: u16) -> String {
    let cells = u64::from(cells);
    let full = if total == 0 {
        0
    } else {
        u128::from(have.min(total)) * u128::from(cells) / u128::from(total)
    };
    (0..u128::from(cells))
        .map(|cell| if cell < full { '█' } else { '░' })
        .collect()
}

/// Returns a span of time in its largest unit.
pub(crate) fn span(span: Millis) -> String {
    let secs = span.get() / 1000;
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..86_400 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// Returns how long ago something was.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    format!("{} ago", span(now.since(then)))
}

/// Returns seconds with two decimals.
pub(crate) fn seconds(span: Millis) -> String {
    format!("{}.{:02} s", span.get() / 1000, span.get() % 1000 / 10)
}

/// Whether a row has what is searched, in capitals or not.
pub(crate) fn matches(filter: &str, parts: &[&str]) -> bool {
    let wanted = filter.to_lowercase();
    wanted.is_empty()
        || parts
            .iter()
            .any(|part| part.to_lowercase().contains(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_not_shown() {
        assert_eq!(clean("a\u{1b}[31mb\r\nc\u{7}"), "a [31mb  c ");
        assert_eq!(clean("abc\u{202e}def\u{2066}\u{200b}\u{feff}"), "abcdef");
        assert_eq!(clean("a\u{9b}31m"), "a 31m");
    }

    #[test]
    fn marks_do_not_pile_up() {
        let tower = format!("e{}!", "\u{301}".repeat(500));
        assert_eq!(clean(&tower).chars().count(), 4);
    }

    #[test]
    fn endless_text_is_bounded() {
        assert_eq!(clean(&"x".repeat(1_000_000)).len(), limits::TEXT_LEN_MAX);
    }

    #[test]
    fn wide_letters_count_as_two_cells() {
        assert_eq!(cut("漢字漢字", 8), "漢字漢字");
        assert_eq!(cut("漢字漢字", 6), "漢字…");
        assert_eq!(fill("漢字漢字", 6, Side::Left), "漢字… ");
        assert_eq!(fill("7", 3, Side::Right), "  7");
        assert_eq!(cut("abc", 0), "");
        for cells in 0..12 {
            assert!(width(&cut("a漢b字c漢", cells)) <= cells);
        }
    }

    #[test]
    fn lines_break_between_words_and_inside_long_ones() {
        assert_eq!(wrap("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
        for cells in 2..10 {
            assert!(
                wrap("漢字 and so on, endlessly", cells)
                    .iter()
                    .all(|line| width(line) <= cells)
            );
        }
    }

    #[test]
    fn bars_are_full_only_when_all_is_there() {
        assert_eq!(bar(0, 0, 4), "░░░░");
        assert_eq!(bar(99, 100, 4), "███░");
        assert_eq!(bar(100, 100, 4), "████");
        assert_eq!(bar(u64::MAX, 1, 2), "██");
    }

    #[test]
    fn spans_are_shown_in_their_largest_unit() {
        for (ms, shown) in [
            (999, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (7_200_000, "2h"),
            (172_800_000, "2d"),
        ] {
            assert_eq!(span(Millis::new(ms)), shown);
        }
        assert_eq!(seconds(Millis::new(1_239)), "1.23 s");
    }
}
