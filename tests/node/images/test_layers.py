"""What a layer unpacks to: counted as unpacking would, refused in time, whatever the stream says."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from petset.node.images import layers
from petset.node.images.layers import LayerError, Tally
from tests.node.hostile_images import DIRECTORY, HARD_LINK, SYMLINK, entry, layer

MANY = 10**9
LONG = "deep/" * 60 + "name"


def tallied(*streams: bytes, bytes_max: int = MANY, entries_max: int = MANY, cut: int = 1 << 20) -> tuple[int, int]:
    tally = Tally(bytes_max, entries_max)
    for stream in streams:
        tally.begin()
        for at in range(0, len(stream), cut):
            tally.feed(stream[at : at + cut])
    return tally.bytes, tally.entries


ORDINARY = (
    entry("d", DIRECTORY),
    entry("d/file", data=b"x" * 1000),
    entry("d/empty"),
    entry("link", SYMLINK, "d/file"),
    entry("hard", HARD_LINK, "d/file"),
    entry(LONG, data=b"y" * 513),
    entry("umläut", data=b"z" * 512),
)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_entries_and_bytes_of_a_stream(form: int):
    entries = [one for one in ORDINARY if form != tarfile.USTAR_FORMAT or one["name"] != LONG]
    stream = layer(*entries, form=form)
    assert tallied(stream) == (len(stream), len(entries))
    assert tallied(stream, stream) == (2 * len(stream), 2 * len(entries))


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_cutting_the_stream_anywhere_changes_nothing(form: int):
    stream = layer(*ORDINARY, form=form)
    for cut in (1, 7, 511, 512, 513, 1000):
        assert tallied(stream, cut=cut) == tallied(stream)


def test_the_limits_are_the_last_that_pass():
    stream = layer(*ORDINARY)
    tallied(stream, bytes_max=len(stream), entries_max=len(ORDINARY))
    with pytest.raises(LayerError, match="more than 6 files"):
        tallied(stream, entries_max=len(ORDINARY) - 1)
    with pytest.raises(LayerError, match=f"more than {len(stream) - 1} bytes"):
        tallied(stream, bytes_max=len(stream) - 1)
    with pytest.raises(LayerError, match="more than 13 files"):
        tallied(stream, stream, entries_max=2 * len(ORDINARY) - 1)


# ---- files that grow


def sparse_by_tar(folder: Path, form: str) -> bytes:
    """A file of one gigabyte of nothing, as GNU tar packs it."""
    with open(folder / "big", "wb") as file:
        for hole in range(12):  # More parts than the first header has room for.
            file.seek(hole * 1_000_000)
            file.write(b"x")
        file.truncate(1 << 30)
    packed = ["tar", "--sparse", f"--format={form}", "-C", str(folder), "-cf", "-", "big"]
    return subprocess.run(packed, check=True, capture_output=True).stdout


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_sparse_file_is_as_large_as_it_becomes(tmp_path: Path, form: str):
    stream = sparse_by_tar(tmp_path, form)
    assert len(stream) < 1 << 20
    found, entries = tallied(stream + layer(*ORDINARY), bytes_max=2 << 30)  # What follows it is found again.
    assert found >= 1 << 30
    assert entries == 1
    with pytest.raises(LayerError, match="bytes"):
        tallied(stream, bytes_max=1 << 29)


@pytest.mark.parametrize("key", ["GNU.sparse.realsize", "GNU.sparse.size"])
def test_a_size_that_only_an_extended_header_says_is_counted(key: str):
    stream = layer(entry(LONG, data=b"x", pax_headers={key: str(1 << 40)}))
    with pytest.raises(LayerError, match="bytes"):
        tallied(stream, bytes_max=1 << 39)


def test_ten_gigabytes_of_zeros_end_at_the_limit(tmp_path: Path):
    """The blob is ten megabytes; no more of it is looked at than the limit needs."""
    whole = tmp_path / "layer"
    header = layer(entry("zeros", data=b""))[:512]
    zeros = gzip.compress(bytes(64 << 20), 9)
    with whole.open("wb") as file:
        file.write(gzip.compress(header))
        for _ in range(160):
            file.write(zeros)  # Members of one gzip file follow each other.
    tally = Tally(100 << 20, MANY)
    with whole.open("rb") as file, pytest.raises(LayerError, match="unpacks to more than 104857600 bytes"):
        layers.count(file, "application/vnd.oci.image.layer.v1.tar+gzip", tally)
        assert file.tell() <= layers.CHUNK_BYTES
    assert tally.bytes <= (100 << 20) + layers.CHUNK_BYTES


def test_a_million_files_end_at_the_limit():
    one = layer(entry("f"))[:512]

    class Endless(io.RawIOBase):
        blocks = 0

        def read(self, size: int = -1) -> bytes:
            self.blocks += size // 512
            return one * (size // 512)

    stream, tally = Endless(), Tally(MANY, 10_000)
    with pytest.raises(LayerError, match="more than 10000 files"):
        layers.count(stream, "x.tar", tally)  # type: ignore[arg-type]
    assert stream.blocks <= 10_000 + layers.CHUNK_BYTES // 512


# ---- what is no layer


def extended(text: bytes) -> bytes:
    """An extended header with this content, and a file after it."""
    with_path = layer(entry(LONG, data=b""))
    block = bytearray(with_path[:512])
    block[124:136] = b"%011o\0" % len(text)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + text.ljust(-(-len(text) // 512) * 512, b"\0") + layer(entry("f"))


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"x" * 1024, "no tar archive"),
        (b"-1".ljust(512, b"\0") + b"x" * 512, "no tar archive"),
        (layer(entry("f"))[:-1000].replace(b"ustar", b"USTAR", 1), "no tar archive"),
        (extended(b"nonsense"), "extended header that cannot be read"),
        (extended(b"0 a=b\n"), "extended header that cannot be read"),
        (extended(b"-5 a=b\n"), "extended header that cannot be read"),
        (extended(b"5" * 600), "extended header that cannot be read"),
        (extended(b"x" * ((1 << 20) + 1)), "extended header of more than"),
    ],
)
def test_a_stream_that_cannot_be_followed_is_refused(stream: bytes, why: str):
    with pytest.raises(LayerError, match=why):
        tallied(stream)


def test_every_flipped_byte_of_a_header_is_refused():
    stream = layer(entry("file", data=b"x" * 100))
    after_the_checksum = (154, 155)  # Padding that nobody reads.
    for at, bit in itertools.product(range(512), (0x01, 0x40, 0x80)):
        if at in after_the_checksum:
            continue
        broken = bytearray(stream)
        broken[at] ^= bit
        with pytest.raises(LayerError):
            tallied(bytes(broken))


@pytest.mark.parametrize(
    ("blob", "media_type", "why"),
    [
        (os.urandom(2000), "x+gzip", "not compressed as it says"),
        (layer(entry("f")), "x.tar+gzip", "not compressed as it says"),
        (b"", "x.tar+zstd", r"of type x.tar\+zstd"),
        (b"", "", "of type ,"),
    ],
)
def test_a_blob_that_is_not_what_it_says_is_refused(blob: bytes, media_type: str, why: str):
    with pytest.raises(LayerError, match=why):
        layers.count(io.BytesIO(blob), media_type, Tally(MANY, MANY))


def test_members_of_a_gzip_file_are_one_stream():
    stream = layer(*ORDINARY)
    parts = [gzip.compress(stream[at : at + 700]) for at in range(0, len(stream), 700)]
    tally = Tally(MANY, MANY)
    layers.count(io.BytesIO(b"".join(parts)), "application/vnd.oci.image.layer.v1.tar+gzip", tally)
    assert (tally.bytes, tally.entries) == (len(stream), len(ORDINARY))
