"""Picture files from strangers: damaged, hostile, or in every odd way of the formats."""

import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from gedanken.datasets import ImageFolderGenerator, decoding, load_pictures
from gedanken.datasets.decoding import Decoder
from gedanken.errors import DatasetError, GedankenWarning

RED = (255, 0, 0)


def content(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """Return a PNG written by hand: of any depth, with any chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def read(data: bytes, size: int | tuple[int, int] = 4, **options: int) -> np.ndarray:
    return Decoder(size, **{"channels": 3, "fit": "stretch", **options}).picture(data)


def failure(data: bytes, **options: int) -> str:
    with pytest.raises(DatasetError) as caught:
        read(data, **options)
    return str(caught.value)


# One transparent colour, in each depth: two pixels, the first has this colour, the second another one

GREY, COLOUR, PALETTE = 0, 2, 3
TRANSPARENT = {
    "1 bit": (png(2, 1, 1, GREY, b"\0\x40", chunk(b"tRNS", b"\0\0")), (1, 1)),
    "1 bit, white": (png(2, 1, 1, GREY, b"\0\x80", chunk(b"tRNS", b"\0\1")), (1, 0)),
    "2 bits": (png(2, 1, 2, GREY, b"\0\x60", chunk(b"tRNS", b"\0\1")), (1, 2 / 3)),
    "2 bits, black": (png(2, 1, 2, GREY, b"\0\x10", chunk(b"tRNS", b"\0\0")), (1, 1 / 3)),
    "4 bits": (png(2, 1, 4, GREY, b"\0\x5a", chunk(b"tRNS", b"\0\5")), (1, 10 / 15)),
    "4 bits, other": (png(2, 1, 4, GREY, b"\0\x5a", chunk(b"tRNS", b"\0\x0a")), (5 / 15, 1)),
    "8 bits": (png(2, 1, 8, GREY, b"\0\x33\x66", chunk(b"tRNS", b"\0\x33")), (1, 0.4)),
    "16 bits": (png(2, 1, 16, GREY, b"\0\x33\x33\x33\x34", chunk(b"tRNS", b"\x33\x33")), (1, 0x3334 / 65535)),
    "16 bits, none": (png(2, 1, 16, GREY, b"\0\x33\x33\x66\x66", chunk(b"tRNS", b"\0\x33")), (0.2, 0.4)),
    "colour": (png(2, 1, 8, COLOUR, b"\0" + bytes([9, 9, 9, 9, 9, 8]), chunk(b"tRNS", b"\0\x09" * 3)), (1, 26 / 765)),
    "colour, 16 bits": (
        png(2, 1, 16, COLOUR, b"\0" + b"\x33\x01" * 3 + b"\x66\x66" * 3, chunk(b"tRNS", b"\x33\x01" * 3)),
        (1, 0.4),
    ),
    "palette, 1 bit": (png(2, 1, 1, PALETTE, b"\0\x40", chunk(b"PLTE", bytes(6)), chunk(b"tRNS", b"\0")), (1, 0)),
    "palette, 2 bits": (
        png(2, 1, 2, PALETTE, b"\0\x60", chunk(b"PLTE", bytes(12)), chunk(b"tRNS", b"\xff\x66")),
        (0.6, 0),
    ),
    "palette, 4 bits": (png(2, 1, 4, PALETTE, b"\0\x12", chunk(b"PLTE", bytes(48)), chunk(b"tRNS", b"\xff\0")), (1, 0)),
    "palette, 8 bits": (
        png(2, 1, 8, PALETTE, b"\0\1\2", chunk(b"PLTE", bytes(9)), chunk(b"tRNS", b"\xff\xff\0")),
        (0, 1),
    ),
    "grey and alpha": (png(2, 1, 8, 4, b"\0\0\0\0\x66"), (1, 0.6)),
    "grey and alpha, 16 bits": (png(2, 1, 16, 4, b"\0" + bytes(4) + b"\0\0\xff\xff"), (1, 0)),
    "colour and alpha, 16 bits": (png(2, 1, 16, 6, b"\0" + bytes(8) + b"\x33\x33" * 3 + b"\xff\xff"), (1, 0.2)),
}


@pytest.mark.parametrize("name", TRANSPARENT)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_white(name, channels):
    data, (first, second) = TRANSPARENT[name]
    picture = read(data, (1, 2), channels=channels)
    assert picture.shape == (channels, 1, 2)
    np.testing.assert_allclose(picture.mean(0)[0], [first, second], atol=1 / 255)
    if 1 in (first, second):
        assert picture.max() == 1


def test_modes_of_other_formats_are_laid_on_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (0, 0, 255, 102))
    for kind in ("WEBP", "TIFF", "GIF", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        image = clear if kind != "GIF" else Image.new("RGBA", (4, 4), (0, 0, 255, 0))
        wanted = (0.6, 0.6, 1) if kind != "GIF" else (1, 1, 1)
        np.testing.assert_allclose(read(content(image, kind, **options)).mean((1, 2)), wanted, atol=2 / 255)


# Notes beside the pixels


def exif(orientation: object = 6) -> bytes:
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes()


BAD_EXIF = {
    "no header": b"Exif\0\0nonsense",
    "empty": b"Exif\0\0",
    "cut": exif()[:-7],
    "far away": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "in a circle": b"Exif\0\0MM\0*\0\0\0\x08" + b"\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x08" + b"\0\0\0\x08",
    "many entries": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
    "text": exif()[:-14] + b"\x01\x12\0\2\0\0\0\4six\0" + bytes(4),
    "orientation 0": exif(0),
    "orientation 9": exif(9),
}


@pytest.mark.parametrize("name", BAD_EXIF)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_notes_leave_the_picture_as_it_lies(name, kind):
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:4] = 255
    image = Image.fromarray(stripes)
    if kind == "PNG":
        data = content(image, "PNG")
        data = data[:33] + chunk(b"eXIf", BAD_EXIF[name][6:]) + data[33:]
    else:
        data = content(image, kind, exif=BAD_EXIF[name])
    picture = read(data, 8)
    assert picture[:, :3].min() > 0.9
    assert picture[:, 5:].max() < 0.1


def test_one_picture_of_several_in_a_file():
    for kind in ("MPO", "TIFF", "PNG", "WEBP", "GIF"):
        frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), (0, 0, 255))]
        data = content(frames[0], kind, save_all=True, append_images=frames[1:])
        np.testing.assert_allclose(read(data).mean((1, 2)), [1, 0, 0], atol=0.02)


# What is not read


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "ICNS", "PCX", "SGI", "JPEG2000", "DDS", "MSP"])
def test_other_formats_are_refused_by_name(kind, tmp_path):
    image = Image.new("1" if kind == "MSP" else "RGB", (32, 32))
    told = failure(content(image, kind))
    assert told.endswith("read are AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP") or "in no format" in told


def test_postscript_starts_no_program(tmp_path, monkeypatch):
    script = tmp_path / "gs"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    (tmp_path / "cat.png").write_bytes(content(Image.new("RGB", (8, 8)), "EPS"))
    with pytest.raises(DatasetError, match="it is a EPS file"):
        load_pictures([tmp_path / "cat.png"], 4)
    assert not (tmp_path / "started").exists()


def test_pixels_have_a_limit():
    assert failure(content(Image.new("L", (101, 100)), "PNG"), max_pixels=10_000) == (
        "it has 101 x 100 pixels, max_pixels is 10,000"
    )
    assert read(content(Image.new("L", (100, 100)), "PNG"), max_pixels=10_000).shape == (3, 4, 4)


@pytest.mark.parametrize("size", [(9400, 9400), (65535, 65535), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1)])
def test_huge_sizes_in_small_files_are_refused_before_memory_is_taken(size):
    tracemalloc.start()
    try:
        told = failure(png(*size, 8, GREY, bytes(1000)))
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert "pixels" in told


PEAK = """
import resource, sys, threading
from gedanken.datasets.decoding import Decoder
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), -1))
decoder, data = Decoder(8, 3, "crop"), open(sys.argv[1], "rb").read()
failures = []
def work():
    try:
        decoder.picture(data)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(failures), failures[:1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_threads_share_the_memory_for_decoding(tmp_path):
    Image.new("RGBA", (6000, 6000)).save(tmp_path / "large.png", compress_level=1)
    limit = 36e6 * 12 + 1.25e9  # two of 36 million pixels are too many together
    command = [sys.executable, "-c", PEAK, tmp_path / "large.png", str(int(limit))]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    assert made.stdout == "0 []\n", made.stderr


def test_a_picture_that_takes_too_long_is_given_up(monkeypatch):
    pixels = np.arange(512 * 512 * 3, dtype=np.uint32).astype(np.uint8).reshape(512, 512, 3)
    whole = content(Image.fromarray(pixels), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    scan = whole[last:-2]
    many = whole[:-2] + scan * 3000 + whole[-2:]  # each goes over all pixels again
    monkeypatch.setattr(decoding, "DECODING", 0.05)
    assert failure(many) == "it is not decoded within 0.05 s"


def ifd_of_overlapping_tags(size: int) -> bytes:
    """Return a TIFF whose many tags all have the whole file as their value."""
    tags = b"".join(struct.pack("<HHII", 40000 + k, 1, size - 8, 8) for k in range(500))
    head = b"II*\0" + struct.pack("<I", size)
    return head + bytes(size - 8) + struct.pack("<H", 500) + tags + bytes(4)


def tiff_of_one_tile(side: int) -> bytes:
    """Return a TIFF of 16 x 16 pixels, cut out of one tile that is much larger."""
    tile = zlib.compress(bytes(side * side))
    entries = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side), (324, 8)]
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*entries, (325, len(tile))])
    return b"II*\0" + struct.pack("<I", 8 + len(tile)) + tile + struct.pack("<H", len(entries) + 1) + tags + bytes(4)


