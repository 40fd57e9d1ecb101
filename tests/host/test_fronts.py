"""What the HTTP fronts of deploy/README.md do to a ready graph, done to one here: the graph runs, and its video is where they look.

The fronts are not run. What is posted and read is what their sources post and read: comfyui-api (4dfc930,
src/comfy-node-preprocessors.ts and src/comfy.ts) and RunPod's worker-comfyui (d2a5572, handler.py).
"""

import shutil

import pytest

from cli.demo.tasks import demo_graph

ID = "9f3c"


def titled(graph, title):
    return next(node["inputs"] for node in graph.values() if node["_meta"]["title"] == title)


@pytest.mark.parametrize(
    ("prefix", "sent", "folder"),
    [
        ("", ID, ""),  # PREPEND_FILENAMES=false: the id takes the prefix's place
        ("clip", f"{ID}_clip", ""),
        (None, f"{ID}_video/pusa_demo_i2v", f"{ID}_video"),  # the graph's own has a folder, where this front does not look
    ],
)
def test_comfyui_api_names_a_picture_by_its_path_and_puts_its_id_before_the_prefix(base, ask, prefix, sent, folder):
    """It reads the video from the output folder by its name alone."""
    picture = base / "input" / f"{ID}.png"
    shutil.copy(base / "input" / "start.png", picture)
    graph = demo_graph("i2v", steps=1)
    titled(graph, "Picture")["image"] = str(picture)
    save = titled(graph, "Save Video")
    save["filename_prefix"] = f"{ID}_{save['filename_prefix']}" if prefix is None else f"{ID}_{prefix}".rstrip("_")
    assert save["filename_prefix"] == sent
    videos = [file for file in ask(lambda client: client.run(graph)) if file.filename.endswith(".mp4")]
    assert len(videos) == 1 and videos[0].subfolder == folder
    assert (base / "output" / videos[0].filename).is_file() == (folder == "")


def test_runpod_uploads_a_picture_by_name_and_reads_what_is_under_images(base, ask):
    """Files of type `temp` (the plot) are passed over; the video stands under `images` too, in its folder."""
    name = f"{ID}_runpod.png"
    graph = demo_graph("i2v", steps=1)
    titled(graph, "Picture")["image"] = name

    async def served(client):
        assert await client.upload_image(base / "input" / "start.png", name=name) == name
        prompt_id = await client.queue(graph)
        await client.follow(prompt_id)
        return (await client.get(f"/history/{prompt_id}"))[prompt_id]["outputs"]

    outputs = ask(served)
    images = [file for node in outputs.values() for file in node["images"] if file["type"] != "temp"]
    assert [file["filename"].endswith(".mp4") and file["subfolder"] == "video" for file in images] == [True]
    plots = [file for node in outputs.values() for file in node["images"] if file["type"] == "temp"]
    assert plots
