//! Numbers of a spec without floats: millionths, read and shown as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Millionths, for weights and scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Micro(i32);

impl Micro {
    /// One.
    pub const ONE: Self = Self(1_000_000);

    /// Wraps millionths.
    pub const fn from_millionths(millionths: i32) -> Self {
        Self(millionths)
    }

    /// Returns millionths.
    pub const fn millionths(self) -> i32 {
        self.0
    }

    /// Returns the millionths of a share: nothing below zero.
    pub const fn share_millionths(self) -> u32 {
        if self.0 < 0 { 0 } else { self.0.unsigned_abs() }
    }

    /// Returns the number for arithmetic.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl fmt::Display for Micro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value())
    }
}

/// A text that is no number of at most six decimals within +-2000.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a number between -2000 and 2000, such as 7.5")]
pub struct ParseMicroError;

impl FromStr for Micro {
    type Err = ParseMicroError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && decimals.is_empty())
            || !plain(whole)
            || !plain(decimals)
            || decimals.len() > 6
        {
            return Err(ParseMicroError);
        }
        let number = |part: &str| {
            if part.is_empty() {
                Ok(0)
            } else {
                part.parse::<i32>()
            }
            .map_err(|_| ParseMicroError)
        };
        let whole = number(whole)?;
        if whole > 2000 {
            return Err(ParseMicroError);
        }
        let millionths = whole * 1_000_000 + number(&format!("{decimals:0<6}"))?;
        Ok(Self(if negative { -millionths } else { millionths }))
    }
}
