"""The kind of a file by its first bytes. Its name does not matter."""

import itertools
import pickle
import pickletools
import re
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from cmg_jax._files import ZIP_ERRORS

HEAD = 4096
"""Number of bytes that decide."""


class FileKind(NamedTuple):
    name: str
    """For decisions: "npz", "torch", "pickle", "npy", "safetensors", "text", "empty", "unknown" and so on."""
    text: str
    """For messages: the words after "is ", with a remedy if there is one."""


# A file that begins with these bytes is of this kind.
_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (
        b"version https://git-lfs.github.com/",
        FileKind("git-lfs", "a Git LFS pointer, not the file itself: run git lfs pull where it was cloned"),
    ),
    (b"\x93NUMPY", FileKind("npy", "a single NumPy array (.npy), not an archive of named arrays (.npz)")),
    (b"\x1f\x8b", FileKind("gzip", "compressed by gzip: unpack it first (gunzip)")),
    (b"BZh", FileKind("bzip2", "compressed by bzip2: unpack it first (bunzip2)")),
    (b"\xfd7zXZ\x00", FileKind("xz", "compressed by xz: unpack it first (unxz)")),
    (b"\x28\xb5\x2f\xfd", FileKind("zstd", "compressed by zstd: unpack it first (unzstd)")),
    (b"\x04\x22\x4d\x18", FileKind("lz4", "compressed by lz4: unpack it first (unlz4)")),
    (b"7z\xbc\xaf\x27\x1c", FileKind("7z", "a 7z archive: unpack it first")),
    (b"Rar!\x1a\x07", FileKind("rar", "a RAR archive: unpack it first")),
    (b"\x89HDF\r\n\x1a\n", FileKind("hdf5", "an HDF5 file")),
    (b"MATLAB 5.0 MAT-file", FileKind("mat", "a MATLAB file")),
    (b"PAR1", FileKind("parquet", "a Parquet table")),
    (b"Kaydara FBX Binary", FileKind("fbx", "an FBX scene, which is not yet retargeted to a robot")),
    (b"HIERARCHY", FileKind("bvh", "a BVH recording of a person, which is not yet retargeted to a robot")),
    (b"PXR-USDC", FileKind("usd", "a USD scene")),
    (b"\x89PNG\r\n\x1a\n", FileKind("png", "a PNG picture")),
    (b"\xff\xd8\xff", FileKind("jpeg", "a JPEG picture")),
    (b"GIF8", FileKind("gif", "a GIF picture")),
    (b"%PDF-", FileKind("pdf", "a PDF document")),
    (b"\x89MCAP0\r\n", FileKind("mcap", "an MCAP log: extract its joints and root and write them with np.savez")),
    (b"#ROSBAG", FileKind("rosbag", "a ROS bag: extract its joints and root and write them with np.savez")),
    (b"\x7fELF", FileKind("elf", "a program")),
    (b"SQLite format 3\x00", FileKind("sqlite", "an SQLite database")),
)
_NOT_FOUND = re.compile(r'^(404\b|not found\b|entry not found\b|access denied\b|\{\s*"(message|error)")')
"""Answers of servers in place of a file, in lower case."""

_PICKLE = FileKind("pickle", "a pickle")
_TORCH = FileKind("torch", "a PyTorch file (torch.save)")
_LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number of files of torch before 1.6, behind the two bytes of the pickle's protocol."""
_LEGACY_TORCH_TEXT = b"L119547037146038801333356L\n."
"""The same in protocols 0 and 1, which write it as text, without the bytes of the protocol."""


def file_kind(path: Path) -> FileKind:
    """The kind of the file at `path`.

    Raises:
      OSError: it does not exist or cannot be opened.
    """
    if path.is_dir():
        return FileKind("directory", "a directory, not a file")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return FileKind("empty", "empty (0 bytes): copy or download it again")
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"PK"):
        return _zip(path)
    if head[4:8] == b"ftyp":
        return FileKind("mp4", "a video")
    if head[:4] == b"RIFF":
        return FileKind("riff", "a sound, picture or video")
    if head[2:].startswith(_LEGACY_TORCH) or head.startswith(_LEGACY_TORCH_TEXT):
        return _TORCH
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32 and not head.startswith(b"{"):
        return FileKind("safetensors", "a safetensors file")
    if head[257:262] == b"ustar":
        return _tar(path)
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return _PICKLE
    if head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0:
        return FileKind("zlib", "compressed by zlib, as joblib.dump(..., compress=...) writes it")
    if _text_pickle(head, path):
        return _PICKLE
    if head[0] == 8 and head[2:3] == b"\x12":
        return FileKind("onnx", "an ONNX model")
    if not any(head):
        return FileKind("zeros", "nothing but zeros: copy or download it again")
    return _text(head)


def _zip(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_ERRORS:
        return FileKind("broken-zip", "a zip archive (as .npz and .pt are) that is cut short or damaged")
    if any(re.fullmatch(r"[^/]+/data\.pkl", name) for name in names):
        return _TORCH
    if names and all(name.endswith(".npy") for name in names):
        return FileKind("npz", "an archive of NumPy arrays (.npz)")
    others = f" and {len(names) - 3} more" if names[3:] else ""
    return FileKind("zip", f"a zip archive of {', '.join(names[:3]) or 'nothing'}{others}: unpack it first")


def _tar(path: Path) -> FileKind:
    try:
        with tarfile.open(path, "r:") as archive:
            if archive.getnames()[:1] == ["sys_info"]:
                return _TORCH
    except (tarfile.TarError, *ZIP_ERRORS):
        pass
    return FileKind("tar", "a tar archive: unpack it first")


def _text(head: bytes) -> FileKind:
    try:
        # The end of `head` may cut a character.
        text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return FileKind("unknown", f"of an unknown kind (it begins with the bytes {head[:8].hex(' ')})")
        text = head[: error.start].decode("utf-8", "replace")
    if any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return FileKind("unknown", f"of an unknown kind (it begins with the bytes {head[:8].hex(' ')})")
    begin = text.lstrip().lower()
    if begin.startswith(("<!doctype html", "<html", "<head", "<body")):
        return FileKind("html", "a web page (HTML), not the file itself: download the raw file")
    if begin.startswith("<"):
        return FileKind("xml", "an XML file (such as MJCF or URDF)")
    if _NOT_FOUND.search(begin[:200]):
        return FileKind("not-found", "the answer of a server that did not find the file: check its address")
    if begin.startswith(("{", "[")):
        return FileKind("json", "a JSON text")
    first = " ".join(text.split())[:40]
    return FileKind("text", f"a text that begins with {first!r}")


def _text_pickle(head: bytes, path: Path) -> bool:
    """Whether this is a pickle of protocol 0 or 1, which has no magic number: opcodes from the first byte to STOP."""
    if head[:1] not in (pickle.MARK, pickle.GLOBAL, pickle.EMPTY_DICT, pickle.EMPTY_LIST):
        return False
    try:
        for _ in itertools.islice(pickletools.genops(head), 8):
            pass
    except Exception:  # a parser raises any error on what is not a pickle
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == pickle.STOP
