//! Dates as people and books write them, in UTC.

use hearth_protocol::unit::{Millis, Timestamp};

use crate::cli::wording::parse_span;

const DAY: u64 = 86_400_000;

/// A date as typed: on the calendar, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    At(Timestamp),
    Ago(Millis),
}

impl Since {
    /// Returns the date meant by somebody whose clock shows `now`.
    pub(super) const fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => now.minus(span),
        }
    }
}

/// Reads `2026-11-01`, `2026-11-01 18:30` or a span such as `7d`.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(span) = parse_span(text) {
        return Ok(Since::Ago(span));
    }
    parse_date(text).map(Since::At).ok_or_else(|| {
        "expected a date such as 2026-11-01 or '2026-11-01 18:30' (UTC), or a span such as 12h or 7d"
            .to_owned()
    })
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let text = text.trim_end_matches('Z');
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let date: Vec<u64> = numbers(date, '-')?;
    let time: Vec<u64> = numbers(time, ':')?;
    let [year, month, day] = date[..] else {
        return None;
    };
    let (hour, minute, second) = match time[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    let is_time = hour < 24 && minute < 60 && second < 60;
    if !is_date || !is_time || day == 0 || day > days_of(year, month) {
        return None;
    }
    let days: u64 = (1970..year).map(days_in).sum::<u64>()
        + (1..month).map(|month| days_of(year, month)).sum::<u64>()
        + day
        - 1;
    let seconds = hour * 3_600 + minute * 60 + second;
    Some(Timestamp::from_millis(days * DAY + seconds * 1_000))
}

fn numbers(text: &str, between: char) -> Option<Vec<u64>> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split(between)
        .map(|part| part.parse().ok().filter(|_| is_number(part)))
        .collect()
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns `2026-11-28`. The year 9999 is the last.
pub(super) fn date(time: Timestamp) -> String {
    let mut days = time.millis() / DAY;
    let mut year = 1970;
    while year < 9999 && days >= days_in(year) {
        days -= days_in(year);
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days.min(30) + 1)
}

/// Returns `2026-11-28 05:31:48`.
pub(super) fn stamp(time: Timestamp) -> String {
    let seconds = time.millis() % DAY / 1_000;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{} {hours:02}:{minutes:02}:{:02}", date(time), seconds % 60)
}

/// Returns the day after.
pub(super) const fn next_day(time: Timestamp) -> Timestamp {
    time.plus(Millis::new(DAY))
}
