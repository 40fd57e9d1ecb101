"""Where videos go: a folder of this machine, or a place behind a URL that fsspec knows, as s3://bucket/folder."""

import os
import urllib.request
from pathlib import Path


class StorageError(Exception):
    """A place behind a URL that cannot be read or written; the message names it."""


class Remote:
    """A file or folder behind a URL, in the words of pathlib. It is its URL alone: each process opens the place for itself."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.url}/{name}")

    def __eq__(self, other) -> bool:
        return isinstance(other, Remote) and self.url == other.url

    def __hash__(self):
        return hash(self.url)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return Path(self.name).stem

    def with_name(self, name: str) -> "Remote":
        """The same with another last part."""
        return Remote(f"{self.url.rpartition('/')[0]}/{name}")

    def with_suffix(self, suffix: str) -> "Remote":
        """The same with another suffix of the last part."""
        return self.with_name(Path(self.name).with_suffix(suffix).name)

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self.size() >= 0

    def size(self) -> int:
        """Bytes of the file; -1 where there is none."""
        try:
            return self._ask("info")["size"]
        except FileNotFoundError:
            return -1

    def read_text(self, encoding: str) -> str:
        """The content as text."""
        return self._ask("cat_file").decode(encoding)

    def write_whole(self, content: bytes) -> None:
        """Write the file at once; in a store of objects, all of it is there afterwards or nothing of it.

        Not by ``fsspec.open``, which leaves what was written so far as a file that looks complete when it is left by an error.
        """
        try:
            self._ask("pipe_file", content)
        except FileNotFoundError as error:
            raise StorageError(f"{self.url}: {error}") from None

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            self._ask("rm_file")
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool, exist_ok: bool) -> None:
        """Nothing: a store of objects has no folders to be made."""

    def _ask(self, what: str, *arguments):
        """Call the store.

        Raises:
            FileNotFoundError: there is no such file.
            StorageError: anything else that went wrong, for each store has errors of its own.
        """
        import fsspec

        try:
            store, path = fsspec.core.url_to_fs(self.url)
            return getattr(store, what)(path, *arguments)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise StorageError(f"{self.url}: {type(error).__name__}: {error}") from None


def place(text: str) -> Path | Remote:
    """A path, or a URL of any store that fsspec knows and whose package is installed.

    Raises:
        ValueError: the URL cannot be used; the message says why.
    """
    scheme, found, _ = text.partition("://")
    if not found:
        return Path(text)
    if scheme == "file":
        return Path(urllib.request.url2pathname(text.partition("://")[2]))
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise ValueError(f"{text!r} needs a package that is not installed: {error}") from None
    except ValueError:
        raise ValueError(f"{text!r} is no path, and fsspec knows no {scheme}://") from None
    return Remote(text)


def size(path: Path | Remote) -> int:
    """Bytes of a file; -1 where there is none."""
    if isinstance(path, Remote):
        return path.size()
    return path.stat().st_size if path.is_file() else -1


def put(path: Path | Remote, content: bytes, part: str = ".part") -> None:
    """Write a file: in full, or not at all. `part` is the suffix of a file on this machine while it is being written."""
    if isinstance(path, Remote):
        path.write_whole(content)
        return
    half = path.with_name(path.name + part)
    try:
        half.write_bytes(content)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
