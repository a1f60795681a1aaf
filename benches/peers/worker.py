"""Computes the layers of layers.json in one framework, for run.py.

Answers the same requests as benches/worker.rs. There, "prepare" names a layer; here it carries the
layer itself, with the sizes that the Rust worker has computed. Every framework gets its own memory
layouts; conversions are not timed. "peak" measures the speed of matrix products and of copies.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

INPUT, WEIGHT, GRAD_OUTPUT, PROJECTIONS = 1, 2, 3, (4, 5, 6, 7)
CHUNK = 1 << 20

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


class Unsupported(Exception):
    """The reason why the framework cannot compute a layer."""


def values(sequence: int, start: int, stop: int) -> np.ndarray:
    """The values of benches/common/mod.rs: multiples of 1/8 in [-1, 1)."""
    bits = np.arange(start, stop, dtype=np.uint32) * np.uint32(0x9E3779B1)
    bits += np.uint32(sequence * 0x85EBCA77 & 0xFFFFFFFF)
    bits = (bits ^ (bits >> 15)) * np.uint32(0x2C1B3C6D)
    bits = (bits ^ (bits >> 12)) * np.uint32(0x297A2D39)
    bits ^= bits >> 15
    return (bits >> 28).astype(np.float32) / 8 - 1


def tensor(sequence: int, shape: list[int]) -> np.ndarray:
    size = int(np.prod(shape))
    chunks = [values(sequence, i, min(i + CHUNK, size)) for i in range(0, size, CHUNK)]
    return np.concatenate(chunks).reshape(shape)


def digest(array: np.ndarray) -> dict[str, Any]:
    """As Digest in benches/common/mod.rs: exact sums that depend on each value and its place."""
    flat = np.ascontiguousarray(array).reshape(-1)
    starts = range(0, flat.size, CHUNK)
    chunks = [(i, flat[i : i + CHUNK].astype(np.float64)) for i in starts]
    projections = [
        sum(float(values(sequence, i, i + chunk.size) @ chunk) for i, chunk in chunks)
        for sequence in PROJECTIONS
    ]
    return {"shape": list(array.shape), "projections": projections}


@dataclass
class Layer:
    """A layer of the table, and its sizes as the Rust worker gives them."""

    name: str
    what: str
    input: list[int]
    channels_out: int
    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    groups: int
    padding: Any
    output: list[int]
    weight: list[int]
    full: list[int]
    crop_begin: list[int]
    crop_end: list[int]
    flops: list[int]
    bytes: list[int]

    def arrays(self) -> Arrays:
        """Input and the output's gradient as [n, c, h, w], weight as [out, in / groups, k, k]."""
        shapes = (self.input, self.weight, self.output)
        return tuple(map(tensor, (INPUT, WEIGHT, GRAD_OUTPUT), shapes))  # type: ignore[return-value]

    def padding_out(self) -> list[int]:
        """The rows and columns to append if a symmetric crop of crop_begin cuts too much."""
        return [max(0, -end) for end in self.end_beyond_begin()]

    def end_beyond_begin(self) -> list[int]:
        return [end - begin for begin, end in zip(self.crop_begin, self.crop_end)]


