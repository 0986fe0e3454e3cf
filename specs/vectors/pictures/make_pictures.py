"""Pictures as other programs leave them, and what Pillow and scipy make of pixels.

Run in this folder: python make_pictures.py
Made with Python 3.12, Pillow 13.0.0, piexif 1.1.3, numpy 2, scipy 1.

Texts follow the programs' formats; the files are written the way the programs write them: Pillow
for PNG, piexif for EXIF. Nothing here is a picture anybody drew.
"""

import json
import zlib

import numpy as np
import piexif
import piexif.helper
from PIL import Image, ImageFilter, ImageOps, PngImagePlugin
from scipy.ndimage import gaussian_filter1d


def scene(width=24, height=16):
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 10, y * 15, (x * 7 + y * 13) % 256], axis=-1) % 256
    return Image.fromarray(rgb.astype(np.uint8), "RGB")


def png(name, texts, compressed=(), image=None):
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text, zip=key in compressed)
    (image or scene()).save(name, pnginfo=info)


def comment(name, text, **options):
    exif = piexif.dump(
        {"Exif": {piexif.ExifIFD.UserComment: piexif.helper.UserComment.dump(text, encoding="unicode")}}
    )
    scene().save(name, **options)
    piexif.insert(exif, name)


A1111 = """portrait of a (red fox:1.2), "quoted", forest <lora:add_detail:0.8>
second line
Negative prompt: EasyNegative, blurry
worst quality
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 1234567890, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: 735e4c3a44, VAE: vae-ft-mse-840000-ema-pruned.safetensors, \
Variation seed: 99, Variation seed strength: 0.1, Denoising strength: 0.55, Clip skip: 2, ENSD: 31337, \
Hires upscale: 1.5, Hires steps: 12, Hires upscaler: Latent (bicubic), \
ADetailer model: face_yolov8n.pt, Lora hashes: "add_detail: 7c6bad76eb54", TI hashes: "EasyNegative: c74b4e810b03", \
Version: v1.10.1, Hashes: {"model": "6ce0161689", "lora:add_detail": "7c6bad76eb54", "embed:EasyNegative": "c74b4e810b03"}"""
OLD = """a castle, größe
Negative prompt: fog
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: 81761151, Model: sd-v1-4, Version: v1.6.0"""
CJK = """桜の木、昼
Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 5, Size: 640x448, Model: anything, RNG: CPU, Version: v1.10.1"""


def a1111():
    png("a1111.png", {"parameters": A1111})
    png("a1111_old_ztxt.png", {"parameters": OLD}, compressed={"parameters"})
    png("a1111_cjk.png", {"parameters": CJK})
    comment("a1111.jpg", A1111, quality=80)
    comment("a1111_cjk.webp", CJK, quality=80)
    comment("a1111_lossless.webp", A1111, lossless=True)


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


