//! Amounts, times and sizes as types that cannot be mixed up; arithmetic is checked.
//!
//! All are integers: a float never enters the ledger or a job spec. `Timestamp` is Unix time in
//! milliseconds because `Instant` has no fixed origin and could not be replayed.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{deserialize_bytes, serialize_bytes};
use crate::limits;

/// An unsigned amount of millikudos, at most [`limits::AMOUNT_MK_MAX`].
///
/// 10,000 mk is one 512x512 SD1.5 image of 50 evaluations, the unit AI Horde users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Millikudos(u64);

/// An amount above [`limits::AMOUNT_MK_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} mk is more than one entry may move ({max} mk)", max = limits::AMOUNT_MK_MAX)]
pub struct AmountTooLarge(pub u64);

impl Millikudos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Wraps an amount.
    ///
    /// # Errors
    /// [`AmountTooLarge`] above [`limits::AMOUNT_MK_MAX`].
    pub const fn new(mk: u64) -> Result<Self, AmountTooLarge> {
        if mk > limits::AMOUNT_MK_MAX {
            Err(AmountTooLarge(mk))
        } else {
            Ok(Self(mk))
        }
    }

    /// Wraps an amount, cut at [`limits::AMOUNT_MK_MAX`].
    pub const fn saturating(mk: u64) -> Self {
        if mk > limits::AMOUNT_MK_MAX {
            Self(limits::AMOUNT_MK_MAX)
        } else {
            Self(mk)
        }
    }

    /// Returns the amount in millikudos.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Adds, or `None` above the limit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0
            .checked_add(other.0)
            .and_then(|mk| Self::new(mk).ok())
    }

    /// Subtracts, or `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl<'de> Deserialize<'de> for Millikudos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Millikudos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&kudos_text(false, u128::from(self.0)))
    }
}

/// Why a text is not an amount of kudos.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKudosError {
    /// Not digits with at most one point and three decimals.
    #[error("expected kudos such as 12 or 0.5, with at most three decimals")]
    Syntax,
    /// More than one entry may move.
    #[error(transparent)]
    TooLarge(#[from] AmountTooLarge),
}

impl FromStr for Millikudos {
    type Err = ParseKudosError;

    /// Parses kudos as people write them: `12`, `0.5`, `1.234`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole)
            || !digits(decimals)
            || decimals.len() > 3
            || (whole.is_empty() && decimals.is_empty())
        {
            return Err(ParseKudosError::Syntax);
        }
        let parse = |part: &str| {
            if part.is_empty() {
                Ok(0)
            } else {
                part.parse::<u64>()
            }
            .map_err(|_| ParseKudosError::Syntax)
        };
        let decimals = parse(&format!("{decimals:0<3}"))?;
        let mk = parse(whole)?
            .checked_mul(1000)
            .and_then(|mk| mk.checked_add(decimals))
            .ok_or(ParseKudosError::Syntax)?;
        Ok(Self::new(mk)?)
    }
}

fn kudos_text(negative: bool, mk: u128) -> String {
    let sign = if negative { "-" } else { "" };
    let (whole, decimals) = (mk / 1000, mk % 1000);
    if decimals == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{decimals:03}")
    }
}

/// A signed sum of millikudos: a balance, or what one pair owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Balance(i128);

impl Balance {
    /// Nothing owed either way.
    pub const ZERO: Self = Self(0);

    /// Wraps a sum in millikudos.
    pub const fn from_mk(mk: i128) -> Self {
        Self(mk)
    }

    /// Returns the sum in millikudos.
    pub const fn mk(self) -> i128 {
        self.0
    }

    /// Adds an amount. Cannot overflow: 2^87 entries of the largest amount would be needed.
    #[must_use]
    pub fn plus(self, amount: Millikudos) -> Self {
        Self(self.0.saturating_add(i128::from(amount.0)))
    }

    /// Subtracts an amount. Cannot overflow, as [`plus`](Self::plus).
    #[must_use]
    pub fn minus(self, amount: Millikudos) -> Self {
        Self(self.0.saturating_sub(i128::from(amount.0)))
    }
}

impl Sum for Balance {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.fold(0, |sum, balance| sum.saturating_add(balance.0)))
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&kudos_text(self.0 < 0, self.0.unsigned_abs()))
    }
}

impl Serialize for Balance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_i128(self.0)
        } else {
            serialize_bytes(&self.0.to_be_bytes(), serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            i128::deserialize(deserializer).map(Self)
        } else {
            deserialize_bytes(deserializer).map(|bytes| Self(i128::from_be_bytes(bytes)))
        }
    }
}

/// A moment: milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin, before every real date.
    pub const ORIGIN: Self = Self(0);

    /// Wraps Unix milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Returns Unix milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Moves later, stopping at the end of time.
    #[must_use]
    pub const fn plus(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// Moves earlier, stopping at the origin.
    #[must_use]
    pub const fn minus(self, span: Millis) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// Returns how long after `earlier` this is; zero if it is not.
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A span of time in milliseconds.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Millis(u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Wraps milliseconds.
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// Wraps seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Returns milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ByteCount(u64);

impl ByteCount {
    /// Wraps a number of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Adds, stopping at the largest number.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        for (size, name) in UNITS {
            if self.0 >= size {
                let tenths = u128::from(self.0) * 10 / u128::from(size);
                return f.pad(&format!("{}.{} {name}", tenths / 10, tenths % 10));
            }
        }
        f.pad(&format!("{} B", self.0))
    }
}

/// The place of an entry in its author's chain; `Join` is 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Seq(u64);

impl Seq {
    /// The first entry of a chain.
    pub const FIRST: Self = Self(0);

    /// Wraps a place.
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// Returns the place.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the place after this one, `None` at the end of numbers.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
