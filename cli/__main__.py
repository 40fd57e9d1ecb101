"""Videos from a command line, made by a ComfyUI server. Started by `python -m cli`."""

import asyncio
import contextlib
import json
import signal
import sys

from .flags import parse
from .graph.geometry import check_lengths
from .graph.links import GraphError
from .graph.settings import Settings
from .graph.tasks import TASKS, read_graph, task_graph
from .jobs import folder_jobs, one_job
from .pool import Pool
from .progress import Board


def main(arguments: list) -> int:
    """Run one command line; returns the exit code."""
    given = parse(arguments)
    try:
        jobs, failures = planned(given)
        if given.dry_run:
            graphs = {job.name: job.filled.graph for job in jobs}
            if graphs:
                print(json.dumps(graphs if given_folder(given) else next(iter(graphs.values())), indent=2))
            return report_failures(failures)
        given.output_dir.mkdir(parents=True, exist_ok=True)
    except GraphError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Error: --output_dir: {given.output_dir} cannot be made: {error.strerror}", file=sys.stderr)
        return 2
    return make_all(jobs, failures, given)


def given_folder(given):
    """The folder of inputs, if there is one."""
    return getattr(given, "inputs", None)


def planned(given) -> tuple:
    """The jobs of a command line, and {name: why not} of those that cannot be."""
    task = TASKS[given.task]
    if given.graph:
        name, graph = given.graph.name, read_graph(given.graph)
    else:
        name, graph = task_graph(task, given.model, given.lightx2v)
    settings = Settings.from_flags(vars(given))
    try:
        check_lengths(graph, task, settings)
        if folder := given_folder(given):
            return folder_jobs(graph, task, settings, folder, given.output_dir, getattr(given, "prompt_dir", None))
        return [one_job(graph, task, given.task, settings, given.output_dir)], {}
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from None


def make_all(jobs: list, failures: dict, given) -> int:
    """Make what is not there yet, and say what came of it."""
    todo = [job for job in jobs if not job.finished()]
    for job in jobs:
        if job not in todo:
            print(f"{job.name}: done before, {job.video}")
    pool = Pool(todo, given.server, given.wait, Board(len(todo)))
    pool.failures |= failures
    stopped = asyncio.run(until_signal(pool)) if todo else 0
    pool.board.end()
    if len(jobs) + len(failures) > 1:
        before, total = len(jobs) - len(todo), len(jobs) + len(failures)
        print(f"{len(pool.made)} done, {before} done before, {len(pool.failures)} failed, of {total}.")
    code = report_failures(pool.failures)
    if stopped:
        print("Stopped. The same command goes on with what is missing.", file=sys.stderr)
        return 128 + stopped
    return code


async def until_signal(pool: Pool) -> int:
    """Run a pool; returns the number of the signal that stopped it, or 0. A second signal ends at once."""
    running, stopped = asyncio.ensure_future(pool.run()), []
    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signals.append(signal.SIGHUP)

    def stop(first: int) -> None:
        stopped.append(first)
        pool.board.say("Stopping; what runs on the servers is cancelled ...")
        running.cancel()
        for number in signals:
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels this function instead
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        await running
    except asyncio.CancelledError:
        return stopped[0] if stopped else signal.SIGINT
    return 0


def report_failures(failures: dict) -> int:
    """List what failed; returns the exit code."""
    for name, reason in failures.items():
        print(f"Failed: {name}: {reason}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
