"""A folder as jobs, and what counts as done."""

import json

import pytest
from command_line import GIVEN

from cli.client import OutputFile
from cli.graph.filling import upload_name
from cli.graph.links import GraphError, only
from cli.graph.settings import Settings
from cli.graph.tasks import TASKS, task_graph
from cli.jobs import folder_jobs, one_job

FILE = OutputFile("9", "pusa_00001_.mp4", "video", "output")


def jobs_of(folder, out, model="wan22", task="i2v", **settings):
    graph = task_graph(TASKS[task], model, False)[1]
    return folder_jobs(graph, TASKS[task], Settings(**settings), folder, out)


def prompt_of(job):
    return job.filled.graph[only_encoder(job.filled.graph)]["inputs"]["text"]


def only_encoder(graph):
    return graph[only(graph, "PusaKSampler")]["inputs"]["positive"][0]


def test_each_picture_takes_the_prompt_beside_it(pictures, tmp_path):
    (pictures / "a.txt").write_text("  a boat\n", encoding="utf-8")
    (pictures / "b.txt").write_text("ein H\u00fcgel", encoding="utf-8")
    jobs, failures = jobs_of(pictures, tmp_path, prompt=("anything",))
    assert [(job.name, prompt_of(job)) for job in jobs] == [("a", "a boat"), ("b", "ein H\u00fcgel"), ("c", "anything")]
    assert [job.video for job in jobs] == [tmp_path / f"{name}.mp4" for name in "abc"]
    assert not failures


def test_a_missing_empty_or_unreadable_prompt_fails_that_job_alone(pictures, tmp_path):
    (pictures / "a.txt").write_text("a boat")
    (pictures / "b.txt").write_bytes(b"\xff\xfe\xff")
    jobs, failures = jobs_of(pictures, tmp_path)
    assert [job.name for job in jobs] == ["a"]
    assert "cannot be read as text in UTF-8" in failures["b"]
    assert failures["c"] == "there is no prompt c.txt beside c.png, and no --prompt for all"
    (pictures / "c.txt").write_text("\n")
    assert jobs_of(pictures, tmp_path)[1]["c"].endswith("c.txt is empty; it holds the prompt")


def test_stored_prompts_are_named_beside_the_picture(pictures, tmp_path):
    (pictures / "a.txt").write_text("mine.safetensors")
    jobs, failures = jobs_of(pictures, tmp_path, "nano")
    names = [job.filled.graph[only_encoder(job.filled.graph)]["inputs"]["prompt_name"] for job in jobs]
    assert names == ["mine.safetensors", "nano_positive.safetensors", "nano_positive.safetensors"]
    assert not failures


def test_words_alone_are_jobs_of_text_files(tmp_path):
    (tmp_path / "hill.txt").write_text("a hill")
    ((job,), failures) = jobs_of(tmp_path, tmp_path / "out", task="t2v")
    assert (job.name, prompt_of(job), failures) == ("hill", "a hill", {})


def test_two_files_of_one_name_and_an_empty_folder_are_errors(pictures, tmp_path):
    (pictures / "a.jpg").touch()
    with pytest.raises(GraphError, match=r"a\.jpg and a\.png would both be written to .*a\.mp4; rename one"):
        jobs_of(pictures, tmp_path, prompt=("x",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(GraphError, match=r"--inputs: .*empty has no \.png, \.jpg"):
        jobs_of(tmp_path / "empty", tmp_path)


def test_a_clip_is_not_replaced_by_what_is_made_from_it(tmp_path):
    (tmp_path / "ship.mp4").write_bytes((GIVEN / "nano_begins.mp4").read_bytes())
    with pytest.raises(GraphError, match=r"--output_dir: .*ship\.mp4 would replace the clip"):
        jobs_of(tmp_path, tmp_path, task="extend", prompt=("x",))


def test_other_settings_make_another_name(tmp_path):
    graph = task_graph(TASKS["i2v"], "wan21", False)[1]
    settings = [Settings(prompt=("x",), image_paths=(GIVEN / "nano_00.png",), seed=seed) for seed in (1, 2, 2)]
    one, two, again = (one_job(graph, TASKS["i2v"], "i2v", given, tmp_path) for given in settings)
    assert one.name != two.name == again.name
    assert one.name.startswith("i2v_nano_00_")


def test_a_video_named_by_the_user_is_not_replaced_either(tmp_path):
    graph = task_graph(TASKS["t2v"], "wan21", False)[1]

    def job(seed: int):
        return one_job(graph, TASKS["t2v"], "t2v", Settings(prompt=("x",), seed=seed), tmp_path, tmp_path / "mine.mp4")

    one = job(1)
    assert one.video == tmp_path / "mine.mp4"
    one.keep(b"one", "http://gpu", FILE)
    two = job(2)
    assert two.video != one.video and two.name.startswith("mine_")
    two.keep(b"two", "http://gpu", FILE)
    assert one.video.read_bytes() == b"one" and job(1) == one and job(2) == two and job(1).finished() and job(2).finished()


def test_done_is_what_was_made_from_the_same_graph_and_files(pictures, tmp_path):
    (job, _, _), _ = jobs_of(pictures, tmp_path, prompt=("x",))
    assert not job.finished()
    job.keep(b"video", "http://gpu", FILE)
    assert job.finished()
    assert json.loads(job.record.read_text())["file"]["filename"] == "pusa_00001_.mp4"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["a.json", "a.mp4"]
    (changed, _, _), _ = jobs_of(pictures, tmp_path, prompt=("y",))
    assert not changed.finished() and changed.video != job.video
    changed.keep(b"another", "http://gpu", FILE)
    assert changed.finished() and job.finished() and job.video.read_bytes() == b"video"
    (again, _, _), _ = jobs_of(pictures, tmp_path, prompt=("y",))
    assert again.video == changed.video and again.finished()
    (pictures / "a.png").write_bytes((GIVEN / "nano_32.png").read_bytes())
    upload_name.cache_clear()  # read once in a run
    (other, _, _), _ = jobs_of(pictures, tmp_path, prompt=("x",))
    assert not other.finished()
    assert job.finished()


@pytest.mark.parametrize("spoil", ["cut", "remove", "record", "nonsense"])
def test_a_spoiled_result_is_made_again(pictures, tmp_path, spoil):
    (job, _, _), _ = jobs_of(pictures, tmp_path, prompt=("x",))
    job.keep(b"video", "http://gpu", FILE)
    if spoil == "cut":
        job.video.write_bytes(b"vid")
    elif spoil == "remove":
        job.video.unlink()
    else:
        job.record.write_text("{" if spoil == "record" else "[]")
    assert not job.finished()