DEFAULT = {
    "3": node("KSampler", seed=156680208700286, steps=20, cfg=8.0, sampler_name="euler", scheduler="normal", denoise=1.0,
              model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
    "4": node("CheckpointLoaderSimple", ckpt_name="sd15/v1-5-pruned-emaonly.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=512, batch_size=1),
    "6": node("CLIPTextEncode", text="beautiful scenery nature glass bottle landscape, embedding:glass:1.2", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="text, watermark", clip=["4", 1]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
}
LORAS = DEFAULT | {
    "3": node("KSampler", seed=["20", 0], steps=30, cfg=6.5, sampler_name="dpmpp_2m_sde_gpu", scheduler="karras", denoise=1.0,
              model=["12", 0], positive=["14", 0], negative=["7", 0], latent_image=["5", 0]),
    "6": node("CLIPTextEncode", text="a knight", clip=["13", 0]),
    "7": node("CLIPTextEncode", text=["21", 0], clip=["13", 0]),
    "8": node("VAEDecode", samples=["3", 0], vae=["22", 0]),
    "10": node("LoraLoader", lora_name="one.safetensors", strength_model=0.8, strength_clip=0.6, model=["4", 0], clip=["4", 1]),
    "11": node("LoraLoaderModelOnly", lora_name="sub\\two.safetensors", strength_model=-0.5, model=["10", 0]),
    "12": node("ModelSamplingDiscrete", sampling="v_prediction", zsnr=False, model=["11", 0]),
    "13": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["10", 1]),
    "14": node("ControlNetApply", strength=1.0, conditioning=["15", 0], control_net=["16", 0], image=["17", 0]),
    "15": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["18", 0]),
    "16": node("ControlNetLoader", control_net_name="control_canny.safetensors"),
    "17": node("LoadImage", image="pose.png"),
    "18": node("CLIPTextEncode", text="in snow", clip=["13", 0]),
    "20": node("PrimitiveInt", value=77),
    "21": node("PrimitiveString", value="ugly"),
    "22": node("VAELoader", vae_name="vae-ft-mse.safetensors"),
}
TWO_PASSES = DEFAULT | {
    "8": node("VAEDecode", samples=["31", 0], vae=["4", 2]),
    "30": node("LatentUpscaleBy", upscale_method="bicubic", scale_by=1.5, samples=["3", 0]),
    "31": node("KSampler", seed=1, steps=14, cfg=8.0, sampler_name="dpmpp_2m", scheduler="simple", denoise=0.5,
               model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["30", 0]),
}
SDXL = {
    "10": node("KSamplerAdvanced", add_noise="enable", noise_seed=721897303308196, steps=25, cfg=8.0, sampler_name="euler",
               scheduler="normal", start_at_step=0, end_at_step=20, return_with_leftover_noise="enable",
               model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
    "11": node("KSamplerAdvanced", add_noise="disable", noise_seed=0, steps=25, cfg=8.0, sampler_name="euler",
               scheduler="normal", start_at_step=20, end_at_step=10000, return_with_leftover_noise="disable",
               model=["12", 0], positive=["15", 0], negative=["16", 0], latent_image=["10", 0]),
    "12": node("CheckpointLoaderSimple", ckpt_name="sd_xl_refiner_1.0.safetensors"),
    "4": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
    "5": node("EmptyLatentImage", width=1024, height=1024, batch_size=1),
    "6": node("CLIPTextEncodeSDXL", text_g="evening sunset scenery", text_l="evening sunset scenery", width=4096, height=4096,
              crop_w=0, crop_h=0, target_width=4096, target_height=4096, clip=["4", 1]),
    "7": node("CLIPTextEncode", text="text, watermark", clip=["4", 1]),
    "15": node("CLIPTextEncode", text="evening sunset scenery", clip=["12", 1]),
    "16": node("CLIPTextEncode", text="text, watermark", clip=["12", 1]),
    "17": node("VAEDecode", samples=["11", 0], vae=["12", 2]),
    "19": node("SaveImage", filename_prefix="ComfyUI", images=["17", 0]),
}
CUSTOM = {
    "1": node("CheckpointLoaderSimple", ckpt_name="dream.ckpt"),
    "2": node("CLIPTextEncode", text="a boat", clip=["1", 1]),
    "3": node("CLIPTextEncode", text="", clip=["1", 1]),
    "4": node("RandomNoise", noise_seed=42),
    "5": node("CFGGuider", cfg=3.5, model=["1", 0], positive=["2", 0], negative=["3", 0]),
    "6": node("KSamplerSelect", sampler_name="uni_pc_bh2"),
    "7": node("BasicScheduler", scheduler="beta", steps=9, denoise=0.6, model=["1", 0]),
    "8": node("VAEEncode", pixels=["11", 0], vae=["1", 2]),
    "9": node("SamplerCustomAdvanced", noise=["4", 0], guider=["5", 0], sampler=["6", 0], sigmas=["7", 0], latent_image=["8", 0]),
    "10": node("VAEDecode", samples=["9", 0], vae=["1", 2]),
    "11": node("LoadImage", image="start.png", is_changed=[float("nan")]),
    "12": node("SaveImage", images=["10", 0]),
}


def comfy():
    for name, graph in [("default", DEFAULT), ("loras", LORAS), ("two_passes", TWO_PASSES), ("sdxl", SDXL), ("custom", CUSTOM)]:
        png(f"comfy_{name}.png", {"prompt": json.dumps(graph), "workflow": json.dumps({"nodes": [], "links": []})})
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(DEFAULT)
    exif[0x010F] = "workflow:" + json.dumps({"nodes": []})
    scene().save("comfy_default.webp", exif=exif, lossless=True)


def invoke():
    model = {"key": "5ec9ab", "hash": "blake3:7b0a1c", "name": "dreamshaper-8", "base": "sd-1", "type": "main"}
    lora = {"key": "11aa", "hash": "blake3:99ff", "name": "ink", "base": "sd-1", "type": "lora"}
    new = {
        "generation_mode": "txt2img", "positive_prompt": "landscape", "negative_prompt": "low quality", "width": 768, "height": 432,
        "seed": 356120443, "rand_device": "cpu", "cfg_scale": 7.5, "steps": 50, "scheduler": "dpmpp_2m_sde_k", "clip_skip": 1,
        "model": model, "controlnets": [], "loras": [{"model": lora, "weight": 0.75}],
        "vae": {"name": "sd-vae-ft-mse", "base": "sd-1"}, "app_version": "5.4.2",
    }
    png("invoke.png", {"invokeai_metadata": json.dumps(new)}, compressed={"invokeai_metadata"})
    old = {
        "model": "stable diffusion", "model_weights": "analog", "model_hash": "a9a1c90893cc", "app_id": "invoke-ai/InvokeAI",
        "app_version": "v2.2.4",
        "image": {"prompt": [{"prompt": "mountains with a lake [fog, people]", "weight": 1}], "steps": 50, "cfg_scale": 12, "threshold": 0,
                  "perlin": 0, "height": 768, "width": 512, "seed": 2502935700, "seamless": False, "hires_fix": False,
                  "type": "txt2img", "sampler": "k_euler_a", "variations": []},
    }
    dream = '"mountains with a lake [fog, people]" -s 50 -S 2502935700 -W 512 -H 768 -C 12.0 -A k_euler_a'
    png("invoke_old.png", {"sd-metadata": json.dumps(old), "Dream": dream})
    png("invoke_dream.png", {"Dream": dream})


def draw_things():
    settings = {
        "c": "a fox & <a> \"hen\"", "uc": "blurry", "steps": 30, "sampler": "DPM++ 2M AYS", "scale": 7.5, "seed": 42, "size": "1024x1024",
        "model": "sd_xl_base_1.0_f16.ckpt", "strength": 1, "seed_mode": "NVIDIA GPU Compatible", "refiner": "sd_xl_refiner_1.0_f16.ckpt",
        "lora": [{"model": "add_detail_lora_f16.ckpt", "weight": 0.7}],
        "v2": {"sampler": 12, "clipSkip": 2, "steps": 30},
    }
    text = json.dumps(settings)
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    xmp = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0">
   <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
      <rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
         <exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{escaped}</rdf:li></rdf:Alt></exif:UserComment>
         <xmp:CreatorTool>Draw Things</xmp:CreatorTool>
      </rdf:Description>
   </rdf:RDF>
</x:xmpmeta>"""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    scene().save("draw_things.png", pnginfo=info)
    comment("draw_things.jpg", text, quality=80)


def others():
    nai = {
        "prompt": "1girl, rain", "steps": 28, "height": 1216, "width": 832, "scale": 5.0, "uncond_scale": 1.0, "cfg_rescale": 0.0,
        "seed": 3071474384, "noise_schedule": "karras", "sampler": "k_euler_ancestral", "sm": False, "uc": "lowres",
        "v4_prompt": {"caption": {"base_caption": "1girl, rain", "char_captions": [{"char_caption": "girl, umbrella"}]}},
    }
    png("novelai.png", {"Title": "AI generated image", "Description": "1girl, rain", "Software": "NovelAI",
                        "Source": "NovelAI Diffusion V4 37442FCA", "Comment": json.dumps(nai)})
    fooocus = {
        "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8Rundiffusion", "base_model_hash": "aeb7e9e689",
        "guidance_scale": 4, "loras": [["sd_xl_offset_example-lora_1.0", 0.1, "4852686128"]], "negative_prompt": "", "prompt": "a car",
        "refiner_model": "None", "resolution": "(1152, 896)", "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras", "seed": "17",
        "sharpness": 2, "steps": 30, "styles": "['Fooocus V2']", "vae": "Default (model)", "version": "Fooocus v2.5.5",
    }
    png("fooocus.png", {"parameters": json.dumps(fooocus), "fooocus_scheme": "fooocus"})
    png("plain.png", {"Software": "GIMP"})


def orientations():
    """One picture stored eight ways, which EXIF turns upright."""
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = ImageOps.exif_transpose(tagged(orientation))
        assert stored.size[0] in (24, 16)
        scene().save(f"turned_{orientation}.webp", exif=exif, lossless=True)


def tagged(orientation):
    image = scene()
    image.getexif()[0x0112] = orientation
    return image


def kinds():
    """PNG's pixel types, and what Pillow makes of them."""
    rgb = scene()
    alpha = Image.fromarray(np.arange(24 * 16, dtype=np.uint32).reshape(16, 24).astype(np.uint8), "L")
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    kinds = {"grey": rgb.convert("L"), "grey_alpha": rgba.convert("LA"), "rgba": rgba, "palette": rgb.quantize(16), "bits": rgb.convert("1")}
    for name, image in kinds.items():
        image.save(f"kind_{name}.png")
    rgba.save("kind_rgba.webp", lossless=True, exact=True)
    rgb.save("kind_jpeg.jpg", quality=92, subsampling=0)
    rgb.convert("CMYK").save("kind_cmyk.jpg", quality=92)


def pixels():
    """Expected pixels, raw, in one npz-like file: a text line of name, type and shape, then bytes."""
    source = scene(48, 36)
    out = [("source", np.asarray(source))]
    filters = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
    for name, method in filters.items():
        for size in [(17, 11), (96, 72), (48, 20), (61, 36), (5, 90)]:
            out.append((f"{name}_{size[0]}x{size[1]}", np.asarray(source.resize(size, method))))
    noise = np.random.default_rng(7).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    out.append(("noise", noise))
    out.append(("noise_lanczos_23x31", np.asarray(Image.fromarray(noise).resize((23, 31), Image.LANCZOS))))
    mask = np.zeros((30, 40), np.uint8)
    mask[8:20, 10:25] = 255
    mask[0:3, 36:40] = 128
    out.append(("mask", mask))
    for sigma in [1.0, 4.0, 9.5]:
        radius = int(2.5 * sigma + 0.5)
        blurred = mask.astype(np.float64)
        for axis in (0, 1):
            blurred = gaussian_filter1d(blurred, sigma, axis=axis, mode="mirror", radius=radius)
        out.append((f"mask_blur_{sigma}", np.rint(blurred).astype(np.uint8)))
    for sigma in [2.0, 16.0]:
        out.append((f"boxes_{sigma}", np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(sigma)))))
    out.append(("luminance", np.asarray(source.convert("L"))))
    out.append(("grown_3", np.asarray(Image.fromarray(mask).filter(ImageFilter.MaxFilter(7)))))
    for orientation in range(1, 9):
        out.append((f"turned_{orientation}", np.asarray(ImageOps.exif_transpose(tagged(orientation)))))
    for name in ["grey.png", "grey_alpha.png", "rgba.png", "palette.png", "bits.png", "rgba.webp", "jpeg.jpg", "cmyk.jpg"]:
        image = Image.open(f"kind_{name}")
        out.append((f"kind_{name}", np.asarray(image.convert("RGB"))))
        if image.mode in ("LA", "RGBA"):
            out.append((f"kind_{name}_alpha", np.asarray(image.getchannel("A"))))
    body = b"".join(f"{name} {' '.join(map(str, a.shape))}\n".encode() + a.tobytes() for name, a in out)
    with open("pixels.zlib", "wb") as file:
        file.write(zlib.compress(body, 9))


a1111()
comfy()
invoke()
draw_things()
others()
orientations()
kinds()
pixels()
