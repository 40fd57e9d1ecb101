"""Videos from a command line, made by a ComfyUI server. Started by `python -m cli`."""

import asyncio
import contextlib
import json
import signal
import sys
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .farm.cluster import FarmError, connected
from .farm.driver import Farm
from .farm.failures import grouped, write_failures
from .flags import parse
from .graph.geometry import check_lengths
from .graph.links import GraphError
from .graph.settings import Settings
from .graph.tasks import TASKS, read_graph, task_graph
from .jobs import Job, folder_jobs, of_file, one_job
from .models.identity import with_files_of_today
from .pool import Pool
from .programs import PROGRAMS
from .progress import Board
from .storage import Remote, StorageError, put

READERS = 16  # threads that look at records


def main(arguments: list) -> int:
    """Run one command line; returns the exit code."""
    if arguments and arguments[0] in PROGRAMS:
        return PROGRAMS[arguments[0]](arguments[1:])
    given = parse(arguments)
    if given.output and given.ray:
        given.output = given.output.resolve()  # workers have other working directories
    folder = given.output.parent if given.output else given.output_dir or Path("outputs")
    if isinstance(folder, Path) and given.ray:
        folder = folder.resolve()
    try:
        jobs, failures = planned(given, folder)
        if given.dry_run:
            graphs = {job.name: job.filled.graph for job in jobs}
            if graphs:
                print(json.dumps(graphs if given.jobs or given_folder(given) else next(iter(graphs.values())), indent=2))
            return report_failures(failures)
        make_folder(folder, "--output" if given.output else "--output_dir")
        return make_all(jobs, failures, given, folder)
    except (GraphError, StorageError, FarmError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before or after the jobs
        return say_stopped(signal.SIGINT)


def make_folder(folder: Path | Remote, flag: str) -> None:
    """Make the folder of the videos, and see to it that files can be put there: no video is made for nothing.

    Raises:
        StorageError: it cannot be made, or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{flag}: {folder} cannot be made: {error.strerror}") from None
    probe = folder / f".{uuid.uuid4().hex}.probe"
    try:
        put(probe, b"")
        probe.unlink()
    except (OSError, StorageError) as error:
        raise StorageError(f"{flag}: nothing can be put into {folder}: {error}") from None


def given_folder(given):
    """The folder of inputs, if there is one."""
    return getattr(given, "inputs", None)


def planned(given, folder: Path | Remote) -> tuple:
    """The jobs of a command line, and {name: why not} of those that cannot be.

    Raises:
        GraphError: none can be, or a line of a file of jobs cannot.
    """
    if not given.jobs:
        return planned_alone(given, folder)
    graphs = {}

    def of_line(line) -> Job:
        try:
            return planned_alone(line.flags, folder, folder / f"{line.id}.mp4", graphs)[0][0]
        except GraphError as error:
            raise GraphError(f"--jobs: {given.jobs}, line {line.number}: {error}") from None

    with ThreadPoolExecutor(READERS) as threads:  # each asks whether a video of its name is there
        return list(threads.map(of_line, given.listed)), {}


def planned_alone(given, folder: Path | Remote, output: Path | Remote | None = None, graphs: dict | None = None) -> tuple:
    """The jobs of a command line without a file of jobs, or that of one of its lines.

    Args:
        output: where the one video goes, if its flags do not say so.
        graphs: those that were read already.
    """
    task, read, chosen = TASKS[given.task], {} if graphs is None else graphs, (given.graph, given.model, given.lightx2v)
    if chosen not in read:
        read[chosen] = (given.graph.name, read_graph(given.graph)) if given.graph else task_graph(task, *chosen[1:])
    name, graph = read[chosen]
    settings = Settings.from_flags(vars(given))
    about = {"task": given.called, "model": "" if given.graph else given.model, "lightx2v": given.lightx2v, "workflow": name}
    try:
        check_lengths(graph, task, settings)
        prompts = getattr(given, "prompt_dir", None)
        if inputs := given_folder(given):
            return folder_jobs(graph, task, settings, inputs, folder, prompts, about)
        if prompts:
            settings = of_file(graph, task, settings, (settings.image_paths or settings.video_paths)[0], prompts)
        return [one_job(graph, task, given.called, settings, folder, output or given.output, about)], {}
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from None


def make_all(jobs: list, failures: dict, given, folder: Path | Remote) -> int:
    """Make what is not there yet, and say what came of it."""
    board = Board(len(jobs))
    if not given.ray:
        done = finished(jobs)
        if any(job.recorded("models") for job, there in zip(jobs, done) if there):
            jobs = asyncio.run(with_files_of_today(jobs, given.server))
        return finish(jobs, failures, given, folder, board, lambda todo: Pool(todo, given.server, given.wait, board))
    with connected(given.ray):
        farm = Farm(given, folder, board)
        try:
            if any(finished(jobs)):
                stopped, jobs = asyncio.run(until_signal(farm.today(jobs), board.say))
                if stopped:
                    return say_stopped(stopped)
            return finish(jobs, failures, given, folder, board, farm.take)
        finally:
            asyncio.run(farm.close())


def finished(jobs: list) -> list:
    """Whether each job is, in their order."""
    with ThreadPoolExecutor(READERS) as threads:
        return list(threads.map(Job.finished, jobs))


def finish(jobs: list, failures: dict, given, folder: Path | Remote, board: Board, engine: Callable) -> int:
    """Have an engine make the jobs that are not done, and report.

    Args:
        engine: takes them; what it returns has `run`, `made` and `failures`.
    """
    done = finished(jobs)
    todo = [job for job, there in zip(jobs, done) if not there]
    for job in [job for job, there in zip(jobs, done) if there]:
        print(f"{job.name}: done before, {job.video}")
    board.total = len(todo)
    pool = engine(todo)
    pool.failures |= failures
    stopped = asyncio.run(until_signal(pool.run(), board.say))[0] if todo else 0
    board.end()
    if len(jobs) + len(failures) > 1:
        before, total = len(jobs) - len(todo), len(jobs) + len(failures)
        print(f"{len(pool.made)} done, {before} done before, {len(pool.failures)} failed, of {total}.")
    code = report_failures(grouped(pool.failures) if given.ray else pool.failures)
    if given.ray or given.jobs:
        write_failures(folder, pool.failures, pool.tries)
    return say_stopped(stopped) if stopped else code


def say_stopped(number: int) -> int:
    """After a signal; returns the exit code."""
    print("Stopped. The same command goes on with what is missing.", file=sys.stderr)
    return 128 + number


async def until_signal(work: Coroutine, say: Callable[[str], None]) -> tuple:
    """Run until the end or a signal; returns (its number or 0, what the work returned). A second signal ends at once."""
    running, stopped = asyncio.ensure_future(work), []
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signals.append(signal.SIGHUP)

    def stop(first: int) -> None:
        stopped.append(first)
        say("Stopping; what runs is cancelled ...")
        running.cancel()
        for number in signals:
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels this function instead
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return 0, await running
    except asyncio.CancelledError:
        return (stopped[0] if stopped else signal.SIGINT), None


def report_failures(failures: dict) -> int:
    """List what failed; returns the exit code."""
    for name, reason in failures.items():
        print(f"Failed: {name}: {reason}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
