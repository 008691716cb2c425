"""A file system in memory that forgets, when the power is cut, what was not synced; run as a process.

    python losing_files.py MOUNT [FOLDER]

It begins with the files of the folder. Of a file it keeps what is in it, and apart from that what of it was
synced; of names those that are there, and those that were when the folder was last synced. Whoever writes
`FOLDER SEED` to its file `.cut` finds in that folder what a disk would have had if the power had gone at that
moment. With an empty seed that is what was synced and nothing else. With a number it is some of the rest too,
by chance and by sector, since a disk may write in any order.
"""

import errno
import os
import random
import stat
import sys
from pathlib import Path
from typing import Any

import mfusepy  # type: ignore[import-untyped] # it comes without types

SECTOR = 512
CUT = ".cut"


class File:
    """What is in a file, and what would be after the power was cut."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.synced = bytearray(content)
        self._changed: set[int] = set()  # sectors

    def write(self, data: bytes, offset: int) -> None:
        """Puts data into the file; behind its end that makes it longer."""
        self.resize(max(len(self.content), offset + len(data)))
        self.content[offset : offset + len(data)] = data
        self._changed.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))

    def resize(self, size: int) -> None:
        """Cuts the file off, or adds zeros."""
        if size < len(self.content):
            del self.content[size:]
            self._changed.add(size // SECTOR)
        else:
            self.content.extend(bytes(size - len(self.content)))

    def sync(self) -> None:
        """Puts all of it on the disk."""
        self._put(self.synced, self._changed)
        self._changed.clear()

    def left(self, chance: random.Random | None) -> bytes:
        """Returns what is on the disk: what was synced, and by chance some of the rest."""
        if chance is None or chance.random() < 0.2:
            return bytes(self.synced)
        disk = bytearray(self.synced)
        self._put(disk, {sector for sector in self._changed if chance.random() < 0.5})
        return bytes(disk)

    def _put(self, disk: bytearray, sectors: set[int]) -> None:
        size = len(self.content)
        if size < len(disk):
            del disk[size:]
        disk.extend(bytes(size - len(disk)))
        for at in sectors:
            disk[at * SECTOR : (at + 1) * SECTOR] = self.content[at * SECTOR : (at + 1) * SECTOR]


class LosingFiles(mfusepy.Operations):  # type: ignore[misc] # it has no types
    """One folder of files; one call is answered after the other, so a cut is between two of them."""

    use_ns = True

    def __init__(self, files: dict[str, File]) -> None:
        self._names = files
        self._synced_names = dict(files)
        self._open: dict[int, File] = {}

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """Tells what kind of file there is, and its size."""
        now = {"st_atime": 0, "st_mtime": 0, "st_ctime": 0, "st_uid": os.getuid(), "st_gid": os.getgid()}
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2, **now}
        file = self._open[fh] if fh in self._open else self._named(path)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": len(file.content), **now}

    def readdir(self, path: str, fh: int) -> list[str]:
        """Lists the names."""
        return [".", "..", *self._names]

    def create(self, path: str, mode: int, fi: int = 0) -> int:
        """Makes a file, whose name is on the disk only once the folder is synced."""
        self._names[path[1:]] = File()
        return self.open(path, 0)

    def open(self, path: str, flags: int) -> int:
        """Opens a file."""
        number = max(self._open, default=0) + 1
        self._open[number] = File() if path == f"/{CUT}" else self._named(path)
        return number

    def release(self, path: str, fh: int) -> int:
        """Closes a file; that syncs nothing."""
        del self._open[fh]
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Reads what is in a file, synced or not."""
        return bytes(self._open[fh].content[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """Writes to a file, or cuts the power."""
        if path == f"/{CUT}":
            folder, _, seed = data.decode().rpartition(" ")
            self._cut(Path(folder), random.Random(int(seed)) if seed else None)
        else:
            self._open[fh].write(data, offset)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        """Cuts a file off, or makes it longer."""
        if path != f"/{CUT}":
            (self._open[fh] if fh in self._open else self._named(path)).resize(length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """Puts a file on the disk, but not its name."""
        self._open[fh].sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        """Puts the names on the disk."""
        self._synced_names = dict(self._names)
        return 0

    def unlink(self, path: str) -> int:
        """Removes a name; until the folder is synced it may come back."""
        self._named(path)
        del self._names[path[1:]]
        return 0

    def rename(self, old: str, new: str) -> int:
        """Gives a file another name; until the folder is synced it may have the old one again."""
        self._names[new[1:]] = self._names.pop(old[1:])
        return 0

    def chmod(self, path: str, mode: int) -> int:
        """Says yes."""
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Says yes."""
        return 0

    def _named(self, path: str) -> File:
        if path == f"/{CUT}":
            return File()
        if path[1:] not in self._names:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return self._names[path[1:]]

    def _cut(self, folder: Path, chance: random.Random | None) -> None:
        folder.mkdir()
        for name in sorted(self._names.keys() | self._synced_names.keys()):
            sides = [self._synced_names.get(name), self._names.get(name)]
            file = chance.choice(sides) if chance else sides[0]
            if file:
                (folder / name).write_bytes(file.left(chance))


if __name__ == "__main__":
    _, mount, *begin = sys.argv
    there = {file.name: File(file.read_bytes()) for folder in begin for file in Path(folder).iterdir()}
    mfusepy.FUSE(LosingFiles(there), mount, foreground=True, nothreads=True, hard_remove=True)
