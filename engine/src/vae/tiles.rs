//! Large pictures in tiles, so that memory is bounded by a tile's size and not by the picture's.
//!
//! Tiles overlap and fade into each other linearly. Each tile is normalised over its own pixels, so that
//! the result is not to the bit what the whole would give; where one tile suffices it is the whole.

use candle_core::{DType, Result, Tensor, bail};

use super::{Posterior, Vae};
use crate::layers::Pass;
use hearth_kernels::conv::Edge;

/// How a picture is cut, in latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiles {
    /// Most latents of a tile in each direction.
    pub(crate) side: usize,
    /// Fewest latents two neighbours share.
    pub(crate) overlap: usize,
}

impl Tiles {
    /// SDXL's own 1024x1024 pixels are one tile; what is larger is cut.
    pub(crate) const DEFAULT: Self = Self {
        side: 128,
        overlap: 16,
    };

    /// Cuts an axis of `length` latents.
    fn cut(self, length: usize, edge: Edge) -> Result<Axis> {
        if self.overlap >= self.side {
            bail!("tiles of {} cannot overlap by {}", self.side, self.overlap);
        }
        let (side, overlap) = (self.side, self.overlap);
        let step = side - overlap;
        Ok(match edge {
            Edge::Zero => {
                let count = length.saturating_sub(overlap).div_ceil(step).max(1);
                // As small as so many tiles can be.
                let tile = (length + (count - 1) * overlap).div_ceil(count);
                let room = length - tile;
                let start = |i| {
                    if count == 1 {
                        0
                    } else {
                        i * room / (count - 1)
                    }
                };
                Axis {
                    length,
                    tile,
                    starts: (0..count).map(start).collect(),
                    ring: false,
                }
            }
            Edge::Wrap => {
                let count = length.div_ceil(step).max(1);
                Axis {
                    length,
                    tile: length.div_ceil(count) + overlap,
                    starts: (0..count).map(|i| i * length / count).collect(),
                    ring: true,
                }
            }
        })
    }
}

/// An axis cut into tiles of one length.
#[derive(Clone, Debug, PartialEq)]
struct Axis {
    length: usize,
    tile: usize,
    starts: Vec<usize>,
    /// Whether the last tile goes on at the beginning.
    ring: bool,
}

impl Axis {
    /// Returns where tile `i`'s positions lie, at `factor` positions a latent.
    fn places(&self, i: usize, factor: usize) -> Vec<usize> {
        let places = self.starts[i] * factor..(self.starts[i] + self.tile) * factor;
        places.map(|at| at % (self.length * factor)).collect()
    }

    /// Returns the weight of each position of each tile. The weights of a place add up to one.
    fn weights(&self, factor: usize) -> Vec<Vec<f32>> {
        let last = self.starts.len() - 1;
        let mut weights: Vec<_> = (0..=last)
            .map(|i| self.ramps(factor, i > 0 || self.ring, i < last || self.ring))
            .collect();
        let mut sums = vec![0.0; self.length * factor];
        for (i, weights) in weights.iter().enumerate() {
            let places = self.places(i, factor);
            places
                .iter()
                .zip(weights)
                .for_each(|(at, w)| sums[*at] += w);
        }
        for (i, weights) in weights.iter_mut().enumerate() {
            let places = self.places(i, factor);
            places
                .iter()
                .zip(weights)
                .for_each(|(at, w)| *w /= sums[*at]);
        }
        weights
    }

    /// Rises and falls over what neighbours share.
    fn ramps(&self, factor: usize, rises: bool, falls: bool) -> Vec<f32> {
        let count = self.starts.len();
        let spread = if self.ring {
            self.length
        } else {
            self.length - self.tile
        };
        let step = spread.div_ceil(if self.ring { count } else { (count - 1).max(1) });
        let ramp = (self.tile - step.min(self.tile - 1)) * factor;
        let tile = self.tile * factor;
        let slope = |from_end: usize| ((from_end as f32 + 0.5) / ramp as f32).min(1.0);
        (0..tile)
            .map(|at| {
                let rise = if rises { slope(at) } else { 1.0 };
                let fall = if falls { slope(tile - 1 - at) } else { 1.0 };
                rise * fall
            })
            .collect()
    }
}

