//! How a square kernel moves over a picture: stride, padding, edges, and a stretch before it.

/// What a kernel sees beyond the picture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Zeros.
    Zero,
    /// The opposite side, so that the result tiles without a seam.
    Wrap,
}

/// Pixels added on each side of the (stretched) input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same on every side.
    pub const fn all(pixels: usize) -> Self {
        Self {
            top: pixels,
            bottom: pixels,
            left: pixels,
            right: pixels,
        }
    }
}

/// How a square kernel moves over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Distance between taps of neighbouring outputs.
    pub stride: usize,
    /// Pixels added around the input.
    pub padding: Padding,
    /// What the added pixels hold.
    pub edge: Edge,
    /// Height and width the input is stretched to, by nearest neighbour, before the kernel sees it.
    pub stretch: Option<(usize, usize)>,
}

impl Geometry {
    /// A kernel of one pixel.
    pub const POINT: Self = Self {
        stride: 1,
        padding: Padding::all(0),
        edge: Edge::Zero,
        stretch: None,
    };
    /// A kernel of three by three that keeps the size.
    pub const SAME: Self = Self {
        padding: Padding::all(1),
        ..Self::POINT
    };
    /// A kernel of three by three that halves the size, as the UNet does.
    pub const HALF: Self = Self {
        stride: 2,
        ..Self::SAME
    };
    /// A kernel of three by three that halves the size seeing only beyond the right and lower
    /// edges, as the VAE's encoder does.
    pub const HALF_AFTER: Self = Self {
        stride: 2,
        padding: Padding {
            bottom: 1,
            right: 1,
            ..Padding::all(0)
        },
        ..Self::POINT
    };

    /// Returns this geometry with other edges.
    #[must_use]
    pub const fn with_edge(self, edge: Edge) -> Self {
        Self { edge, ..self }
    }

    /// Returns this geometry over an input stretched to `size` first.
    #[must_use]
    pub const fn stretched(self, size: (usize, usize)) -> Self {
        Self {
            stretch: Some(size),
            ..self
        }
    }

    /// Returns the height and width a kernel of `side` gives of `(height, width)`, or nothing if it
    /// does not fit or the numbers are absurd.
    pub fn output(&self, (height, width): (usize, usize), side: usize) -> Option<(usize, usize)> {
        let Padding {
            top,
            bottom,
            left,
            right,
        } = self.padding;
        let (height, width) = self.stretch.unwrap_or((height, width));
        Some((
            self.length(height, (top, bottom), side)?,
            self.length(width, (left, right), side)?,
        ))
    }

    fn length(&self, n: usize, (before, after): (usize, usize), side: usize) -> Option<usize> {
        let room = n
            .checked_add(before)?
            .checked_add(after)?
            .checked_sub(side)?;
        Some(room.checked_div(self.stride)? + 1)
    }
}

/// Where each position along one axis of the padded, stretched input comes from.
#[derive(Debug)]
pub(crate) struct Axis(Vec<Option<usize>>);

impl Axis {
    fn new(geometry: &Geometry, from: usize, seen: usize, before: usize, len: usize) -> Self {
        let source = |at: usize| {
            let at = match geometry.edge {
                Edge::Zero => at.checked_sub(before).filter(|at| *at < seen)?,
                // `before` is reduced first, so that the sum stays positive.
                Edge::Wrap => (at + (seen - before % seen.max(1)) % seen.max(1)) % seen.max(1),
            };
            Some(at * from / seen)
        };
        Self((0..len).map(source).collect())
    }

    /// Returns the rows' and the columns' sources for `outputs` rows and columns of output.
    pub(crate) fn pair(
        geometry: &Geometry,
        (height, width): (usize, usize),
        side: usize,
        outputs: (usize, usize),
    ) -> (Self, Self) {
        let seen = geometry.stretch.unwrap_or((height, width));
        let reach = |outputs: usize| match outputs.checked_sub(1) {
            Some(last) => last * geometry.stride + side,
            None => 0,
        };
        let Padding { top, left, .. } = geometry.padding;
        (
            Self::new(geometry, height, seen.0, top, reach(outputs.0)),
            Self::new(geometry, width, seen.1, left, reach(outputs.1)),
        )
    }

    /// Returns the sources along an axis of `len` padded with its opposite ends.
    pub(crate) fn wrapped(len: usize, before: usize, after: usize) -> Vec<u32> {
        let geometry = Geometry::POINT.with_edge(Edge::Wrap);
        let Self(sources) = Self::new(&geometry, len, len, before, before + len + after);
        let index = |at| u32::try_from(at).expect("pictures have fewer than 2^32 rows");
        sources.into_iter().flatten().map(index).collect()
    }

    /// Returns the source of a position of the padded input, if it is inside the picture.
    #[inline]
    pub(crate) fn source(&self, at: usize) -> Option<usize> {
        self.0.get(at).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_edges_show_the_other_side() {
        let geometry = Geometry::SAME.with_edge(Edge::Wrap);
        let (rows, _) = Axis::pair(&geometry, (3, 3), 3, (3, 3));
        let seen: Vec<_> = (0..5).map(|at| rows.source(at).unwrap()).collect();
        assert_eq!(seen, [2, 0, 1, 2, 0]);
    }

    #[test]
    fn half_after_looks_past_the_far_edges_only() {
        let geometry = Geometry::HALF_AFTER;
        assert_eq!(geometry.output((8, 6), 3), Some((4, 3)));
        let (rows, _) = Axis::pair(&geometry, (8, 6), 3, (4, 3));
        assert_eq!(rows.source(0), Some(0));
        assert_eq!(rows.source(8), None);
    }

    #[test]
    fn kernel_larger_than_its_input_and_absurd_padding_have_no_output() {
        assert_eq!(Geometry::POINT.output((2, 2), 3), None);
        let absurd = Geometry {
            padding: Padding::all(usize::MAX),
            ..Geometry::SAME
        };
        assert_eq!(absurd.output((2, 2), 3), None);
    }
}
