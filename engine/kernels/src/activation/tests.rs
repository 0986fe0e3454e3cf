use super::*;
use crate::testing::{Random, assert_near, assert_same_on_any_threads};

#[test]
fn e60_activations_give_what_candle_gives_for_any_shape() {
    let mut random = Random(41);
    for _ in 0..20 {
        let dims = [
            random.between(1, 3),
            random.between(1, 40),
            2 * random.between(1, 40),
        ];
        let x = (random.strided(&dims) * 6.0).unwrap();
        // Computed in f64, where the kernels do not go.
        let wide = x.to_dtype(candle_core::DType::F64).unwrap();
        for activation in [Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
            let want = activation
                .apply(&wide)
                .unwrap()
                .to_dtype(x.dtype())
                .unwrap();
            let what = format!("{activation:?} of {dims:?}");
            assert_near(&activation.apply(&x).unwrap(), &want, 3e-6, &what);
        }
        let want = geglu(&wide).unwrap().to_dtype(x.dtype()).unwrap();
        assert_near(
            &geglu(&x).unwrap(),
            &want,
            2e-5,
            &format!("geglu of {dims:?}"),
        );
    }
}

#[test]
fn e62_threads_do_not_change_an_activation() {
    let x = Random(42).tensor(&[3, 1000, 66]);
    assert_same_on_any_threads(|| geglu(&x).unwrap());
    assert_same_on_any_threads(|| Activation::Silu.apply(&x).unwrap());
}

#[test]
fn odd_rows_have_no_gate() {
    assert!(geglu(&Random(43).tensor(&[2, 3])).is_err());
}
