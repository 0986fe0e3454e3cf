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

#[test]
fn e12_scaled_eight_bit_weights_are_multiplied_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scaled.safetensors");
    let header = r#"{"conv_in.weight":{"dtype":"F8_E4M3","shape":[2,1,1,1],"data_offsets":[0,2]},
        "conv_in.scale_weight":{"dtype":"F32","shape":[],"data_offsets":[2,6]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    // One and minus one and a half, times a quarter.
    bytes.extend([0x38, 0xbc]);
    bytes.extend(0.25_f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let file = Arc::new(TensorFile::open(&path).unwrap());
    let files = PartFiles::new(Part::Unet, vec![file], Naming::FOLDER);
    assert_eq!(files.read("conv_in.weight").unwrap(), [0.25, -0.375]);
    let module = Module {
        path: "conv_in".to_owned(),
        kind: Kind::Conv,
        shape: vec![2, 1, 1, 1],
        bias: Bias::Absent,
    };
    files.check(&[module]).unwrap();
}
