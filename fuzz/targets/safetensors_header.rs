//! What `hearth model add` reads of a stranger's file: header, metadata, keys and shapes.

#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::Builder::new()
        .suffix(".safetensors")
        .tempfile()
        .expect("the temporary folder takes a small file");
    file.write_all(bytes)
        .expect("the temporary folder has room");
    let _ = hearth_engine::inspect(file.path());
});
