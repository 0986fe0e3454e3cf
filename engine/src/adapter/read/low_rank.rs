//! Reading factor pairs, with or without a Tucker core.

use super::{Fault, RANK_MAX, Reader, transposed};
use crate::adapter::delta::LowRank;
use crate::adapter::key::Role;

impl Reader<'_> {
    /// Checks that a factor pair is one, and for a layer of this size.
    fn fits(&self, up: usize, down: usize, rank: usize) -> Result<(), Fault> {
        if rank == 0 || rank > RANK_MAX {
            return Err(Fault::Malformed("its rank is zero or absurd"));
        }
        if !up.is_multiple_of(rank) || !down.is_multiple_of(rank) {
            return Err(Fault::Malformed("its factors have different ranks"));
        }
        self.agrees(up / rank, down / rank)
    }

    /// Checks a Tucker core `[rank, n, kernel...]` against `down` of `n` rows before the two are multiplied.
    fn tucker_fits(&self, core: &[usize], up: usize, down: usize) -> Result<(usize, usize), Fault> {
        let [rank, n, kernel @ ..] = core else {
            return Err(Fault::Malformed("its middle is no matrix of kernels"));
        };
        let (rank, n, kernel) = (*rank, *n, kernel.iter().product::<usize>());
        let bounded = (1..=RANK_MAX).contains(&rank) && (1..=RANK_MAX).contains(&n) && kernel > 0;
        let ordinary = rank <= self.outer().max(self.inner());
        if !bounded || !ordinary || !down.is_multiple_of(n) {
            return Err(Fault::Malformed("its middle has an absurd rank"));
        }
        let down = (down / n)
            .checked_mul(kernel)
            .and_then(|inner| inner.checked_mul(rank))
            .ok_or(Fault::Malformed("its middle has an absurd shape"))?;
        self.fits(up, down, rank)?;
        Ok((rank, n))
    }

    pub(super) fn lora(&mut self) -> Result<(LowRank, usize), Fault> {
        let (up, down) = (self.elements(Role::Up), self.elements(Role::Down));
        if self.has([Role::Mid]) {
            let (rank, n) = self.tucker_fits(self.shape(Role::Mid), up, down)?;
            let (up, core) = (self.take(Role::Up)?, self.take(Role::Mid)?);
            let down = self.take(Role::Down)?;
            let product = LowRank::tucker(up.values, &core.values, &down.values, rank, n);
            return Ok((product, n));
        }
        let rank = self.shape(Role::Down).first().copied().unwrap_or(0);
        self.fits(up, down, rank)?;
        let (up, down) = (self.take(Role::Up)?, self.take(Role::Down)?);
        Ok((LowRank::new(up.values, down.values, rank), rank))
    }

    /// One of `LoHa`'s two products: `[out, r]` and `[r, in]`, or with a core `[r, out]` and `[r, in]`.
    pub(super) fn hada(&mut self, a: Role, b: Role, t: Role) -> Result<(LowRank, usize), Fault> {
        let (up, down) = (self.elements(a), self.elements(b));
        let rank = self.shape(b).first().copied().unwrap_or(0);
        if self.has([t]) {
            let (rows, n) = self.tucker_fits(self.shape(t), up, down)?;
            let (core, up, down) = (self.take(t)?, self.take(a)?, self.take(b)?);
            let up = transposed(&up.values, rows);
            let product = LowRank::tucker(up, &core.values, &down.values, rows, n);
            return Ok((product, n));
        }
        self.fits(up, down, rank)?;
        let (up, down) = (self.take(a)?, self.take(b)?);
        Ok((LowRank::new(up.values, down.values, rank), rank))
    }
}
