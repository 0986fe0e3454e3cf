use super::*;
use crate::testing::{
    Random, assert_near, assert_same_on_any_threads, assert_same_without_avx512, bits_on,
};

#[test]
fn e60_norms_give_what_candle_gives_for_any_shape() {
    let mut random = Random(31);
    for _ in 0..60 {
        let groups = random.one_of(&[1, 2, 8, 32]);
        let channels = groups * random.one_of(&[1, 3, 4, 10]);
        let dims = [
            random.between(1, 3),
            channels,
            random.between(1, 30),
            random.between(1, 30),
        ];
        // A mean far from zero, as activations have.
        let x = (random.strided(&dims) + 3.0).unwrap();
        let (weight, bias) = (random.tensor(&[channels]), random.tensor(&[channels]));
        let then = random.one_of(&[Then::Nothing, Then::Silu]);
        let got = group_norm(&x, &weight, &bias, groups, 1e-3, then).unwrap();
        let want = plain::group_norm(&x, &weight, &bias, groups, 1e-3, then).unwrap();
        assert_near(
            &got,
            &want,
            5e-5,
            &format!("{dims:?} in {groups} groups, {then:?}"),
        );
        let rows = random.strided(&[2, 40, channels]);
        let got = layer_norm(&rows, &weight, &bias, 1e-5).unwrap();
        let want = plain::layer_norm(&rows, &weight, &bias, 1e-5).unwrap();
        // Rows of one value or two have no variance to speak of: their quotient is coarse.
        let bound = if channels < 4 { 1e-2 } else { 5e-5 };
        assert_near(&got, &want, bound, &format!("rows of {channels}"));
    }
}

#[test]
fn e62_e64_neither_threads_nor_the_batch_change_a_norm() {
    let mut random = Random(32);
    let x = random.tensor(&[3, 96, 40, 33]);
    let (weight, bias) = (random.tensor(&[96]), random.tensor(&[96]));
    let run = |x: &Tensor| group_norm(x, &weight, &bias, 32, 1e-5, Then::Silu).unwrap();
    assert_same_on_any_threads(|| run(&x));
    assert_same_without_avx512(|| run(&x));
    let alone = bits_on(2, || run(&x.narrow(0, 1, 1).unwrap()));
    let together = bits_on(2, || run(&x).narrow(0, 1, 1).unwrap());
    assert!(alone == together, "the batch changes its element");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut random = Random(33);
    let x = random.tensor(&[1, 6, 2, 2]);
    let six = random.tensor(&[6]);
    assert!(group_norm(&x, &six, &six, 4, 1e-5, Then::Nothing).is_err());
    assert!(group_norm(&x, &six, &six, 0, 1e-5, Then::Nothing).is_err());
    assert!(group_norm(&x, &random.tensor(&[5]), &six, 2, 1e-5, Then::Nothing).is_err());
    assert!(layer_norm(&x, &six, &six, 1e-5).is_err());
}
