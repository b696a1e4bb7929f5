"""What there is to compute with: cores, and an accelerator, found cheaply (is torch needed at all?) or properly (by torch)."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import platform
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "mps", "cuda", "cpu")


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_accelerator() -> str | None:
    """Return "mps", "cuda" or None without importing torch (4 s and 660 MB with CUDA).

    Apple silicon is known by its platform, an NVIDIA GPU by asking its driver's library how many there are.
    """
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return "mps"
    with contextlib.suppress(OSError, AttributeError):  # no driver
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0:
            return "cuda"
    return None


def check_device_name(requested: str) -> str:
    """Return the kind of device, "auto", "mps", "cuda" or "cpu", that a name such as "cuda:1" asks for."""
    kind, _, index = requested.partition(":")
    if kind not in CHOICES or (":" in requested and (kind != "cuda" or not index.isdigit())):
        raise ValueError(f"unknown device {requested!r}: choose from {', '.join(CHOICES)} (or cuda:N)")
    return kind


def select_device(requested: str = "auto") -> torch.device:
    """Return the torch device to use: MPS, then CUDA, then the CPU, or the one asked for.

    Parameters
    ----------
    requested : str
        "auto", "mps", "cuda", "cuda:N" or "cpu".

    Raises
    ------
    ValueError
        An unknown name, or a device that this machine or this build of torch does not have.
    ModuleNotFoundError
        There is no torch; the message says how to install it.
    """
    if importlib.util.find_spec("torch") is None:
        raise ModuleNotFoundError("the package torch is not installed: `pip install torch` installs it", name="torch")
    import torch

    kind = check_device_name(requested)
    is_there = {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available(), "cpu": True}
    available = [name for name in is_there if is_there[name]]  # the best first
    if kind == "auto":
        return torch.device(available[0])
    if kind not in available:
        there = ", ".join(available)
        raise ValueError(f"device {requested!r} is not available here (there is: {there}); 'auto' takes the best")
    if kind == "cuda" and ":" in requested and int(requested[5:]) >= torch.cuda.device_count():
        raise ValueError(f"device {requested!r} is not available here: torch finds {torch.cuda.device_count()} GPU(s)")
    return torch.device(requested)
