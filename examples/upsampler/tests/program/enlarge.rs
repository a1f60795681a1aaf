//! `upsampler enlarge` and `upsampler eval`.

use crate::common::{Folder, decoder, exif, jpeg, marked, png, profile};
use image::{DynamicImage, GenericImageView, ImageDecoder, Rgba, RgbaImage};

const NETWORK: [&str; 2] = ["--weights", "net.safetensors"];

fn with_network(scale: usize) -> Folder {
    let folder = Folder::new();
    folder.write_network("net.safetensors", scale);
    folder
}

/// `enlarge` with the network and these arguments.
fn enlarge<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["enlarge"], &NETWORK[..], arguments].concat()
}

#[test]
fn every_kind_of_pixel_survives() {
    let folder = with_network(3);
    let rgb = DynamicImage::from(marked(40, 31));
    let kinds = [
        ("grey8.png", DynamicImage::from(rgb.to_luma8())),
        ("greya8.png", rgb.to_luma_alpha8().into()),
        ("rgb8.png", rgb.clone()),
        ("rgba8.png", rgb.to_rgba8().into()),
        ("grey16.png", rgb.to_luma16().into()),
        ("greya16.png", rgb.to_luma_alpha16().into()),
        ("rgb16.png", rgb.to_rgb16().into()),
        ("rgba16.png", rgb.to_rgba16().into()),
    ];
    for (name, image) in &kinds {
        folder.write(name, &png(image.clone()));
        folder.prints(&enlarge(&[name]));
        let result = image::open(folder.path(&name.replace(".png", "-x3.png"))).unwrap();
        assert_eq!(result.color(), image.color(), "{name}");
        assert_eq!(result.dimensions(), (120, 93), "{name}");
        let [expected, got] = [image, &result].map(|image| image.to_rgba16());
        for (x, y) in [(20, 15), (5, 5), (30, 20)] {
            let [expected, got] = [
                expected.get_pixel(x, y).0,
                got.get_pixel(3 * x + 1, 3 * y + 1).0,
            ];
            for (expected, got) in expected.into_iter().zip(got) {
                // Bilinear interpolation has the low pixel in the middle; two levels of 8 bits for
                // the rounding to Y, Cb, Cr and back.
                assert!(
                    expected.abs_diff(got) <= 2 * 257,
                    "{name}: {expected} {got}"
                );
            }
        }
    }
    // 8 bits hold 256 greys, 16 bits more
    let result = image::open(folder.path("grey16-x3.png"))
        .unwrap()
        .to_luma16();
    assert!(result.iter().any(|value| value % 257 != 0));
}

#[test]
fn the_built_in_networks_enlarge() {
    let folder = Folder::new();
    folder.write("photo.png", &png(marked(40, 31)));
    for scale in ["2", "3", "4"] {
        folder.prints(&["enlarge", "photo.png", "--scale", scale]);
        let name = format!("photo-x{scale}.png");
        let scale: u32 = scale.parse().unwrap();
        let large = image::open(folder.path(&name)).unwrap();
        assert_eq!(large.dimensions(), (40 * scale, 31 * scale));
    }
    folder.prints(&["enlarge", "photo.png", "--skip-existing"]);
    let table = folder.prints(&["eval", "photo.png"]);
    assert!(table.contains("the built-in network for x2"), "{table}");
}

#[test]
fn a_turned_photo_becomes_upright_and_keeps_its_profile() {
    let folder = with_network(2);
    let icc = profile(b"RGB ");
    // orientation 6: the camera's right side is the top
    folder.write("photo.jpg", &jpeg(&marked(60, 40), 6, &icc));
    for format in ["png", "jpeg", "webp"] {
        let name = format!("out.{format}");
        folder.prints(&enlarge(&["photo.jpg", "--output", &name]));
        let mut decoder = decoder(&folder.path(&name));
        assert_eq!(decoder.dimensions(), (80, 120), "{format}");
        assert_eq!(
            decoder.icc_profile().unwrap().as_ref(),
            Some(&icc),
            "{format}"
        );
        let data = decoder.exif_metadata().unwrap().unwrap();
        assert_eq!(data, exif(1), "{format}");
        let image = DynamicImage::from_decoder(decoder).unwrap().to_rgb8();
        // the dark corner, upper left in the camera, is upper right now
        let dark = |x, y| image.get_pixel(x, y).0[1] < 45;
        assert!(dark(70, 10) && !dark(10, 10) && !dark(70, 110), "{format}");
    }
}

