"""Failures of other projects with image decoders and with the relay of calls."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import features

from messenger.errors import UnsupportedImage
from messenger.media.processor import ImageProcessor
from messenger.media.stills import FORMATS

ROOT = Path(__file__).parents[2]

# The first bytes of formats that Pillow, or a plugin of it, can read, and that never reach it here.
EXOTIC = {
    "FITS": b"SIMPLE  =                    T",
    "PSD": b"8BPS\x00\x01",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "TIFF, little end first": b"II*\x00",
    "TIFF, big end first": b"MM\x00*",
    "BMP": b"BM",
    "ICO": b"\x00\x00\x01\x00",
    "ICNS": b"icns",
    "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    "JPEG 2000 code stream": b"\xff\x4f\xff\x51",
    "AVIF": b"\x00\x00\x00\x20ftypavif",
    "HEIF": b"\x00\x00\x00\x18ftypheic",
    "DDS": b"DDS ",
    "BLP": b"BLP2",
    "PCX": b"\x0a\x05\x01\x08",
    "PPM": b"P6\n1 1\n255\n",
    "SGI": b"\x01\xda\x01\x01",
    "WMF": b"\xd7\xcd\xc6\x9a",
    "FLI": bytes(4) + b"\x12\xaf",
    "GRIB": b"GRIB",
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "DICOM": bytes(128) + b"DICM",
    "RIFF that is no WebP": b"RIFF\x24\x00\x00\x00WAVE",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "PDF": b"%PDF-1.7\n",
    "Zip": b"PK\x03\x04",
}


@pytest.mark.parametrize("name", EXOTIC)
async def test_cve_2024_53863_cve_2026_40192_cve_2026_25990_cve_2026_28231_no_other_format_reaches_decoder(
    name: str,
) -> None:
    """Synapse, Pillow, pillow-heif: unneeded decoders were reachable by everyone. Here no worker is even started."""
    processor = ImageProcessor()
    with pytest.raises(UnsupportedImage):
        await processor.avatar(EXOTIC[name] + bytes(4096))
    assert processor.worker_pids == frozenset()


async def test_cve_2024_53863_format_disguised_by_valid_prefix_is_refused() -> None:
    """The first bytes only let a file reach the worker; there Pillow is limited to four formats."""
    assert set(FORMATS) == {"JPEG", "PNG", "WEBP", "GIF"}
    processor = ImageProcessor(workers=1)
    try:
        for good in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x04\x00\x00\x00WEBP"):
            for beginning in EXOTIC.values():
                with pytest.raises(UnsupportedImage):
                    await processor.avatar(good + beginning + bytes(4096))
    finally:
        await processor.close()


def test_cve_2023_4863_bundled_webp_decoder_is_patched() -> None:
    """libwebp before 1.3.2 wrote past its buffer; Pillow's wheels bundle their own copy."""
    version = features.version("webp")
    assert version is not None
    assert tuple(map(int, version.split(".")[:3])) >= (1, 3, 2)


# --- the relay ------------------------------------------------------------------------------------

SPECIAL = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
)
"""What is not the public internet, or leads around such a list (IANA's special-purpose registries)."""


def _denied() -> list[tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]]:
    compose: Any = yaml.safe_load((ROOT / "compose.yaml").read_text())
    options = [option.partition("=") for option in compose["services"]["coturn"]["command"]]
    ranges = [value.partition("-") for name, _, value in options if name == "--denied-peer-ip"]
    return [(ip_address(low), ip_address(high or low)) for low, _, high in ranges]


@pytest.mark.parametrize("network", SPECIAL)
def test_cve_2020_26262_relay_denies_private_networks(network: str) -> None:
    """coturn: a peer could be reached past the filter as 0.0.0.0 or ::1. `compose.yaml` denies all such ranges."""
    asked = ip_network(network)
    first, last = int(asked.network_address), int(asked.broadcast_address)
    assert any(low.version == asked.version and int(low) <= first and last <= int(high) for low, high in _denied())
