//! What `hearth image info` and img2img read of a stranger's picture: its texts and its pixels.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = hearth_engine::picture::info_of(bytes);
    let _ = hearth_engine::picture::decode(bytes);
});