#[test]
fn a_profile_for_other_colours_is_left_out() {
    let folder = with_network(2);
    folder.write("photo.jpg", &jpeg(&marked(60, 40), 1, &profile(b"CMYK")));
    folder.prints(&enlarge(&["photo.jpg"]));
    assert_eq!(
        decoder(&folder.path("photo-x2.png")).icc_profile().unwrap(),
        None
    );
}

#[test]
fn transparent_pixels_do_not_darken_the_edge() {
    let folder = with_network(3);
    // white, left half transparent and, as programs leave it, black
    let image = RgbaImage::from_fn(
        30,
        30,
        |x, _| {
            if x < 15 { Rgba([0; 4]) } else { Rgba([255; 4]) }
        },
    );
    folder.write("logo.png", &png(image));
    folder.prints(&enlarge(&["logo.png"]));
    let result = image::open(folder.path("logo-x3.png")).unwrap().to_rgba8();
    let mut partly = 0;
    // away from the upper and lower border, beyond which the network sees black
    for y in 15..75 {
        for x in 0..86 {
            let [r, g, b, a] = result.get_pixel(x, y).0;
            partly += u32::from(a > 0 && a < 255);
            assert!(
                a == 0 || r.min(g).min(b) >= 253,
                "({x}, {y}): {r} {g} {b} {a}"
            );
        }
    }
    assert!(partly > 0);
}

