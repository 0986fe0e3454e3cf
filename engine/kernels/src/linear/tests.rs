use super::*;
use crate::testing::{
    Random, assert_near, assert_same_on_any_threads, assert_same_without_avx512, bits_on,
};

#[test]
fn e60_linear_gives_what_candle_gives_for_any_shape() {
    let mut random = Random(11);
    for _ in 0..60 {
        let (batch, tokens) = (random.between(1, 3), random.one_of(&[1, 2, 7, 77, 200]));
        let (inner, outer) = (
            random.one_of(&[1, 5, 64, 130, 320]),
            random.one_of(&[1, 16, 63, 64, 200]),
        );
        let x = random.strided(&[batch, tokens, inner]);
        let weight = random.tensor(&[outer, inner]);
        let bias = random.tensor(&[outer]);
        let want = plain::linear(&x, &weight, &bias).unwrap();
        let what = format!("{batch}x{tokens}, {inner} to {outer}");
        let got = linear(&x, &weight, &bias, Out::Tokens).unwrap();
        assert_near(&got, &want, 5e-5, &what);
        let got = linear(&x, &weight, &bias, Out::Channels).unwrap();
        assert_near(&got, &want.transpose(1, 2).unwrap(), 5e-5, &what);
    }
}

#[test]
fn gate_and_residual_are_what_they_are_apart() {
    let mut random = Random(12);
    for outer in [128, 256, 30] {
        let x = random.tensor(&[2, 50, 70]);
        let weight = random.tensor(&[outer, 70]);
        let bias = random.tensor(&[outer]);
        let residual = random.strided(&[2, 50, outer / 2]);
        let packed = PackedLinear::gated(&weight, &bias).unwrap();
        let want = plain::geglu(&plain::linear(&x, &weight, &bias).unwrap()).unwrap();
        assert_near(&packed.forward(&x).unwrap(), &want, 1e-4, "gated");
        let got = packed.forward_plus(&x, &residual).unwrap();
        assert_near(
            &got,
            &(want + residual).unwrap(),
            1e-4,
            "gated, with a residual",
        );
        assert_near(
            &packed.weight().unwrap(),
            &weight,
            0.0,
            "the weights come back",
        );
    }
}

#[test]
fn e62_e64_neither_threads_nor_the_batch_change_a_linear_layer() {
    let mut random = Random(13);
    let x = random.tensor(&[3, 111, 150]);
    let packed = PackedLinear::new(&random.tensor(&[200, 150]), &random.tensor(&[200])).unwrap();
    assert_same_on_any_threads(|| packed.forward(&x).unwrap());
    assert_same_without_avx512(|| packed.forward(&x).unwrap());
    let alone = bits_on(2, || packed.forward(&x.narrow(0, 1, 1).unwrap()).unwrap());
    let together = bits_on(2, || packed.forward(&x).unwrap().narrow(0, 1, 1).unwrap());
    assert!(alone == together, "the batch changes its element");
}

#[test]
fn e63_half_weights_stay_half_and_compute_as_if_widened() {
    let mut random = Random(14);
    for dtype in [DType::F16, DType::BF16] {
        let x = random.tensor(&[1, 20, 150]);
        let half = random.tensor(&[200, 150]).to_dtype(dtype).unwrap();
        let bias = random.tensor(&[200]);
        let packed = PackedLinear::new(&half, &bias).unwrap();
        assert_eq!(packed.weight().unwrap().dtype(), dtype);
        let wide = half.to_dtype(DType::F32).unwrap();
        let want = linear(&x, &wide, &bias, Out::Tokens).unwrap();
        assert_near(
            &packed.forward(&x).unwrap(),
            &want,
            0.0,
            &format!("{dtype:?}"),
        );
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut random = Random(15);
    let (weight, bias) = (random.tensor(&[8, 4]), random.tensor(&[8]));
    assert!(linear(&random.tensor(&[1, 2, 5]), &weight, &bias, Out::Tokens).is_err());
    assert!(PackedLinear::new(&weight, &random.tensor(&[7])).is_err());
    assert!(PackedLinear::gated(&random.tensor(&[7, 4]), &random.tensor(&[7])).is_err());
    let packed = PackedLinear::new(&weight, &bias).unwrap();
    let x = random.tensor(&[1, 2, 4]);
    assert!(packed.forward_plus(&x, &random.tensor(&[1, 2, 7])).is_err());
}
