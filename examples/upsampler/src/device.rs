//! The device of `--device`, on which everything is computed.

use std::sync::OnceLock;

use burn::tensor::Device;

/// The names of `--device`. All but the first need the feature of their name.
const NAMES: [&str; 10] = [
    "flex", "ndarray", "wgpu", "vulkan", "metal", "webgpu", "cuda", "rocm", "cpu", "remote",
];

static CHOSEN: OnceLock<Device> = OnceLock::new();

/// The device of `--device`; without that, Burn's default.
pub fn device() -> Device {
    CHOSEN.get().cloned().unwrap_or_default()
}

/// Chooses the device, once.
pub fn choose(device: Device) {
    let chosen = CHOSEN.set(device);
    chosen.expect("the program has one --device, and has used none before");
}

/// `flex`, or `remote:ws://127.0.0.1:3000`.
pub fn parse(argument: &str) -> Result<Device, String> {
    let (name, address) = match argument.split_once(':') {
        Some((name, address)) => (name, Some(address)),
        None => (argument, None),
    };
    match (name, address) {
        ("flex", None) => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // by Burn, which ends its support with version 0.23
        ("ndarray", None) => Ok(Device::ndarray()),
        #[cfg(feature = "wgpu")]
        ("wgpu", None) => Ok(Device::wgpu(Default::default())),
        #[cfg(feature = "vulkan")]
        ("vulkan", None) => Ok(Device::vulkan(Default::default())),
        #[cfg(feature = "metal")]
        ("metal", None) => Ok(Device::metal(Default::default())),
        #[cfg(feature = "webgpu")]
        ("webgpu", None) => Ok(Device::webgpu(Default::default())),
        #[cfg(feature = "cuda")]
        ("cuda", None) => Ok(Device::cuda(0)),
        #[cfg(feature = "rocm")]
        ("rocm", None) => Ok(Device::rocm(0)),
        #[cfg(feature = "cpu")]
        ("cpu", None) => Ok(Device::cpu()),
        #[cfg(feature = "remote")]
        ("remote", Some(address)) => remote(address),
        ("remote", None) => Err("a remote device has an address: remote:ws://HOST:PORT".into()),
        _ if NAMES.contains(&name) => Err(match address {
            Some(_) if name != "remote" => format!("{name} takes no address"),
            _ => format!("this build has no {name}; build with --features {name}"),
        }),
        _ => Err(format!("expected one of {}", NAMES.join(", "))),
    }
}

#[cfg(feature = "remote")]
fn remote(address: &str) -> Result<Device, String> {
    let host = burn::remote::RemoteHost::websocket(address);
    Device::remote_options(&host)
        .init()
        .map_err(|error| format!("cannot reach {address}: {error}; is the server running?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let message = |argument| parse(argument).unwrap_err();
        assert_eq!(
            message("gpu"),
            "expected one of flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, rocm, cpu, remote"
        );
        assert_eq!(
            message("rocm"),
            "this build has no rocm; build with --features rocm"
        );
        assert_eq!(message("rocm:1"), "rocm takes no address");
        assert_eq!(
            message("remote"),
            "a remote device has an address: remote:ws://HOST:PORT"
        );
        assert!(parse("flex").is_ok());
    }
}