/// A picture that is put together from tiles on the processor.
struct Canvas {
    channels: usize,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl Canvas {
    fn new(channels: usize, height: usize, width: usize) -> Self {
        let values = vec![0.0; channels * height * width];
        Self {
            channels,
            height,
            width,
            values,
        }
    }

    /// Adds a tile `[1, channels, rows, columns]` at the places and with the weights of its two axes.
    fn add(
        &mut self,
        tile: &Tensor,
        rows: (&[usize], &[f32]),
        columns: (&[usize], &[f32]),
    ) -> Result<()> {
        let tile: Vec<f32> = tile.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let mut lines = tile.chunks_exact(columns.0.len());
        for channel in 0..self.channels {
            for (y, down) in rows.0.iter().zip(rows.1) {
                let Some(line) = lines.next() else {
                    bail!("a tile of {} values is too small", tile.len());
                };
                let start = (channel * self.height + y) * self.width;
                let row = &mut self.values[start..start + self.width];
                for ((value, x), along) in line.iter().zip(columns.0).zip(columns.1) {
                    row[*x] += value * down * along;
                }
            }
        }
        Ok(())
    }
}

impl Vae {
    /// As [`Vae::decode`], in tiles, with memory for one of them and the picture.
    pub(crate) fn decode_tiled(
        &self,
        latents: &Tensor,
        tiles: Tiles,
        pass: Pass,
    ) -> Result<Tensor> {
        let work = |tile: &Tensor, pass| self.decode(tile, pass);
        let sizes = Sizes {
            from: 1,
            to: self.factor(),
            channels: 3,
        };
        tiled(latents, tiles, pass, sizes, &work)
    }

    /// As [`Vae::encode`], in tiles.
    pub(crate) fn encode_tiled(
        &self,
        pixels: &Tensor,
        noise: Option<&Tensor>,
        tiles: Tiles,
        pass: Pass,
    ) -> Result<Tensor> {
        self.latents(&self.posterior_tiled(pixels, tiles, pass)?, noise)
    }

