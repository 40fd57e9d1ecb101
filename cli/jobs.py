"""Jobs: what is to be made, what was made already, and the files of both."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .client import OutputFile
from .graph.fill import Filled, fill
from .graph.links import GraphError
from .graph.settings import Settings
from .graph.tasks import Task


@dataclass(frozen=True)
class Job:
    """A video to be made.

    Attributes:
        name: of the video, without suffix.
        filled: the graph, and the files that it takes.
        video: where it goes. A record beside it says what it was made from.
    """

    name: str
    filled: Filled
    video: Path

    @property
    def record(self) -> Path:
        """The file beside the video."""
        return self.video.with_suffix(".json")

    def finished(self) -> bool:
        """Whether the video is there, complete, and made from this graph and these files."""
        return self.recorded("graph") == fingerprint(self.filled) and self.recorded("bytes") == _size(self.video)

    def recorded(self, what: str):
        """What the record says; None where there is none or it does not."""
        try:
            return json.loads(self.record.read_text(encoding="utf-8"))[what]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, content: bytes, server: str, file: OutputFile) -> None:
        """Write the video and its record. Either is there in full or not at all, and no record is beside another video."""
        self.record.unlink(missing_ok=True)
        _replace(self.video, content)
        record = {
            "graph": fingerprint(self.filled),
            "bytes": len(content),
            "server": server,
            "file": {"filename": file.filename, "subfolder": file.subfolder, "type": file.type},
        }
        _replace(self.record, json.dumps(record, indent=2).encode())


def fingerprint(filled: Filled) -> str:
    """One text for one graph and one content of its files: their names on the server are made from their content."""
    return hashlib.sha256(json.dumps(filled.graph, sort_keys=True).encode()).hexdigest()


def _size(path: Path) -> int:
    """Bytes of a file; -1 where there is none."""
    return path.stat().st_size if path.is_file() else -1


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)


def one_job(graph: dict, task: Task, name: str, settings: Settings, folder: Path) -> Job:
    """The job of a command line without a folder. Other settings make another name, so no video is replaced."""
    filled = fill(graph, task, settings)
    files = settings.image_paths or settings.video_paths or settings.timeline
    parts = [name, *(files[0].stem for _ in files[:1]), fingerprint(filled)[:8]]
    return Job("_".join(parts), filled, folder / f"{'_'.join(parts)}.mp4")


def folder_jobs(graph: dict, task: Task, settings: Settings, inputs: Path, folder: Path, prompts: Path | None = None) -> tuple:
    """A job for each file of a folder, named as the file.

    Args:
        prompts: the folder of their prompts; None where these lie beside them.

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
        if video.resolve() == file.resolve():
            raise GraphError(f"--output_dir: {video} would replace the clip that it is made from; choose another folder")
        seen[file.stem] = file
        try:
            filled = fill(graph, task, of_file(graph, task, settings, file, prompts))
            jobs.append(beside_others(Job(file.stem, filled, video)))
        except GraphError as error:
            failures[file.stem] = str(error)
    return jobs, failures


def beside_others(job: Job) -> Job:
    """A job under a name of its own where a video that was made from something else has its name: no video is replaced."""
    if not job.video.exists() or job.recorded("graph") == fingerprint(job.filled):
        return job
    name = f"{job.name}_{fingerprint(job.filled)[:8]}"
    return Job(name, job.filled, job.video.with_name(f"{name}.mp4"))


def of_file(graph: dict, task: Task, settings: Settings, file: Path, prompts: Path | None) -> Settings:
    """Settings with a file of the folder, and its prompt."""
    text = (prompts or file.parent) / f"{file.stem}.txt"
    stored = not any(node["class_type"] == "CLIPTextEncode" for node in graph.values())
    name = "prompt_file" if stored else "prompt"
    changes = {"pictures": {"image_paths": (file,)}, "videos": {"video_paths": (file,)}}.get(task.files, {})
    try:
        prompt = text.read_text(encoding="utf-8").strip()
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
