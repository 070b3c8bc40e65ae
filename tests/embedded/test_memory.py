"""How much memory the embedded PostgreSQL uses, and in which pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from messenger.config import Settings
from messenger.embedded import memory as embedded_memory
from messenger.embedded.local import embedded

GIB = 2**30
_RESERVED = Path("/proc/sys/vm/nr_hugepages")
_PAGES = 120
# Servers of other tests, which run at the same time, use free huge pages as well.
_RESERVE = 4 * _PAGES
"""Enough for buffers of 128 MB, where a page has 2 MB."""


def test_container_memory_limit_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = embedded_memory.memory()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(embedded_memory, "_LIMITS", (limit, tmp_path / "absent"))
    assert embedded_memory.memory() >= machine
    limit.write_text("max\n")
    assert embedded_memory.memory() >= machine
    limit.write_text("1048576\n")
    assert embedded_memory.memory() == 1048576


@pytest.mark.parametrize(
    ("memory", "buffers"), [(GIB // 8, "128MB"), (4 * GIB, "1024MB"), (24 * GIB, "6144MB"), (1024 * GIB, "8192MB")]
)
def test_postgresql_gets_quarter_of_memory(
    memory: int, buffers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_memory, "memory", lambda: memory)
    assert embedded(Settings(data_dir=tmp_path)).settings["shared_buffers"] == buffers


class TestHugePages:
    @pytest.fixture
    def meminfo(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """What the kernel reports about memory, written by the test."""
        meminfo = tmp_path / "meminfo"
        monkeypatch.setattr(embedded_memory, "_MEMORY", meminfo)
        return meminfo

    @pytest.mark.parametrize(
        "said",
        [
            "",
            "MemTotal: 1 kB\n",
            "HugePages_Free: 0\nHugePages_Rsvd: 0\nHugepagesize: 2048 kB\n",
            "HugePages_Free: 7\nHugePages_Rsvd: 7\nHugepagesize: 2048 kB\n",
            "HugePages_Free: some\nHugePages_Rsvd: 0\nHugepagesize: 2048 kB\n",
        ],
    )
    def test_missing_huge_pages_count_as_zero(self, said: str, meminfo: Path) -> None:
        meminfo.write_text(said)
        assert embedded_memory.huge_pages() == 0

    def test_unmappable_huge_pages_count_as_zero(self, meminfo: Path) -> None:
        # No kernel has pages of this size: mapping one fails, like touching one beyond a limit.
        meminfo.write_text("HugePages_Free: 900\nHugePages_Rsvd: 0\nHugepagesize: 3 kB\n")
        assert embedded_memory.huge_pages() == 0

    def test_container_huge_page_limit_is_respected(
        self, meminfo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        meminfo.write_text("HugePages_Free: 900\nHugePages_Rsvd: 0\nHugepagesize: 2048 kB\n")
        limit = tmp_path / "hugetlb.2MB.max"
        limit.write_text("4194304\n")
        monkeypatch.setattr(embedded_memory, "_TOUCH", "")
        monkeypatch.setattr(embedded_memory, "_limits_of_pages", lambda _: (limit,))
        assert embedded_memory.huge_pages() == 4194304

    @pytest.mark.parametrize(("size", "name"), [(2**21, "2MB"), (2**30, "1GB"), (2**16, "64KB")])
    def test_huge_page_limit_file_is_named_by_size(self, size: int, name: str) -> None:
        limits = embedded_memory._limits_of_pages(size)
        assert [limit.name for limit in limits] == [f"hugetlb.{name}.max", f"hugetlb.{name}.limit_in_bytes"]

    @pytest.mark.parametrize(("there", "asked"), [(GIB, "off"), (7 * GIB, "try")])
    def test_huge_pages_are_requested_when_enough_are_free(
        self, there: int, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded_memory, "memory", lambda: 24 * GIB)
        monkeypatch.setattr(embedded_memory, "huge_pages", lambda: there)
        assert embedded(Settings(data_dir=tmp_path)).settings["huge_pages"] == asked

    @pytest.fixture
    def reserved(self) -> Iterator[None]:
        """Reserve huge pages, where the machine allows it."""
        try:
            before = _RESERVED.read_text()
            _RESERVED.write_text(str(int(before) + _RESERVE))
        except OSError:
            pytest.skip("NOT TESTED HERE: huge pages can't be reserved")
        try:
            reserved = int(_RESERVED.read_text()) - int(before)
            if reserved < _RESERVE or "Hugepagesize:       2048 kB" not in _read_memory():
                pytest.skip("NOT TESTED HERE: no huge pages of 2 MB are left")
            yield
        finally:
            _RESERVED.write_text(before)

    @pytest.mark.usefixtures("reserved")
    def test_postgresql_uses_huge_pages(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert embedded_memory.huge_pages() >= _PAGES * 2**21
        monkeypatch.setattr(embedded_memory, "memory", lambda: GIB // 2)
        postgres = embedded(Settings(data_dir=folder / "data"))
        with postgres:
            assert asyncio.run(_status(postgres.start())) == "on"


def _read_memory() -> str:
    return Path("/proc/meminfo").read_text()


async def _status(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SHOW huge_pages_status"))
    finally:
        await connection.close()