    /// As [`Vae::posterior`], in tiles.
    pub(crate) fn posterior_tiled(
        &self,
        pixels: &Tensor,
        tiles: Tiles,
        pass: Pass,
    ) -> Result<Posterior> {
        let work = |tile: &Tensor, pass| self.moments(tile, pass);
        let sizes = Sizes {
            from: self.factor(),
            to: 1,
            channels: 2 * 4,
        };
        Posterior::of(&tiled(pixels, tiles, pass, sizes, &work)?)
    }
}

/// What a tile's work does to it: positions a latent before and after, and channels after.
#[derive(Clone, Copy)]
struct Sizes {
    from: usize,
    to: usize,
    channels: usize,
}

fn tiled(
    x: &Tensor,
    tiles: Tiles,
    pass: Pass,
    sizes: Sizes,
    work: &dyn Fn(&Tensor, Pass) -> Result<Tensor>,
) -> Result<Tensor> {
    let (batch, _, height, width) = x.dims4()?;
    let latents = |n: usize| {
        if n == 0 || !n.is_multiple_of(sizes.from) {
            bail!("{width}x{height} pixels do not divide into latents");
        }
        Ok(n / sizes.from)
    };
    let (height, width) = (latents(height)?, latents(width)?);
    if height <= tiles.side && width <= tiles.side {
        return work(x, pass);
    }
    let axes = (tiles.cut(height, pass.edge)?, tiles.cut(width, pass.edge)?);
    let pictures: Result<Vec<_>> = (0..batch)
        .map(|b| one(&x.narrow(0, b, 1)?, &axes, sizes, work))
        .collect();
    Tensor::cat(&pictures?, 0)
}

fn one(
    x: &Tensor,
    (down, along): &(Axis, Axis),
    sizes: Sizes,
    work: &dyn Fn(&Tensor, Pass) -> Result<Tensor>,
) -> Result<Tensor> {
    let (height, width) = (down.length * sizes.to, along.length * sizes.to);
    let mut canvas = Canvas::new(sizes.channels, height, width);
    let (row_weights, column_weights) = (down.weights(sizes.to), along.weights(sizes.to));
    let pick = |x: &Tensor, axis: &Axis, i, dim| {
        let places = axis.places(i, sizes.from).into_iter();
        let places: Vec<u32> = places.filter_map(|at| u32::try_from(at).ok()).collect();
        let count = places.len();
        x.index_select(&Tensor::from_vec(places, count, x.device())?, dim)
    };
    for (i, row_weights) in row_weights.iter().enumerate() {
        let band = pick(x, down, i, 2)?;
        for (j, column_weights) in column_weights.iter().enumerate() {
            // A tile is never the whole ring, so that its own edges do not meet.
            let tile = work(&pick(&band, along, j, 3)?, Pass::PLAIN)?;
            let (rows, columns) = (down.places(i, sizes.to), along.places(j, sizes.to));
            canvas.add(&tile, (&rows, row_weights), (&columns, column_weights))?;
        }
    }
    Tensor::from_vec(
        canvas.values,
        (1, sizes.channels, height, width),
        x.device(),
    )?
    .to_dtype(x.dtype())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn e7_tiles_cover_every_place_with_a_weight_of_one() {
        for edge in [Edge::Zero, Edge::Wrap] {
            for length in [1, 5, 16, 17, 31, 40, 63, 100] {
                let axis = Tiles {
                    side: 16,
                    overlap: 4,
                }
                .cut(length, edge)
                .unwrap();
                let mut sums = vec![0.0; length * 8];
                for (i, weights) in axis.weights(8).iter().enumerate() {
                    let places = axis.places(i, 8);
                    assert_eq!(places.len(), weights.len());
                    assert!(weights.iter().all(|w| *w > 0.0));
                    places
                        .iter()
                        .zip(weights)
                        .for_each(|(at, w)| sums[*at] += w);
                }
                assert!(axis.tile <= 16, "{length}: {axis:?}");
                assert!(
                    sums.iter().all(|s: &f32| (s - 1.0).abs() < 1e-6),
                    "{length}: {axis:?}"
                );
            }
        }
    }

    #[test]
    fn e7_neighbours_share_what_they_should() {
        let axis = Tiles {
            side: 16,
            overlap: 4,
        }
        .cut(40, Edge::Zero)
        .unwrap();
        assert_eq!(
            (axis.tile, axis.starts.as_slice()),
            (16, [0, 12, 24].as_slice())
        );
        let axis = Tiles {
            side: 16,
            overlap: 4,
        }
        .cut(24, Edge::Wrap)
        .unwrap();
        assert_eq!(
            (axis.tile, axis.starts.as_slice()),
            (16, [0, 12].as_slice())
        );
        assert!(
            Tiles {
                side: 4,
                overlap: 4
            }
            .cut(40, Edge::Zero)
            .is_err()
        );
    }

    /// Work that looks at one place at a time gives the whole, however it is cut.
    #[test]
    fn e7_tiles_of_local_work_make_the_whole() {
        let values: Vec<f32> = (0..2 * 3 * 19 * 7).map(|i| (i as f32).sin()).collect();
        let x = Tensor::from_vec(values, (2, 3, 19, 7), &Device::Cpu).unwrap();
        let double = |x: &Tensor, _| {
            let (_, _, height, width) = x.dims4()?;
            x.upsample_nearest2d(2 * height, 2 * width)
        };
        let sizes = Sizes {
            from: 1,
            to: 2,
            channels: 3,
        };
        let tiles = Tiles {
            side: 6,
            overlap: 2,
        };
        let whole = x.upsample_nearest2d(38, 14).unwrap();
        for pass in [Pass::PLAIN, Pass::SEAMLESS] {
            let tiled = tiled(&x, tiles, pass, sizes, &double).unwrap();
            let diff = (tiled - &whole).unwrap().abs().unwrap().max_all().unwrap();
            assert!(diff.to_scalar::<f32>().unwrap() < 1e-6);
        }
    }
}