def test_a_tile_counts_where_it_is_larger_than_its_picture():
    assert read(tiff_of_one_tile(16)).shape == (3, 4, 4)
    assert failure(tiff_of_one_tile(1008), max_pixels=10**6).startswith("it has 1,008 x 1,008 pixels")


BOMBS = {
    "text": lambda: png(4, 4, 8, GREY, bytes(20), *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7)))] * 20),
    "profile": lambda: png(4, 4, 8, GREY, bytes(20), chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "overlapping tags": lambda: ifd_of_overlapping_tags(1 << 20),
    "more pixels than said": lambda: png(4, 4, 8, GREY, bytes(10**8)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_little_memory(name):
    bomb = BOMBS[name]()
    tracemalloc.start()
    try:
        read(bomb)
    except DatasetError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 80e6


def test_thousands_of_frames_cost_what_one_costs(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (2000, 16, 16), np.uint8)
    first, *others = map(Image.fromarray, noise)
    data = content(first, "GIF", save_all=True, append_images=others)
    reads = []
    real = decoding._Bounded.readinto
    decoder = Decoder(4, 3, "crop")

    class Counting(decoding._Bounded):
        def readinto(self, buffer):
            reads.append(real(self, buffer))
            return reads[-1]

    decoding_bounded, decoding._Bounded = decoding._Bounded, Counting
    try:
        decoder.picture(data)
    finally:
        decoding._Bounded = decoding_bounded
    assert sum(reads) < len(data) / 2


# Special files


def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    good = tmp_path / "good.png"
    good.write_bytes(content(Image.new("RGB", (4, 4)), "PNG"))
    files = [tmp_path / "pipe.png", Path("/dev/zero"), Path("/dev/null"), tmp_path, tmp_path / "missing.png", good]
    with pytest.warns(GedankenWarning, match="5 of the files"):
        found = load_pictures(files, 4)
    assert list(found.unreadable) == files[:5]
    assert found.files == (good,)


def test_a_sparse_file_is_not_read_to_its_end(tmp_path):
    with (tmp_path / "a.webp").open("wb") as file:
        file.write(content(Image.new("RGB", (4, 4)), "WEBP"))
        file.truncate(1 << 36)
    with pytest.raises(DatasetError, match=r"a\.webp: "):
        load_pictures([tmp_path / "a.webp"], 4)


def test_names_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "\x1b[31mred\n.png"
    path.write_bytes(b"none")
    with pytest.raises(DatasetError) as caught:
        load_pictures([path], 4)
    assert r"\x1b[31mred\n.png: " in str(caught.value)
    assert "\x1b" not in str(caught.value)


# Pillow's switch for cut pictures


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_cut_pictures_are_read_in_processes_too(method, tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    whole = content(Image.fromarray(np.full((400, 400, 3), 200, np.uint8)), "JPEG")
    (tmp_path / "one" / "a.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    options = {"mode": "processes", "workers": 1, "start_method": method}
    with ImageFolderGenerator(tmp_path, 8, **options) as generator, pytest.warns(GedankenWarning, match="truncated"):
        assert list(generator) == []
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with ImageFolderGenerator(tmp_path, 8, **options) as generator:
        ((data, _),) = generator
    assert data[0, :, 0, 0].min() > 0.7


def test_a_decoder_that_worked_can_be_pickled():
    decoder = Decoder(4, 3, "crop")
    data = content(Image.new("RGB", (4, 4), RED), "PNG")
    decoder.picture(data)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(decoder)).picture(data), decoder.picture(data))


def test_threads_wait_for_room_and_not_for_ever():
    decoder = Decoder(4, 3, "crop", max_pixels=16)
    data = content(Image.new("RGB", (4, 4), RED), "PNG")
    found = []
    threads = [threading.Thread(target=lambda: found.append(decoder.picture(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8


# Damage at random

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), np.uint8))
WHOLE = {
    "JPEG": content(NOISE, "JPEG", exif=exif()),
    "progressive JPEG": content(NOISE, "JPEG", progressive=True, icc_profile=bytes(500)),
    "CMYK JPEG": content(NOISE.convert("CMYK"), "JPEG"),
    "MPO": content(NOISE, "MPO", save_all=True, append_images=[NOISE]),
    "PNG": content(NOISE, "PNG", exif=exif()),
    "palette PNG": content(NOISE.quantize(16), "PNG", transparency=3),
    "16-bit PNG": content(Image.new("I;16", (9, 9), 3000), "PNG"),
    "GIF": content(NOISE, "GIF", save_all=True, append_images=[NOISE.rotate(90)]),
    "WEBP": content(NOISE, "WEBP", exif=exif()),
    "lossless WEBP": content(NOISE.convert("RGBA"), "WEBP", lossless=True),
    "animated WEBP": content(NOISE, "WEBP", save_all=True, append_images=[NOISE.rotate(90)]),
    "BMP": content(NOISE, "BMP"),
    "palette BMP": content(NOISE.quantize(16), "BMP"),
    "TIFF": content(NOISE, "TIFF"),
    "LZW TIFF": content(NOISE, "TIFF", compression="tiff_lzw"),
    "JPEG TIFF": content(NOISE, "TIFF", compression="jpeg"),
    "deflate TIFF": content(NOISE.convert("RGBA"), "TIFF", compression="tiff_adobe_deflate"),
    "PPM": content(NOISE, "PPM"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WHOLE)
@given(data=st.data())
def test_damage_gives_a_picture_or_the_librarys_own_error(name, data):
    changed = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(changed) - 1) | st.integers(0, min(200, len(changed) - 1)))
        changed[place] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(changed)) | st.just(len(changed)))
    try:
        picture = read(bytes(changed[:length]), max_pixels=10**6)
    except DatasetError:
        return
    assert picture.shape == (3, 4, 4)
    assert 0 <= picture.min() <= picture.max() <= 1


@example(b"BM")
@example(b"P6 ")
@example(b"GIF89a")
@example(b"RIFF\0\0\0\0WEBPVP8X")
@given(st.binary(max_size=80))
def test_any_bytes_are_refused(data):
    with pytest.raises(DatasetError):
        read(data)
