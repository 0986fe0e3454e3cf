use super::*;

#[test]
fn one_by_one_convolution_is_as_wide_as_its_linear_layer() {
    assert_eq!(significant(&[8, 4, 1, 1]), significant(&[8, 4]));
    assert_ne!(significant(&[8, 4, 3, 3]), significant(&[8, 4]));
    assert_eq!(significant(&[1]), &[1]);
    assert_eq!(significant(&[8, 1, 1, 1]), &[8, 1]);
}

#[test]
fn transposing_exchanges_rows_and_columns() {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(transpose(&values, 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn e12_scales_count_rows_of_the_whole_tensor() {
    let mut values = [1.0; 4];
    multiply(&mut values, 4, 12, &[10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
    assert_eq!(values, [30.0, 30.0, 40.0, 40.0]);
    multiply(&mut values, 0, 4, &[2.0]);
    assert_eq!(values, [60.0, 60.0, 80.0, 80.0]);
}
