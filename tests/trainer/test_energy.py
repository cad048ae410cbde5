"""Energy counters: a stand-in for the kernel's folder and one for NVML."""

import time
from pathlib import Path
from typing import Any

import pytest

from trainer.energy import EnergyMeter, Nvml

RANGE_UJ = 262_143_328_850


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FakeNvml:
    """One GPU that counts, or does not."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, millijoules: int | None = 5_000_000, driver: bool = True) -> None:
        self.millijoules, self.driver = millijoules, driver

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-1":
            raise self.NVMLError("Not Found")
        return "handle"

    def nvmlDeviceGetIndex(self, handle: Any) -> int:
        return 3

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        if self.millijoules is None:
            raise self.NVMLError("Not Supported")
        return self.millijoules


def add_domain(powercap: Path, folder: str, name: str, joules: float = 1_000.0) -> Path:
    path = powercap / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    count(path, joules)
    return path


def count(domain: Path, joules: float) -> None:
    (domain / "energy_uj").write_text(f"{round(joules * 1e6)}\n")


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """As an Intel machine shows it: everything that must not be counted twice is there."""
    root = tmp_path / "powercap"
    add_domain(root, "intel-rapl:0", "package-0")
    add_domain(root, "intel-rapl:0:0", "core")
    add_domain(root, "intel-rapl:0:1", "uncore")
    add_domain(root, "intel-rapl:1", "psys")
    add_domain(root, "intel-rapl-mmio:0", "package-0")
    return root


def test_a_package_is_counted_once(powercap: Path) -> None:
    clock = Clock()
    with EnergyMeter("cpu", powercap=powercap, clock=clock) as meter:
        assert meter.read_joules() == 0.0
        clock.now_s += 10.0
        for domain in powercap.iterdir():
            count(domain, 1_250.0)
        assert meter.read_joules() == pytest.approx(250.0)
        assert meter.read_joules() == pytest.approx(250.0)
        assert meter.describe() == "CPU package"


def test_packages_and_the_gpu_are_added_up(powercap: Path) -> None:
    add_domain(powercap, "intel-rapl:2", "package-1")
    clock, nvml = Clock(), FakeNvml()
    with EnergyMeter("cuda", powercap=powercap, nvml=nvml, gpu_uuid="GPU-1", clock=clock) as meter:
        clock.now_s += 1.0
        count(powercap / "intel-rapl:0", 1_010.0)
        count(powercap / "intel-rapl:2", 1_020.0)
        nvml.millijoules = 5_300_000
        assert meter.read_joules() == pytest.approx(330.0)
        assert meter.describe() == "2 CPU packages and GPU 3"


def test_a_counter_that_started_again_at_zero_is_followed(powercap: Path) -> None:
    package, clock = powercap / "intel-rapl:0", Clock()
    count(package, RANGE_UJ / 1e6 - 100.0)
    with EnergyMeter("cpu", powercap=powercap, clock=clock) as meter:
        clock.now_s += 5.0
        count(package, 50.0)
        assert meter.read_joules() == pytest.approx(150.0)


def test_a_counter_that_was_set_anew_adds_nothing_for_that_time(powercap: Path) -> None:
    package, clock, nvml = powercap / "intel-rapl:0", Clock(), FakeNvml()
    with EnergyMeter("cuda", powercap=powercap, nvml=nvml, gpu_uuid="GPU-1", clock=clock) as meter:
        clock.now_s += 5.0
        count(package, 1.0)
        nvml.millijoules = 0
        assert meter.read_joules() == 0.0
        clock.now_s += 5.0
        count(package, 31.0)
        nvml.millijoules = 12_000
        assert meter.read_joules() == pytest.approx(42.0)


def test_a_counter_that_may_have_gone_round_unseen_is_no_measurement(powercap: Path) -> None:
    clock = Clock()
    with EnergyMeter("cpu", powercap=powercap, clock=clock) as meter:
        assert meter.sample_s is not None
        assert meter.sample_s < RANGE_UJ / 1e6 / 2_000
        clock.now_s += 3_600.0
        assert meter.read_joules() is None
        clock.now_s += 1.0
        assert meter.read_joules() is None
        assert "lost" in meter.describe()


@pytest.mark.system
def test_it_is_read_without_being_asked_often_enough_to_see_it_go_round(powercap: Path) -> None:
    package = powercap / "intel-rapl:0"
    (package / "max_energy_range_uj").write_text("4000000000")
    count(package, 3_500.0)
    with EnergyMeter("cpu", powercap=powercap) as meter:
        assert meter.sample_s is not None
        assert meter.sample_s < 1.0
        for joules in (3_900.0, 400.0, 900.0):
            time.sleep(0.8)
            count(package, joules)
        assert meter.read_joules() == pytest.approx(1_400.0)


def test_packages_that_only_root_may_read_are_left_out_and_said_so(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    with EnergyMeter("cpu", powercap=powercap) as meter:
        assert meter.read_joules() is None
        assert meter.describe().startswith("not measured: ")
        assert "energy_uj" in meter.describe()
    with EnergyMeter("cuda", powercap=powercap, nvml=FakeNvml(), gpu_uuid="GPU-1") as meter:
        assert meter.read_joules() == 0.0
        assert meter.describe() == "GPU 3 only"


@pytest.mark.parametrize(
    ("nvml", "why"),
    [(FakeNvml(millijoules=None), "Not Supported"), (FakeNvml(driver=False), "Library Not Found")],
)
def test_the_cpu_alone_is_no_measurement_of_a_training_on_a_gpu(powercap: Path, nvml: Nvml, why: str) -> None:
    with EnergyMeter("cuda", powercap=powercap, nvml=nvml, gpu_uuid="GPU-1") as meter:
        assert meter.read_joules() is None
        assert meter.describe().startswith("not measured: ")
        assert why in meter.describe()


def test_a_gpu_that_goes_away_ends_the_measurement(powercap: Path) -> None:
    nvml = FakeNvml()
    with EnergyMeter("cuda", powercap=powercap, nvml=nvml, gpu_uuid="GPU-1") as meter:
        nvml.millijoules = None
        assert meter.read_joules() is None


def test_a_machine_without_counters_is_not_measured(tmp_path: Path) -> None:
    for device in ("cpu", "mps"):
        with EnergyMeter(device, powercap=tmp_path / "none") as meter:
            assert meter.read_joules() is None
            assert meter.sample_s is None
            assert meter.describe().startswith("not measured: no counter of the CPU")


def test_the_real_library_says_that_there_is_no_gpu_here_or_counts_it(tmp_path: Path) -> None:
    with EnergyMeter("cuda", powercap=tmp_path / "none", gpu_uuid="GPU-none-of-this-name") as meter:
        assert meter.read_joules() is None
        assert "the GPU's driver cannot be asked" in meter.describe()


@pytest.mark.gpu
def test_a_real_gpu_takes_a_plausible_power() -> None:
    import torch

    with EnergyMeter("cuda") as meter:
        started, x = time.monotonic(), torch.randn(4096, 4096, device="cuda")
        while (seconds := time.monotonic() - started) < 2.0:
            x = torch.nn.functional.normalize(x @ x)
            torch.cuda.synchronize()
        joules = meter.read_joules()
        assert joules is not None
        assert 20.0 < joules / seconds < 1_500.0
        assert "GPU 0" in meter.describe()
