//! Reading a Kronecker product's two factors, each whole, decomposed or (the right one) with a Tucker core.

use hearth_kernels::matmul::Threads;

use super::{Fault, RANK_MAX, Reader, Taken, matrix, transposed};
use crate::adapter::delta::{Kronecker, LowRank};
use crate::adapter::key::Role;

impl Reader<'_> {
    /// Returns the product, and the rank of the factor that was decomposed last, if one was.
    pub(super) fn lokr(&mut self) -> Result<(Kronecker, Option<usize>), Fault> {
        let (left, left_rank) = self.lokr_left()?;
        let (right, right_rank) = self.lokr_right(&left.shape)?;
        let columns = (left.shape[1], right.shape[1]);
        let product = Kronecker::new(left.values, right.values, columns);
        let (outer, inner) = product.shape();
        self.agrees(outer, inner)?;
        Ok((product, right_rank.or(left_rank)))
    }

    /// Returns `[a, b]`.
    fn lokr_left(&mut self) -> Result<(Taken, Option<usize>), Fault> {
        let area = self.outer().saturating_mul(self.inner());
        if self.has([Role::LokrW1]) {
            let ([rows, columns], elements) = (matrix(self.shape(Role::LokrW1))?, area);
            self.divides(rows, columns, elements)?;
            return Ok((self.take(Role::LokrW1)?, None));
        }
        let [rows, rank] = matrix(self.shape(Role::LokrW1A))?;
        let [other, columns] = matrix(self.shape(Role::LokrW1B))?;
        self.divides(rows, columns, area)?;
        if rank != other || rank > RANK_MAX {
            return Err(Fault::Malformed("its factors have different ranks"));
        }
        let (a, b) = (self.take(Role::LokrW1A)?, self.take(Role::LokrW1B)?);
        let values = LowRank::new(a.values, b.values, rank).product(Threads::All);
        let shape = vec![rows, columns];
        Ok((Taken { shape, values }, Some(rank)))
    }

    /// Returns `[c, d]` with the kernel flattened into `d`.
    fn lokr_right(&mut self, left: &[usize]) -> Result<(Taken, Option<usize>), Fault> {
        let (rows, columns) = (self.outer() / left[0], self.inner() / left[1]);
        let checked = |got_rows: usize, got_columns: usize| {
            if (got_rows, got_columns) == (rows, columns) {
                Ok(())
            } else {
                Err(Fault::Shape([
                    left[0].saturating_mul(got_rows),
                    left[1].saturating_mul(got_columns),
                ]))
            }
        };
        let shape = vec![rows, columns];
        if self.has([Role::LokrW2]) {
            let [first, rest @ ..] = self.shape(Role::LokrW2) else {
                return Err(Fault::Malformed("a factor is no matrix"));
            };
            checked(*first, rest.iter().product())?;
            let values = self.take(Role::LokrW2)?.values;
            return Ok((Taken { shape, values }, None));
        }
        let [rank, got_columns] = matrix(self.shape(Role::LokrW2B))?;
        let up = self.elements(Role::LokrW2A);
        if rank > RANK_MAX || rank > rows.max(columns).max(RANK_MAX / 8) {
            return Err(Fault::Malformed("its rank is absurd"));
        }
        let product = if self.has([Role::LokrT2]) {
            let [m, n, kernel @ ..] = self.shape(Role::LokrT2) else {
                return Err(Fault::Malformed("its middle is no matrix of kernels"));
            };
            let (m, n, kernel) = (*m, *n, kernel.iter().product::<usize>());
            if m == 0 || m > rows.max(columns) || n != rank || !up.is_multiple_of(m) {
                return Err(Fault::Malformed("its middle has an absurd rank"));
            }
            checked(up / m, got_columns.saturating_mul(kernel))?;
            let (core, b) = (self.take(Role::LokrT2)?, self.take(Role::LokrW2B)?);
            let a = transposed(&self.take(Role::LokrW2A)?.values, m);
            LowRank::tucker(a, &core.values, &b.values, m, n)
        } else {
            if !up.is_multiple_of(rank) {
                return Err(Fault::Malformed("its factors have different ranks"));
            }
            checked(up / rank, got_columns)?;
            let (a, b) = (self.take(Role::LokrW2A)?, self.take(Role::LokrW2B)?);
            LowRank::new(a.values, b.values, rank)
        };
        let values = product.product(Threads::All);
        Ok((Taken { shape, values }, Some(rank)))
    }

    /// Checks that a Kronecker factor of this size can be one of the weight's.
    fn divides(&self, rows: usize, columns: usize, area: usize) -> Result<(), Fault> {
        let (outer, inner) = (self.outer(), self.inner());
        if rows.saturating_mul(columns) > area
            || !outer.is_multiple_of(rows)
            || !inner.is_multiple_of(columns)
        {
            return Err(Fault::Shape([rows, columns]));
        }
        Ok(())
    }
}
