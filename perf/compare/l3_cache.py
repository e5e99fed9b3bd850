# SPDX-License-Identifier: Apache-2.0
"""Whether a walk over memory finds it in the processor's cache: the rule of godbox's own bench."""

import subprocess
from pathlib import Path

COLD_CACHES = 4  # a working set of so many L3 caches is cold


def l3_cache_bytes() -> int | None:
    """Of the first processor; as the C library knows it where the kernel does not say."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text().strip()
        return int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]]
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        text = subprocess.run(["getconf", "LEVEL3_CACHE_SIZE"], stdout=subprocess.PIPE, text=True,
                              check=True).stdout
        return int(text) or None
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def temperature_of(working_set_bytes: int) -> str | None:
    cache = l3_cache_bytes()
    if not cache:
        return None
    return "cold" if working_set_bytes >= COLD_CACHES * cache else "hot"