def swap_layout(weight: np.ndarray, groups: int) -> np.ndarray:
    """[out, in / groups, k, k] to PyTorch's [in, out / groups, k, k], or back: kernels turned by
    180 degrees, channels swapped within each group."""
    a, b_per_group, k_h, k_w = weight.shape
    turned = weight[:, :, ::-1, ::-1].reshape(groups, a // groups, b_per_group, k_h, k_w)
    swapped = turned.swapaxes(1, 2).reshape(groups * b_per_group, a // groups, k_h, k_w)
    return np.ascontiguousarray(swapped)


def nhwc(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def nchw(array: Any) -> np.ndarray:
    return np.asarray(array).transpose(0, 3, 1, 2)


class TensorFlow:
    """tf.nn.conv2d_transpose on [n, h, w, c], weight [k, k, out, in], compiled by tf.function."""

    def __init__(self, threads: int) -> None:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.tf = tf

    def prepare(self, layer: Layer, row: str) -> None:
        tf, self.layer = self.tf, layer
        self.depthwise = layer.groups > 1
        if self.depthwise and not layer.groups == layer.input[1] == layer.channels_out:
            raise Unsupported("TensorFlow supports groups only if each is one channel")
        x, w, g = layer.arrays()
        # Depthwise, TensorFlow's weight is [k, k, channels, 1], the same axes reversed.
        axes = (2, 3, 0, 1) if self.depthwise else (2, 3, 1, 0)
        w = np.ascontiguousarray(swap_layout(w, layer.groups).transpose(axes))
        self.arguments = [tf.constant(nhwc(x)), tf.constant(w), tf.constant(nhwc(g))]
        compute = self.step()

        def both(x: Any, w: Any, g: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch([x, w])
                output = compute(x, w)
            return output, *tape.gradient(output, [x, w], output_gradients=g)

        self.compiled = tf.function(compute), tf.function(both)

    def step(self) -> Callable[[Any, Any], Any]:
        tf, layer = self.tf, self.layer
        n, c, h, w = layer.output
        size, padding = [n, h, w, c], layer.padding.upper()
        strides = [1, *layer.stride, 1]
        if self.depthwise:
            depthwise = tf.nn.depthwise_conv2d_backprop_input
            return lambda x, w: depthwise(size, w, x, strides, padding)
        if layer.dilation != [1, 1]:
            if layer.stride != [1, 1] or layer.dilation[0] != layer.dilation[1]:
                raise Unsupported("TensorFlow supports dilation only with stride 1")
            dilated, rate = tf.nn.atrous_conv2d_transpose, layer.dilation[0]
            return lambda x, w: dilated(x, w, size, rate, padding)
        return lambda x, w: tf.nn.conv2d_transpose(x, w, size, layer.stride, padding)

    def forward(self) -> Any:
        return self.compiled[0](*self.arguments[:2])

    def forward_backward(self) -> Any:
        return self.compiled[1](*self.arguments)

    def answers(self) -> list[np.ndarray]:
        output, grad_input, grad_weight = (t.numpy() for t in self.forward_backward())
        axes = (2, 3, 0, 1) if self.depthwise else (3, 2, 0, 1)
        grad_weight = swap_layout(grad_weight.transpose(axes), self.layer.groups)
        return [nchw(output), nchw(grad_input), grad_weight]


class PyTorch:
    """F.conv_transpose2d; the row says whether maps and weight are contiguous or channels_last. A
    view cuts off what SAME crops beyond PyTorch's symmetric padding."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_num_interop_threads(threads)
        self.torch = torch

    def prepare(self, layer: Layer, row: str) -> None:
        torch, self.layer = self.torch, layer
        x, w, g = layer.arrays()
        last = row == "torch_channels_last"
        memory_format = torch.channels_last if last else torch.contiguous_format
        arrays = (x, swap_layout(w, layer.groups), g)
        tensors = [torch.from_numpy(a).contiguous(memory_format=memory_format) for a in arrays]
        self.x, self.w, self.grad_output = tensors

    def compute(self, x: Any, w: Any) -> Any:
        layer = self.layer
        output = self.torch.nn.functional.conv_transpose2d(
            x,
            w,
            stride=layer.stride,
            padding=layer.crop_begin,
            output_padding=layer.padding_out(),
            groups=layer.groups,
            dilation=layer.dilation,
        )
        for axis, (beyond, length) in enumerate(zip(layer.end_beyond_begin(), layer.output[2:])):
            if beyond > 0:
                output = output.narrow(2 + axis, 0, length)
        return output

    def forward(self) -> Any:
        with self.torch.inference_mode():
            return self.compute(self.x, self.w)

    def forward_backward(self) -> Any:
        x, w = (t.detach().requires_grad_() for t in (self.x, self.w))
        output = self.compute(x, w)
        return output, *self.torch.autograd.grad(output, (x, w), self.grad_output)

    def answers(self) -> list[np.ndarray]:
        output, grad_input, grad_weight = (t.detach().numpy() for t in self.forward_backward())
        return [output, grad_input, swap_layout(grad_weight, self.layer.groups)]


class OpenVino:
    """A model of one (Group)ConvolutionBackpropData in f32, for latency. Its weight is a constant:
    it is prepared before the clock starts."""

    def __init__(self, threads: int) -> None:
        import openvino

        self.openvino, self.threads = openvino, threads

    def prepare(self, layer: Layer, row: str) -> None:
        ov, self.layer = self.openvino, layer
        self.x, w, _ = layer.arrays()
        w = swap_layout(w, layer.groups)
        options = {
            "strides": layer.stride,
            "pads_begin": layer.crop_begin,
            "pads_end": [max(0, end) for end in layer.crop_end],
            "dilations": layer.dilation,
            "output_padding": [max(0, -end) for end in layer.crop_end],
        }
        ops = ov.opset13
        parameter = ops.parameter(layer.input, np.float32)
        if layer.groups == 1:
            node = ops.convolution_backprop_data(parameter, ops.constant(w), **options)
        else:
            w = w.reshape(layer.groups, w.shape[0] // layer.groups, *w.shape[1:])
            node = ops.group_convolution_backprop_data(parameter, ops.constant(w), **options)
        config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": str(self.threads),
        }
        model = ov.Model([node], [parameter])
        self.request = ov.Core().compile_model(model, "CPU", config).create_infer_request()
        self.request.set_input_tensor(ov.Tensor(self.x, shared_memory=True))

    def forward(self) -> None:
        self.request.infer()

    def forward_backward(self) -> None:
        raise Unsupported("OpenVINO computes no gradients")

    def answers(self) -> list[np.ndarray]:
        self.forward()
        return [self.request.get_output_tensor().data]


class Jax:
    """lax.conv_general_dilated with lhs_dilation on [n, h, w, c], weight [k, k, in, out], jit."""

    def __init__(self, threads: int) -> None:
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["NPROC"] = str(threads)
        import jax

        self.jax = jax

    def prepare(self, layer: Layer, row: str) -> None:
        jax, self.layer = self.jax, layer
        extent = [(k - 1) * d for k, d in zip(layer.kernel, layer.dilation)]
        crops = zip(extent, layer.crop_begin, layer.crop_end)
        padding = [(e - begin, e - end) for e, begin, end in crops]

        def compute(x: Any, w: Any) -> Any:
            return jax.lax.conv_general_dilated(
                x,
                w,
                window_strides=(1, 1),
                padding=padding,
                lhs_dilation=layer.stride,
                rhs_dilation=layer.dilation,
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=layer.groups,
            )

        def both(x: Any, w: Any, g: Any) -> Any:
            output, pull_back = jax.vjp(compute, x, w)
            return output, *pull_back(g)

        x, w, g = layer.arrays()
        arrays = (nhwc(x), np.ascontiguousarray(w.transpose(2, 3, 1, 0)), nhwc(g))
        self.arguments = [jax.device_put(array) for array in arrays]
        self.compiled = jax.jit(compute), jax.jit(both)

    def forward(self) -> Any:
        return self.jax.block_until_ready(self.compiled[0](*self.arguments[:2]))

    def forward_backward(self) -> Any:
        return self.jax.block_until_ready(self.compiled[1](*self.arguments))

    def answers(self) -> list[np.ndarray]:
        output, grad_input, grad_weight = self.forward_backward()
        return [nchw(output), nchw(grad_input), np.asarray(grad_weight).transpose(3, 2, 0, 1)]


class Peaks:
    """The limits of the machine, without a layer."""

    def __init__(self, threads: int) -> None:
        import jax
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.jax = jax
        self.jax_product = jax.jit(jax.numpy.matmul)

    def peak(self) -> dict[str, float]:
        """FLOP/s of matrix products by PyTorch, NumPy and JAX, and the bytes per second that a copy
        of 128 MiB reads and writes."""
        torch = self.torch
        source = torch.rand(32 << 20)
        target = torch.empty_like(source)
        copy = 2 * 4 * source.numel() / turn(lambda: target.copy_(source))
        return {"copy": copy} | self.products(1024) | self.products(2048)

    def products(self, n: int) -> dict[str, float]:
        torch = self.torch
        a, b, c = torch.rand(n, n), torch.rand(n, n), torch.empty(n, n)
        a_numpy, b_numpy, c_numpy = a.numpy(), b.numpy(), c.numpy()
        a_jax, b_jax = self.jax.device_put(a_numpy), self.jax.device_put(b_numpy)
        seconds = {
            "jax": turn(lambda: self.jax_product(a_jax, b_jax).block_until_ready()),
            "torch": turn(lambda: torch.mm(a, b, out=c)),
            "numpy": turn(lambda: np.matmul(a_numpy, b_numpy, out=c_numpy)),
        }
        return {f"sgemm_{n}_{name}": 2 * n**3 / time for name, time in seconds.items()}


FRAMEWORKS = {
    "tensorflow": TensorFlow,
    "torch": PyTorch,
    "openvino": OpenVino,
    "jax": Jax,
    "peaks": Peaks,
}


def turn(call: Callable[[], Any], seconds: float = 0.1) -> float:
    """The median seconds of as many calls as fit, after one that is not timed."""
    call()
    times: list[float] = []
    while sum(times) < seconds:
        times.append(timed(call))
    return median(times)


def timed(call: Callable[[], Any]) -> float:
    """The seconds of one call, without freeing its result."""
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    del result
    return seconds


def memory(calls: dict[str, Callable[[], Any]]) -> dict[str, int | None]:
    """Bytes: the memory of the process before any call, and the peak during one call of each."""
    held = {"before": status("VmRSS")}
    for name, call in calls.items():
        try:
            Path("/proc/self/clear_refs").write_text("5")
            call()
            held[name] = status("VmHWM")
        except (OSError, Unsupported):  # this system has no peak, or the framework no such pass
            held[name] = None
    return held


def status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith(name + ":")]
    return found[0] * 1024 if found else None


def answer(framework: Any, request: dict[str, Any]) -> dict[str, Any]:
    [(kind, body)] = request.items()
    if kind == "prepare":
        framework.prepare(Layer(**body["layer"]), body["row"])
        return {}
    if kind == "digest":
        names = ("output", "grad_input", "grad_weight")
        return {name: digest(array) for name, array in zip(names, framework.answers())}
    if kind == "peak":
        return framework.peak()
    call = {"forward": framework.forward, "forward_backward": framework.forward_backward}
    if kind == "memory":
        return memory(call)
    return {"seconds": [timed(call[body["pass"]]) for _ in range(body["calls"])]}


def main(name: str, threads: int) -> None:
    # What the frameworks print goes to the standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    framework = FRAMEWORKS[name](threads)
    for line in sys.stdin:
        try:
            text = json.dumps(answer(framework, json.loads(line)))
        except Exception as error:  # any error of the framework is its reason
            reason = str(error).strip().splitlines() or [""]
            kind = "" if isinstance(error, Unsupported) else f"{type(error).__name__}: "
            text = json.dumps({"error": kind + reason[0]})
        print(text, file=answers)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