#[test]
fn a_folder_is_enlarged_once() {
    let folder = with_network(2);
    std::fs::create_dir(folder.path("photos")).unwrap();
    folder.write("photos/a.png", &png(marked(20, 16)));
    folder.write("photos/b.jpg", &jpeg(&marked(20, 16), 1, &profile(b"RGB ")));
    folder.write("photos/notes.txt", b"no picture");
    let first = folder.prints(&enlarge(&["photos"]));
    assert_eq!(first.lines().count(), 2, "{first}");
    // Neither the results are enlarged, nor what has a result.
    let second = folder.prints(&enlarge(&["photos", "--skip-existing"]));
    assert!(
        second.lines().all(|line| line.ends_with("exists")),
        "{second}"
    );
    assert_eq!(second.lines().count(), 2, "{second}");

    folder.prints(&enlarge(&[
        "photos", "--output", "large", "--format", "jpeg",
    ]));
    assert!(folder.path("large/a-x2.jpg").is_file() && folder.path("large/b-x2.jpg").is_file());

    // One that fails does not stop the others.
    folder.write("photos/broken.png", b"\x89PNG\r\n\x1a\nand no more");
    std::fs::remove_file(folder.path("photos/b-x2.png")).unwrap();
    let output = folder.run(&enlarge(&["photos"]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("broken.png") && error.contains("1 of 3"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(folder.path("photos/b-x2.png").is_file());
}

#[test]
fn tiles_leave_no_seam() {
    let folder = with_network(2);
    folder.write("photo.png", &png(marked(90, 70)));
    let output = folder.prints(&enlarge(&[
        "photo.png",
        "--check",
        "--timings",
        "--tile",
        "16",
    ]));
    let difference = output.split("at most ").nth(1).unwrap();
    let difference: f32 = difference.split(' ').next().unwrap().parse().unwrap();
    // the order of summation of some hundred products
    assert!(difference < 1e-5, "{output}");
    assert!(output.contains("network"), "{output}");
}

#[test]
fn what_cannot_be_enlarged_is_one_line() {
    let folder = with_network(2);
    let whole = png(marked(64, 64));
    folder.write("good.png", &whole);
    folder.write("empty.png", b"");
    folder.write("text.png", b"this is no picture at all");
    folder.write("cut.png", &whole[..whole.len() / 2]);
    let photo = jpeg(&marked(64, 64), 1, &profile(b"RGB "));
    folder.write("cut.jpg", &photo[..photo.len() - 100]);
    // the header of a PNG file claims 60,000 x 60,000 pixels; its checksum is right
    let mut lying = whole.clone();
    lying[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let checksum = crc(&lying[12..29]);
    lying[29..33].copy_from_slice(&checksum.to_be_bytes());
    folder.write("lying.png", &lying);
    std::fs::create_dir(folder.path("none")).unwrap();

    for (arguments, words) in [
        (&["missing.png"][..], &["missing.png", "cannot read"][..]),
        (
            &["none"],
            &["no pictures in none", ".png, .jpg, .jpeg or .webp"],
        ),
        (&["empty.png"], &["empty.png", "0 bytes"]),
        (&["text.png"], &["text.png is no picture"]),
        (&["cut.png"], &["cut.png", "cannot be decoded"]),
        (&["cut.jpg"], &["cut.jpg is cut off"]),
        (&["lying.png"], &["lying.png has 60000 x 60000 pixels"]),
        (
            &["good.png", "--output", "no/such/folder.png"],
            &["no/such/folder.png", "--output"],
        ),
        (
            &["good.png", "--output", "good.png"],
            &["would be replaced by its own"],
        ),
        (
            &["good.png", "cut.jpg", "--output", "one.png"],
            &["there are 2 pictures"],
        ),
        (
            &["good.png", "--output", "empty.png/x"],
            &["cannot write empty.png/x"],
        ),
        (
            &["good.png", "--scale", "3"],
            &["enlarges by 2, expected one for --scale 3"],
        ),
    ] {
        let line = folder.fails(&enlarge(arguments));
        for word in words {
            assert!(line.contains(word), "{arguments:?}: {line}");
        }
    }
    #[cfg(target_os = "linux")]
    {
        let line = folder.fails(&enlarge(&[
            "good.png",
            "--output",
            "/dev/full",
            "--format",
            "png",
        ]));
        assert!(line.contains("/dev/full"), "{line}");
    }
}

#[test]
fn a_file_that_is_no_network_is_one_line() {
    let folder = with_network(2);
    folder.write("good.png", &png(marked(32, 32)));
    folder.write("notes.txt", b"no network, only words");
    folder.write("empty.pt", b"");
    // as many values as in the head of the file, and then no more
    let network = std::fs::read(folder.path("net.safetensors")).unwrap();
    folder.write("cut.safetensors", &network[..network.len() / 2]);
    for (weights, words) in [
        ("missing.pt", "cannot read missing.pt"),
        ("notes.txt", "no file of weights"),
        ("empty.pt", "empty (0 bytes)"),
        ("good.png", "good.png is a picture"),
        ("cut.safetensors", "cut.safetensors"),
    ] {
        let line = folder.fails(&["enlarge", "good.png", "--weights", weights]);
        assert!(line.contains(words), "{weights}: {line}");
    }
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (0xEDB8_8320 * low);
        }
    }
    !crc
}

#[cfg(unix)]
#[test]
fn a_stopped_run_leaves_nothing() {
    let folder = with_network(4);
    folder.write("photo.png", &png(marked(1200, 900)));
    let before = folder.names();
    let mut command = folder.command(&enlarge(&["photo.png"]));
    let mut running = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let process = running.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &process])
        .status();
    assert!(sent.unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert_eq!(folder.names(), before);
}

#[test]
fn eval_compares_with_the_other_methods() {
    let folder = with_network(2);
    std::fs::create_dir(folder.path("truth")).unwrap();
    std::fs::create_dir(folder.path("low")).unwrap();
    for (name, width) in [("a.png", 80), ("b.png", 101)] {
        folder.write(&format!("truth/{name}"), &png(marked(width, 90)));
    }
    let eval = |arguments: &[&'static str]| [&["eval"], &NETWORK[..], arguments].concat();
    let table = folder.prints(&eval(&[
        "truth",
        "--csv",
        "figures.csv",
        "--sheet",
        "sheet.png",
    ]));
    for word in [
        "a.png",
        "b.png",
        "nearest",
        "Lanczos",
        "luma SSIM",
        "mean of 2 pictures",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    let csv = std::fs::read_to_string(folder.path("figures.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 5);
    let psnr = |method: &str| -> f64 {
        let start = format!("\"b.png\",{method},");
        let line = csv.lines().find(|line| line.starts_with(&start)).unwrap();
        line.split(',').nth(2).unwrap().parse().unwrap()
    };
    assert!(psnr("bicubic") > psnr("nearest"), "{csv}");
    // The network interpolates linearly.
    assert!((psnr("ours") - psnr("bilinear")).abs() < 0.3, "{csv}");
    assert_eq!(
        image::open(folder.path("sheet.png")).unwrap().width(),
        6 + 5 * 246
    );

    let line = folder.fails(&eval(&["truth", "--low", "low"]));
    assert!(line.contains("no pictures in low"), "{line}");
    folder.write("low/a.png", &png(marked(40, 45)));
    let line = folder.fails(&eval(&["truth", "--low", "low"]));
    assert!(
        line.contains("low has 1 pictures and truth has 2"),
        "{line}"
    );
    folder.write("low/b.png", &png(marked(30, 45)));
    let output = folder.run(&eval(&["truth", "--low", "low"]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("not 2 times as many"), "{error}");
    folder.write("low/b.png", &png(marked(50, 45)));
    let table = folder.prints(&eval(&["truth", "--low", "low", "--ycbcr", "clamped"]));
    assert!(table.contains("YCbCr PSNR"), "{table}");
}
