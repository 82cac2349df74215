"""The NVIDIA driver: which cards there are, asked of its own library, without ONNX Runtime or any package."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from runtime.errors import DeviceError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
CAUSES = {
    35: "the NVIDIA driver is older than CUDA needs. Update the driver",
    100: "the driver sees no card. Check `nvidia-smi`; a container needs `--gpus all`",
    803: "the driver in the kernel and its libraries differ in version. Restart the machine",
    804: "the container's CUDA is newer than the driver allows. Update the driver",
    999: "the driver failed for a reason that it does not give. Check `nvidia-smi`, or restart the machine",
}
UNKNOWN = "the driver refused (error {}). Check `nvidia-smi`"


@dataclass(frozen=True)
class InstalledCard:
    """One NVIDIA card of this machine, and its memory in bytes."""

    index: int
    name: str
    memory: int


def list_cards(asked: str = "cuda") -> list[InstalledCard]:
    """The cards that this process may use; raises DeviceError where there is no driver or no card."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise no_card(asked, f"there is no NVIDIA driver (`{LIBRARY}` cannot be loaded). Install the driver") from error
    check(driver.cuInit(0), asked)
    count = ctypes.c_int()
    check(driver.cuDeviceGetCount(ctypes.byref(count)), asked)
    if count.value == 0:
        raise no_card(asked, CAUSES[100])
    return [read_card(driver, index, asked) for index in range(count.value)]


def find_card(index: int, asked: str) -> InstalledCard:
    """One card, or DeviceError listing those that there are."""
    cards = list_cards(asked)
    if index < len(cards):
        return cards[index]
    there = ", ".join(f"{card.index} ({card.name})" for card in cards)
    raise DeviceError(
        f"asked for `{asked}`; found the cards {there}. Cause: there is no card {index}. Choose one of those; "
        "`CUDA_VISIBLE_DEVICES` may hide others"
    )


def read_card(driver: ctypes.CDLL, index: int, asked: str) -> InstalledCard:
    """Name and memory of a card."""
    handle, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(128)
    check(driver.cuDeviceGet(ctypes.byref(handle), index), asked)
    check(driver.cuDeviceGetName(name, len(name), handle), asked)
    check(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle), asked)
    return InstalledCard(index, name.value.decode(errors="replace"), memory.value)


def check(status: int, asked: str) -> None:
    """Raise DeviceError where the driver refuses."""
    if status:
        raise no_card(asked, CAUSES.get(status, UNKNOWN.format(status)))


def no_card(asked: str, cause: str) -> DeviceError:
    """No card can be used."""
    return DeviceError(
        f"asked for `{asked}`; found no NVIDIA card that can be used. Cause: {cause}, or use `--device cpu`; "
        "it never falls back in silence"
    )
