"""Videos in places behind a URL: whole or not there, with their records, and resumed."""

import socket
import threading

import pytest
from command_line import GIVEN

from cli.__main__ import main, planned
from cli.client import OutputFile
from cli.flags import parse
from cli.jobs import fingerprint
from cli.storage import Remote, StorageError, place, put

SAVED = OutputFile("1", "a.mp4", "", "output")
HEAD = 64 * 1024


@pytest.fixture
def job():
    """A job whose video goes where a test says."""

    def of(where):
        ((made,), _) = planned(parse(["i2v", "--model", "nano", "--image_paths", str(GIVEN / "nano_00.png")]), where)
        return made

    return of


@pytest.mark.parametrize(
    ("text", "words"),
    [("nowhere://a/b", "fsspec knows no nowhere://"), ("gs://bucket/a", "needs a package that is not installed")],
)
def test_a_url_that_cannot_be_used_is_said_at_once(capsys, text, words):
    with pytest.raises(SystemExit):
        parse(["i2v", "--image_paths", str(GIVEN / "nano_00.png"), "--output_dir", text])
    assert words in capsys.readouterr().err


def test_a_url_of_this_machine_is_its_path(tmp_path):
    assert place(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert place(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_video_is_kept_behind_a_url_and_found_again(kind, job, bucket):
    folder = place(f"memory://{bucket}/run") if kind == "memory" else place(f"s3://{bucket}/run")
    mine = job(folder)
    assert mine.video == folder / f"{mine.name}.mp4" and not mine.finished()
    mine.keep(b"a video", "http://a", SAVED)
    assert job(folder).finished() and job(folder).recorded("graph") == fingerprint(mine.filled)
    put(mine.video, b"another video")
    assert not mine.finished()
    mine.record.unlink()
    assert not mine.record.exists() and mine.video.exists()
    mine.record.unlink(missing_ok=True)


def test_a_store_that_cannot_be_asked_is_no_missing_video(bucket, job):
    with pytest.raises(StorageError, match="s3://no-such-bucket"):
        job(place("s3://no-such-bucket/run")).keep(b"a video", "http://a", SAVED)


def test_a_place_that_takes_no_file_is_told_before_anything_is_made(bucket, tmp_path, page, capsys):
    """A bucket that is not there, pages that can be read alone, and a list of failures that cannot be written."""
    line = ["i2v", "--model", "nano", "--image_paths", str(GIVEN / "nano_00.png"), "--server", "http://127.0.0.1:9", "--wait", "0"]
    for url, words in (("s3://no-such-bucket/run", "bucket does not exist"), (page, "Unsupported method")):
        assert main([*line, "--output_dir", url]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith(f"Error: --output_dir: nothing can be put into {url}: ") and words in said.err
    (tmp_path / "failures.jsonl").mkdir()
    (tmp_path / "jobs.jsonl").write_text('{"id": "a"}')
    assert main([*line, "--jobs", str(tmp_path / "jobs.jsonl"), "--output_dir", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("Failed: a: no answer in 0 s.") and f"Error: [Errno 21] Is a directory: '{tmp_path}" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failures.jsonl", "jobs.jsonl"]


class Cut:
    """A way to a store that breaks in the middle of the first upload, and stays broken."""

    def __init__(self, port: int, most: int):
        self.port, self.left, self.listener = port, most, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.left <= 0:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, False), daemon=True).start()

    def pump(self, source, sink, counted: bool) -> None:
        try:
            while data := source.recv(HEAD):
                self.left -= len(data) * counted
                if self.left <= 0:
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()


def test_an_upload_that_breaks_leaves_neither_video_nor_record(store, bucket, job, monkeypatch):
    """`fsspec.open` would leave half an object under the name of the whole."""
    import s3fs

    way = Cut(store.port, 6 * 2**20)
    monkeypatch.setenv("AWS_ENDPOINT_URL", way.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    folder = Remote(f"s3://{bucket}/broken")
    with pytest.raises(StorageError, match="s3://.*mp4"):
        job_there = job(folder)
        job_there.keep(b"v" * (12 * 2**20), "http://a", SAVED)
    way.listener.close()
    assert way.left <= 0  # it broke in the upload, and not before
    assert store.keys(bucket, "broken") == []
