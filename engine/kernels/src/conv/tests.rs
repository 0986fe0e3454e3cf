use candle_core::DType;

use super::*;
use crate::testing::{
    Random, assert_near, assert_same_on_any_threads, assert_same_without_avx512, bits_on,
};

/// A random case: input, weight, bias and geometry.
fn case(random: &mut Random, channels: &[usize]) -> (Tensor, Tensor, Tensor, Geometry) {
    let batch = random.between(1, 3);
    let (inner, outer) = (random.one_of(channels), random.one_of(channels));
    let (height, width) = (random.between(1, 19), random.between(1, 19));
    let side = random.one_of(&[1, 3, 3, 3]);
    let stretch = random.one_of(&[None, None, Some((2 * height, 2 * width - 1))]);
    let pad = |random: &mut Random| random.between(side / 2, side / 2 + 1);
    let geometry = Geometry {
        stride: random.between(1, 2),
        padding: Padding {
            top: pad(random),
            bottom: pad(random),
            left: pad(random),
            right: pad(random),
        },
        edge: random.one_of(&[Edge::Zero, Edge::Wrap]),
        stretch,
    };
    let geometry = random.one_of(&[
        geometry,
        Geometry::SAME,
        Geometry {
            stretch,
            ..Geometry::SAME
        },
    ]);
    let x = random.strided(&[batch, inner, height, width]);
    let weight = random.tensor(&[outer, inner, side, side]);
    let biases = random.one_of(&[1, batch]);
    let bias = random.tensor(&[biases, outer]);
    (x, weight, bias, geometry)
}

#[test]
fn e60_convolution_gives_what_candle_gives_for_any_shape_and_geometry() {
    let mut random = Random(1);
    for i in 0..160 {
        let (x, weight, bias, geometry) = case(&mut random, &[1, 3, 4, 16, 31, 32, 48, 64, 80]);
        let got = conv2d(&x, &weight, &bias, geometry).unwrap();
        let want = plain::conv2d(&x, &weight, &bias, geometry).unwrap();
        let what = format!("{i}: {:?} by {:?}, {geometry:?}", x.dims(), weight.dims());
        assert_near(&got, &want, 2e-4, &what);
    }
}

#[test]
fn winograd_convolution_with_a_residual_gives_what_candle_gives() {
    let mut random = Random(2);
    for (inner, outer, height, width) in [(32, 96, 9, 30), (160, 32, 16, 16), (64, 128, 33, 13)] {
        let x = random.strided(&[2, inner, height, width]);
        let weight = random.tensor(&[outer, inner, 3, 3]);
        let bias = random.tensor(&[2, outer]);
        let residual = random.strided(&[2, outer, height, width]);
        let packed = PackedConv::new(&weight).unwrap();
        let got = packed
            .forward(&x, &bias, Geometry::SAME, Some(&residual))
            .unwrap();
        let want = plain::conv2d(&x, &weight, &bias, Geometry::SAME).unwrap();
        let want = (want + residual).unwrap();
        assert_near(
            &got,
            &want,
            3e-4,
            &format!("{inner} to {outer}, {height}x{width}"),
        );
    }
}

#[test]
fn e61_winograd_rounds_no_worse_than_a_direct_sum() {
    let mut random = Random(3);
    let x = random.tensor(&[1, 320, 16, 16]);
    let weight = (random.tensor(&[32, 320, 3, 3]) * 0.05).unwrap();
    let bias = random.tensor(&[1, 32]);
    let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
    let want = plain::conv2d(&wide(&x), &wide(&weight), &wide(&bias), Geometry::SAME).unwrap();
    let want = want.to_dtype(DType::F32).unwrap();
    let got = conv2d(&x, &weight, &bias, Geometry::SAME).unwrap();
    assert_near(&got, &want, 2e-5, "320 channels of unit size");
}

#[test]
fn e62_e64_neither_threads_nor_batch_nor_instructions_change_a_convolution() {
    let mut random = Random(4);
    for (channels, side) in [(64, 3), (20, 3), (48, 1)] {
        let x = random.tensor(&[3, channels, 21, 18]);
        let weight = random.tensor(&[channels, channels, side, side]);
        let bias = random.tensor(&[1, channels]);
        let geometry = if side == 1 {
            Geometry::POINT
        } else {
            Geometry::SAME
        };
        let run = |x: &Tensor| conv2d(x, &weight, &bias, geometry).unwrap();
        assert_same_on_any_threads(|| run(&x));
        assert_same_without_avx512(|| run(&x));
        let alone = bits_on(2, || run(&x.narrow(0, 1, 1).unwrap()));
        let together = bits_on(2, || run(&x).narrow(0, 1, 1).unwrap());
        assert!(alone == together, "the batch changes a picture");
    }
}

#[test]
fn e63_half_weights_stay_half_and_compute_as_if_widened() {
    let mut random = Random(5);
    for dtype in [DType::F16, DType::BF16] {
        for (channels, side) in [(64, 3), (20, 3), (48, 1)] {
            let x = random.tensor(&[1, channels, 12, 12]);
            let half = random
                .tensor(&[channels, channels, side, side])
                .to_dtype(dtype)
                .unwrap();
            let bias = random.tensor(&[1, channels]);
            let geometry = if side == 1 {
                Geometry::POINT
            } else {
                Geometry::SAME
            };
            let packed = PackedConv::new(&half).unwrap();
            assert_eq!(packed.weight().unwrap().dtype(), dtype);
            let got = packed.forward(&x, &bias, geometry, None).unwrap();
            let wide = half.to_dtype(DType::F32).unwrap();
            let want = conv2d(&x, &wide, &bias, geometry).unwrap();
            assert_near(&got, &want, 0.0, &format!("{dtype:?}, {channels} channels"));
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut random = Random(6);
    let x = random.tensor(&[1, 4, 2, 2]);
    let weight = random.tensor(&[8, 4, 3, 3]);
    let bias = random.tensor(&[1, 8]);
    assert!(conv2d(&x, &random.tensor(&[8, 5, 3, 3]), &bias, Geometry::SAME).is_err());
    assert!(conv2d(&x, &weight, &random.tensor(&[1, 7]), Geometry::SAME).is_err());
    assert!(conv2d(&x, &weight, &random.tensor(&[2, 8]), Geometry::SAME).is_err());
    assert!(conv2d(&x, &weight, &bias, Geometry::POINT).is_err());
    let absurd = Geometry {
        padding: Padding::all(usize::MAX / 4),
        ..Geometry::SAME
    };
    assert!(conv2d(&x, &weight, &bias, absurd).is_err());
}
