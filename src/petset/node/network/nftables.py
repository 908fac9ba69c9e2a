"""nft, the program: a script of rules comes into force as a whole or not at all. Blocks for some milliseconds."""

from __future__ import annotations

import shutil
import subprocess

NFT_SECONDS_MAX = 10.0


def apply(script: str) -> str:
    """Why the kernel or nft refused a script; "" when it is in force."""
    if not shutil.which("nft"):
        return "nft is not installed; run `petset setup`, or install nftables"
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=script, text=True, capture_output=True, timeout=NFT_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return f"nft did not answer within {NFT_SECONDS_MAX:.0f} s"
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["nft failed"])[0]


def remove(*tables: str) -> None:
    """Take tables of the family ip away, whether they are there or not."""
    if shutil.which("nft"):
        apply("".join(f"add table ip {table}\ndelete table ip {table}\n" for table in tables))


def listed(*what: str) -> str:
    """What nft lists; "" when there is no such thing."""
    done = subprocess.run(["nft", *what], text=True, capture_output=True, timeout=NFT_SECONDS_MAX, check=False)
    return done.stdout if done.returncode == 0 else ""
