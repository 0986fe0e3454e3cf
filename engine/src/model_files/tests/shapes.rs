//! What a model is, read off the names and shapes of its tensors.

use super::*;

#[test]
fn e13_configurations_are_read_off_the_shapes_of_every_family() {
    for (known, family) in [
        (stable_diffusion_1(), Family::Sd15),
        (stable_diffusion_2(), Family::Sd2),
        (sdxl(), Family::Sdxl),
    ] {
        let written = Written::new(&known.single_file());
        let model = written.open().unwrap();
        assert_eq!(model.family, family);
        assert_found(&model, Part::Unet, &known.unet);
        assert_found(&model, Part::Text, &known.text);
        if let Some(text2) = &known.text2 {
            assert_found(&model, Part::Text2, text2);
        }
        let scale = if family == Family::Sdxl {
            0.13025
        } else {
            0.18215
        };
        let vae = json!({
            "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
            "latent_channels": 4, "scaling_factor": scale, "use_post_quant_conv": true,
        });
        assert_found(&model, Part::Vae, &vae);
        model.check().unwrap();
        // The same layers as the configurations everybody knows.
        assert_eq!(
            model.modules(Part::Unet).unwrap(),
            unet_modules(&known.unet)
        );
        assert_eq!(
            model.modules(Part::Text).unwrap(),
            text_modules(&known.text)
        );
    }
}

#[test]
fn e13_channels_and_uneven_depths_are_read_off_shapes() {
    let mut inpaint = stable_diffusion_1();
    inpaint.unet["in_channels"] = json!(9);
    let model = Written::new(&inpaint.single_file());
    assert_found(&model.open().unwrap(), Part::Unet, &inpaint.unet);

    // SSD-1B: depths differ from layer to layer, and the middle has no attention.
    let mut small = sdxl();
    small.unet["transformer_layers_per_block"] = json!([1, 2, 4]);
    small.unet["reverse_transformer_layers_per_block"] = json!([[4, 4, 10], [2, 1, 1], 1]);
    small.unet["mid_block_type"] = json!("UNetMidBlock2D");
    let written = Written::new(&small.single_file());
    let model = written.open().unwrap();
    assert_found(&model, Part::Unet, &small.unet);
    model.check().unwrap();
}

#[test]
fn e13_parts_are_found_under_the_prefixes_people_use() {
    let known = stable_diffusion_1();
    let all = known.single_file();
    let renamed = |from: &str, to: &str| -> BTreeMap<_, _> {
        let rename = |name: &String| name.replacen(from, to, 1);
        all.iter()
            .map(|(name, shape)| (rename(name), shape.clone()))
            .collect()
    };
    for (from, to) in [
        (
            "cond_stage_model.transformer.text_model.",
            "cond_stage_model.transformer.",
        ),
        ("cond_stage_model.transformer.", "text_encoder."),
        ("model.diffusion_model.", "diffusion_model."),
        ("first_stage_model.", "vae."),
    ] {
        let written = Written::new(&renamed(from, to));
        let model = written.open().unwrap();
        model
            .check()
            .unwrap_or_else(|error| panic!("{to}: {error}"));
    }
    // A UNet, an autoencoder and a text encoder as three files make a model.
    let dir = tempfile::tempdir().unwrap();
    let parts = [
        ("unet", "model.diffusion_model."),
        ("vae", "first_stage_model."),
        ("clip_l", "cond_stage_model.transformer."),
    ];
    let files: Vec<_> = parts
        .iter()
        .map(|(name, prefix)| {
            let path = dir.path().join(format!("{name}.safetensors"));
            let part = all.iter().filter_map(|(name, shape)| {
                Some((name.strip_prefix(prefix)?.to_owned(), shape.clone()))
            });
            sparse(&path, &part.collect(), &json!({}));
            AssetFile {
                name: format!("{name}.safetensors"),
                path: path.to_str().unwrap().to_owned(),
            }
        })
        .collect();
    let model = ModelFiles::open(&files, &Choice::default()).unwrap();
    model.check().unwrap();
    let lone = ModelFiles::open(&files[..1], &Choice::default()).unwrap_err();
    assert!(
        lone.to_string().contains("no vae in it, only unet"),
        "{lone}"
    );
}

#[test]
fn e13_parts_with_diffusers_names_need_no_configuration() {
    for known in [stable_diffusion_1(), sdxl()] {
        let mut all = shapes(
            &unet_modules(&known.unet),
            &named("unet.", Notation::Diffusers),
        );
        all.extend(shapes(&vae_modules(), &named("vae.", Notation::Diffusers)));
        let text = named("text_encoder.text_model.", Notation::Diffusers);
        all.extend(shapes(&text_modules(&known.text), &text));
        if let Some(text2) = &known.text2 {
            let naming = named("text_encoder_2.", Notation::Diffusers);
            all.extend(shapes(&text_modules(text2), &naming));
        }
        let written = Written::new(&all);
        let model = written.open().unwrap();
        assert_found(&model, Part::Unet, &known.unet);
        assert_found(&model, Part::Text, &known.text);
        model.check().unwrap();
    }
}
