import dataclasses

import pytest
import torch

from trainer.hardware import GIB, Hardware, describe, peak_flops, resolve_device, usable_memory


def test_this_machine() -> None:
    hardware = describe("cpu")
    assert hardware.device == "cpu"
    assert hardware.device_name == hardware.cpu_model
    assert hardware.cores >= 1
    assert 0 < hardware.memory_bytes == usable_memory()
    assert hardware.torch_version is not None
    assert hardware.driver is None
    assert describe("cpu").fingerprint == hardware.fingerprint


def test_the_fingerprint_follows_what_changes_a_training() -> None:
    hardware = describe("cpu")
    assert dataclasses.replace(hardware, memory_bytes=hardware.memory_bytes + 4096).fingerprint == hardware.fingerprint
    for change in ({"cores": 99}, {"cpu_model": "other"}, {"torch_version": "0.1"}, {"device_name": "other"}):
        assert dataclasses.replace(hardware, **change).fingerprint != hardware.fingerprint


def test_another_driver_is_another_machine() -> None:
    hardware = describe("cpu")
    one, other = (dataclasses.replace(hardware, driver=driver) for driver in ("535.12", "550.54"))
    assert len({hardware.fingerprint, one.fingerprint, other.fingerprint}) == 3


def test_the_fingerprint_of_a_machine_without_a_driver_stays_what_it_was() -> None:
    hardware = Hardware(
        device="cpu",
        device_name="Some CPU",
        device_memory_bytes=None,
        cpu_model="Some CPU",
        cores=4,
        memory_bytes=16 * GIB + 12345,
        torch_version="2.13.0",
        driver=None,
    )
    assert hardware.fingerprint == "430d62b35ec8000a"


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert (resolve_device("auto") == "cuda") == torch.cuda.is_available()
    with pytest.raises(ValueError, match="unknown device"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no device 'cuda'"):
            describe("cuda")


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A1000", None),
        ("NVIDIA L40", None),
        ("AMD EPYC 7763 64-Core Processor", None),
        ("", None),
    ],
)
def test_peaks_are_known_or_none(name: str, tflops: float | None) -> None:
    assert peak_flops(name) == (None if tflops is None else pytest.approx(tflops * 1e12))
