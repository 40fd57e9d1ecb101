"""Jobs: what is to be made, what was made already, and the files of both."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from .client import OutputFile
from .graph.fill import Filled, fill
from .graph.links import GraphError
from .graph.settings import Settings
from .graph.tasks import Task
from .storage import Remote, put, size

WRITES = 3  # of a video that another command replaces before its record is there


@dataclass(frozen=True)
class Job:
    """A video to be made.

    Attributes:
        name: of the video, without suffix.
        filled: the graph, and the files that it takes.
        video: where it goes. A record beside it says what it was made from.
        about: what of the command line goes into the record: task, model and flags.
        part: suffix of a file on this machine that is being written. Commands with other suffixes may write the same video.
    """

    name: str
    filled: Filled
    video: Path | Remote
    about: dict = dataclasses.field(default_factory=dict)
    part: str = ".part"

    @property
    def record(self) -> Path | Remote:
        """The file beside the video."""
        return self.video.with_suffix(".json")

    def finished(self) -> bool:
        """Whether the video is there, complete, and made from this graph and these files."""
        said = self._said()
        return said.get("graph") == fingerprint(self.filled) and said.get("bytes") == size(self.video)

    def recorded(self, what: str):
        """What the record says; None where there is none or it does not."""
        return self._said().get(what)

    def _said(self) -> dict:
        try:
            said = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = None
        return said if isinstance(said, dict) else {}

    def keep(self, content: bytes, server: str, file: OutputFile, made: dict | None = None) -> None:
        """Write the video and its record. Either is there in full or not at all, and no record is beside another video.

        Args:
            made: what is known of how it was made: model files, versions, device, seconds of a step, the graph as it was posted.
        """
        record = {
            **self.about,
            **self.filled.said,
            **(made or {}),
            "graph": fingerprint(self.filled),
            "bytes": len(content),
            "server": server,
            "file": {"filename": file.filename, "subfolder": file.subfolder, "type": file.type},
        }
        for _ in range(WRITES):
            self.record.unlink(missing_ok=True)
            put(self.video, content, self.part)
            put(self.record, json.dumps(record, indent=2).encode(), self.part)
            if size(self.video) == len(content):  # else another command has put its own video under this record
                break

    def under(self, digest: str) -> "Job":
        """The same job beside a video that was made from something else."""
        name = f"{self.name}_{digest}"
        return dataclasses.replace(self, name=name, video=self.video.with_name(f"{name}.mp4"))


def fingerprint(filled: Filled) -> str:
    """One text for one graph and one content of its files: their names on the server are made from their content."""
    return digest_of(filled.graph)


def digest_of(value) -> str:
    """SHA-256 of what is written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def one_job(
    graph: dict,
    task: Task,
    name: str,
    settings: Settings,
    folder: Path | Remote,
    output: Path | Remote | None = None,
    about: dict | None = None,
) -> Job:
    """The job of a command line without a folder. Other settings make another name, so no video is replaced.

    Args:
        output: where the video goes; None names it in the folder.
        about: task and model, for the record.
    """
    filled, about = fill(graph, task, settings), (about or {}) | {"flags": settings.flags()}
    if output:
        return beside_others(Job(output.stem, filled, output, about))
    files = settings.image_paths or settings.video_paths or settings.timeline
    parts = [name, *(files[0].stem for _ in files[:1]), fingerprint(filled)[:8]]
    return Job("_".join(parts), filled, folder / f"{'_'.join(parts)}.mp4", about)


def folder_jobs(
    graph: dict,
    task: Task,
    settings: Settings,
    inputs: Path,
    folder: Path | Remote,
    prompts: Path | None = None,
    about: dict | None = None,
) -> tuple:
    """A job for each file of a folder, named as the file.

    Args:
        prompts: the folder of their prompts; None where these lie beside them.
        about: task and model, for the records.

    Returns:
        (jobs, {name: why it cannot be one}).

    Raises:
        GraphError: there is nothing in the folder, or two jobs would write one file.
    """
    files = sorted(path for path in inputs.iterdir() if path.suffix.lower() in task.suffixes and path.is_file())
    if not files:
        raise GraphError(f"--inputs: {inputs} has no {', '.join(task.suffixes)}")
    jobs, failures, seen = [], {}, {}
    for file in files:
        video = folder / f"{file.stem}.mp4"
        if file.stem in seen:
            raise GraphError(f"--inputs: {seen[file.stem].name} and {file.name} would both be written to {video}; rename one")
        if isinstance(video, Path) and video.resolve() == file.resolve():
            raise GraphError(f"--output_dir: {video} would replace the clip that it is made from; choose another folder")
        seen[file.stem] = file
        try:
            own = of_file(graph, task, settings, file, prompts)
            said = (about or {}) | {"flags": own.flags()}
            jobs.append(beside_others(Job(file.stem, fill(graph, task, own), video, said)))
        except GraphError as error:
            failures[file.stem] = str(error)
    return jobs, failures


def beside_others(job: Job) -> Job:
    """A job under a name of its own where a video that was made from something else has its name: no video is replaced."""
    if not job.video.exists() or job.recorded("graph") == fingerprint(job.filled):
        return job
    return job.under(fingerprint(job.filled)[:8])


def of_file(graph: dict, task: Task, settings: Settings, file: Path, prompts: Path | None) -> Settings:
    """Settings with a file of the folder, and its prompt."""
    text = (prompts or file.parent) / f"{file.stem}.txt"
    stored = not any(node["class_type"] == "CLIPTextEncode" for node in graph.values())
    name = "prompt_file" if stored else "prompt"
    changes = {"pictures": {"image_paths": (file,)}, "videos": {"video_paths": (file,)}}.get(task.files, {})
    try:
        prompt = text.read_text(encoding="utf-8-sig").strip()
        if not prompt:
            raise GraphError(f"{text} is empty; it holds the prompt")
        if stored and not prompt.endswith(".safetensors"):
            raise GraphError(
                f"{text.name} holds a prompt, and the graph takes the names of stored ones (PusaLoadPrompt), such as "
                "nano_positive.safetensors"
            )
        changes[name] = (prompt,)
    except FileNotFoundError:
        if not stored and not settings.prompt:
            where = f"in {prompts}" if prompts else f"beside {file.name}"
            raise GraphError(f"there is no prompt {text.name} {where}, and no --prompt for all") from None
    except (OSError, UnicodeError) as error:
        raise GraphError(f"{text} cannot be read as text in UTF-8: {error}") from None
    return dataclasses.replace(settings, **changes)
