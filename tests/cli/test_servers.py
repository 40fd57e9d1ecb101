"""Servers that are away, go away or fail; jobs that fail; Ctrl-C; and going on after each."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import threading
import time

import pytest
from command_line import SMALL, ask, lines_until, make_server, run, start, tell

from cli.client import ComfyClient, ExecutionInterrupted
from cli.demo.tasks import demo_graph
from cli.server import free_port

SLOW = (*SMALL[2:], "--num_inference_steps", "30")  # a second or more


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def names(folder, suffix: str) -> list:
    return sorted(path.stem for path in folder.glob(f"*{suffix}"))


def test_a_job_that_fails_does_not_keep_the_others(server, pictures, tmp_path):
    (pictures / "b.png").write_text("this is no picture")
    out = tmp_path / "out"
    done = run("i2v", out, "--inputs", pictures, "--server", server.url, *SMALL, code=1)
    assert names(out, ".mp4") == names(out, ".json") == ["a", "c"]
    assert "2 done, 0 done before, 1 failed, of 3." in done.stdout
    assert done.stderr.startswith("Failed: b: Node ")
    assert "(LoadImage) failed: " in done.stderr
    before = ask(server.url, "/history").keys()
    done = run("i2v", out, "--inputs", pictures, "--server", server.url, *SMALL, code=1)
    assert "0 done, 2 done before, 1 failed, of 3." in done.stdout
    assert len(ask(server.url, "/history").keys() - before) == 1


def test_what_answers_and_is_no_comfyui_is_told(page, pictures, tmp_path):
    done = run("i2v", tmp_path / "out", "--image_paths", pictures / "a.png", "--server", page, "--wait", "0", code=1)
    assert f"no answer in 0 s. GET /system_stats: what answers at {page} is no ComfyUI, for it sends no JSON" in done.stderr
    assert "Traceback" not in done.stderr and "<html>" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_cancels_what_runs_and_the_same_command_goes_on(server, pictures, tmp_path):
    out = tmp_path / "out"
    flags = ("--inputs", pictures, "--server", server.url, *SLOW)
    before = ask(server.url, "/history").keys()
    ignored = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}  # as a shell does in the background
    with start("i2v", out, *flags, **ignored) as process:
        lines_until(process, "a: done")
        lines_until(process, "b: KSampler (Pusa): step ")
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(30) == 130
    assert "1 done, 0 done before, 0 failed, of 3." in rest
    assert "Stopped. The same command goes on with what is missing." in rest
    assert [path.name for path in sorted(out.iterdir())] == ["a.json", "a.mp4"]
    wait_for(lambda: not any(ask(server.url, "/queue").values()))
    history = {id: entry for id, entry in ask(server.url, "/history").items() if id not in before}
    assert sorted(entry["status"]["status_str"] for entry in history.values()) == ["error", "success"]
    made = (out / "a.mp4").stat().st_mtime_ns
    done = run("i2v", out, *flags)
    assert "2 done, 1 done before, 0 failed, of 3." in done.stdout
    assert len(ask(server.url, "/history")) == len(before) + 4
    assert (out / "a.mp4").stat().st_mtime_ns == made


def test_a_changed_job_is_made_again_and_the_others_are_not(server, pictures, tmp_path):
    out = tmp_path / "out"
    flags = ("--inputs", pictures, "--server", server.url, *SMALL)
    run("i2v", out, *flags)
    before = ask(server.url, "/history").keys()
    shutil.copy(pictures / "c.png", pictures / "b.png")
    done = run("i2v", out, *flags)
    assert "1 done, 2 done before, 0 failed, of 3." in done.stdout
    assert len(ask(server.url, "/history").keys() - before) == 1
    before = ask(server.url, "/history").keys()
    assert "0 done, 3 done before, 0 failed, of 3." in run("i2v", out, *flags).stdout
    assert ask(server.url, "/history").keys() == before


def test_a_prompt_that_someone_takes_from_the_queue_ends_the_wait(server):
    """The server sends no word of it."""

    async def talk():
        async with ComfyClient(server.url) as client:
            client.silence = 0.5
            first, second = [await client.queue(demo_graph("t2v", seed, 60)) for seed in (31, 32)]
            tell(server.url, "/queue", clear=True)
            with pytest.raises(ExecutionInterrupted, match="taken from the queue"):
                await client.follow(second)
            await client.cancel(first)

    asyncio.run(talk())
    wait_for(lambda: not any(ask(server.url, "/queue").values()))


class Proxy:
    """A TCP connection to a server, which can be cut."""

    def __init__(self, port: int):
        self.target, self.connections, self.up = port, [], True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                if not self.up:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.target))
                self.connections += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.up = False
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_breaks_does_not_make_a_job_run_twice(server, tmp_path):
    proxy = Proxy(server.port)
    before = ask(server.url, "/history").keys()
    with start("t2v", tmp_path, "--server", proxy.url, *SLOW, "--seed", "21") as process:
        lines_until(process, "KSampler (Pusa): step ")
        proxy.cut()
        lines_until(process, "Waiting for")
        proxy.up = True
        rest = process.stdout.read()
        assert process.wait(60) == 0, rest
    proxy.listener.close()
    assert f"{proxy.url} answers." in rest
    assert len(ask(server.url, "/history").keys() - before) == 1
    assert len(names(tmp_path, ".mp4")) == 1


def test_a_server_that_stays_away_is_given_up(pictures, tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    done = run("i2v", tmp_path / "out", "--inputs", pictures, "--server", url, "--wait", "1", code=1)
    assert f"Waiting for {url}, up to 1 s: " in done.stdout
    assert done.stderr.count("no answer in 1 s") == 3


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """A second server, started when a command line waits for it already, and what came of that."""
    port, base = free_port(), tmp_path_factory.mktemp("late")
    with start("t2v", base / "out", "--server", f"http://127.0.0.1:{port}", *SMALL) as process:
        waiting = lines_until(process, "Waiting for")
        with make_server(base, port) as server:
            rest = process.stdout.read()
            assert process.wait(60) == 0, rest
            yield server, waiting[-1] + rest, names(base / "out", ".mp4")


def test_a_server_that_is_away_at_first_is_waited_for(late):
    server, said, made = late
    assert said.startswith(f"Waiting for {server.url}, up to 300 s: ")
    assert f"{server.url} answers." in said
    assert len(made) == 1


def test_what_one_server_refuses_another_may_do(server, late, pictures, tmp_path):
    """Only one of them has the prompt."""
    prompts = server.base_directory / "models" / "prompts"
    shutil.copy(prompts / "nano_positive.safetensors", prompts / "only_here.safetensors")
    both = ("--server", server.url, "--server", late[0].url)
    run("i2v", tmp_path / "out", "--inputs", pictures, *both, *SMALL, "--prompt_file", "only_here.safetensors")
    assert names(tmp_path / "out", ".mp4") == ["a", "b", "c"]


# The last one, for it stops a server.
def test_the_job_of_a_server_that_dies_is_taken_over(server, late, pictures, tmp_path):
    dying, out = late[0], tmp_path / "out"
    with start("i2v", out, "--inputs", pictures, "--server", server.url, "--server", dying.url, *SLOW) as process:
        wait_for(lambda: ask(dying.url, "/queue")["queue_running"])
        dying.stop()
        rest = process.stdout.read()
        assert process.wait(120) == 0, rest
    assert f"Waiting for {dying.url}, up to 300 s: " in rest
    assert "3 done, 0 done before, 0 failed, of 3." in rest
    assert names(out, ".mp4") == ["a", "b", "c"]
