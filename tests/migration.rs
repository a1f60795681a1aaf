//! A whole model, a DCGAN generator, moves from Burn's layer to ours: the old file loads, and the
//! outputs, the running statistics and all gradients stay what they were, on both CPU backends.

#[path = "../examples/migrate.rs"]
#[allow(dead_code)] // its `main`
mod migrate;

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use burn_deconv::KernelLayout;
use migrate::{LATENT, after, before, load};

/// Channels at 32x32.
const WIDTH: usize = 2;

/// The sums differ in their order, and go through five layers and four normalizations: about 1e3
/// roundings of 6e-8 in the longest chain, which mostly cancel.
const TOLERANCE: f32 = 2e-5;

#[allow(deprecated)] // Device::ndarray, by Burn
fn devices() -> [Device; 2] {
    [Device::flex(), Device::ndarray()].map(|device| device.autodiff())
}

/// The old model, and the new one with the weights of its file.
fn models(device: &Device) -> (before::Generator, after::Generator) {
    let before = before::Generator::new(WIDTH, device);
    // One training step's statistics, so that the running mean and variance are not 0 and 1.
    before.forward(latent(device));
    drop(before.valid()); // Burn updates them lazily, and saves the old ones otherwise.
    static FILES: AtomicUsize = AtomicUsize::new(0); // tests run at the same time
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("burn-deconv-migration-{}-{number}.bpk", std::process::id());
    let file = std::env::temp_dir().join(name);
    before.clone().save_file(&file).unwrap();
    let after = load(&file, WIDTH, device);
    std::fs::remove_file(&file).unwrap();
    (before, after.unwrap())
}

fn latent(device: &Device) -> Tensor<4> {
    Tensor::random([3, LATENT, 1, 1], Distribution::Normal(0., 1.), device)
}

#[track_caller]
fn assert_close<const D: usize>(ours: Tensor<D>, burns: Tensor<D>, name: &str) {
    assert_eq!(ours.dims(), burns.dims(), "{name}");
    let largest: f32 = burns.clone().abs().max().into_scalar();
    let difference: f32 = (ours - burns).abs().max().into_scalar();
    assert!(largest > 0., "{name} is zero everywhere");
    assert!(
        difference <= TOLERANCE * largest,
        "{name}: {difference:e}, largest value {largest:e}"
    );
}

#[test]
fn a_migrated_generator_makes_the_same_pictures() {
    for device in devices() {
        let (before, after) = models(&device);
        let (before, after) = (before.valid(), after.valid());
        let latent = latent(&device.inner());
        let (ours, burns) = (after.forward(latent.clone()), before.forward(latent));
        assert_eq!(ours.dims(), [3, 3, 64, 64]);
        assert_close(ours, burns, "pictures");
    }
}

#[test]
fn a_migrated_generator_has_the_same_gradients() {
    for device in devices() {
        let (before, after) = models(&device);
        let latent = latent(&device).require_grad();
        let random = Tensor::random([3, 3, 64, 64], Distribution::Normal(0., 1.), &device);

        let burns = (before.forward(latent.clone()) * random.clone())
            .sum()
            .backward();
        let ours = (after.forward(latent.clone()) * random).sum().backward();
        assert_close(
            latent.grad(&ours).unwrap(),
            latent.grad(&burns).unwrap(),
            "gradient of the input",
        );
        for (i, (new, old)) in after.up.iter().zip(&before.up).enumerate() {
            let grad = old.weight.grad(&burns).unwrap();
            let grad = KernelLayout::Burn.to_article(grad, 1).unwrap();
            let name = format!("gradient of weight {i}");
            assert_close(new.weight.grad(&ours).unwrap(), grad, &name);
        }
    }
}
