"""Whether a graph looks tidy, from the boxes [x, y, width, height] that the page computes."""

import re

SLACK = 1.5  # for rounded lengths


def apart(one, other) -> bool:
    """Whether two boxes share no area."""
    return (
        one[0] + one[2] <= other[0] + SLACK
        or other[0] + other[2] <= one[0] + SLACK
        or one[1] + one[3] <= other[1] + SLACK
        or other[1] + other[3] <= one[1] + SLACK
    )


def within(box, frame) -> bool:
    """Whether a box lies inside another."""
    return all(
        frame[axis] <= box[axis] + SLACK and box[axis] + box[axis + 2] <= frame[axis] + frame[axis + 2] + SLACK for axis in (0, 1)
    )


def unordered(workflow: dict) -> list:
    """Nodes whose numbered sockets do not stand together in the order of their numbers, with the names of all."""
    found = []
    for node in workflow["nodes"]:
        names = [slot["name"] for slot in node.get("inputs", [])]
        numbered = [name for name in names if re.fullmatch(r"\w+\.\D+\d+", name)]
        first = names.index(numbered[0]) if numbered else 0
        wanted = sorted(numbered, key=lambda name: (name.split(".")[0], int(re.search(r"\d+$", name)[0])))
        if names[first : first + len(numbered)] != wanted:
            found.append((node["type"], names))
    return found


def faults(workflow: dict, boxes: dict, groups: dict) -> list:
    """What is not tidy about a graph, in words."""
    names = {node["id"]: f"{node['type']} {node['id']}" for node in workflow["nodes"]}
    notes = {node["id"] for node in workflow["nodes"] if node["type"] == "MarkdownNote"}
    found = [f"{names[a]} lies on {names[b]}" for a in boxes for b in boxes if a < b and not apart(boxes[a], boxes[b])]
    titles = list(groups)
    found += [
        f"the groups {a} and {b} overlap" for i, a in enumerate(titles) for b in titles[i + 1 :] if not apart(groups[a], groups[b])
    ]
    for id, box in boxes.items():
        homes = sum(within(box, group) for group in groups.values())
        if homes != (id not in notes):
            found.append(f"{names[id]} lies in {homes} groups")
    found += [
        f"a link goes back from {names[link[1]]} to {names[link[3]]}"
        for link in workflow["links"]
        if boxes[link[1]][0] > boxes[link[3]][0] + SLACK
    ]
    return found + [f"the group {title!r} has no name" for title in titles if title in ("", "Group")]
