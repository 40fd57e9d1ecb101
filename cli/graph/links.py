"""Walking through a graph in API format: nodes by their type, and the links between them."""

import copy


class GraphError(Exception):
    """A graph that cannot be read, or has no place for a setting."""


def links(node: dict) -> dict:
    """The inputs of a node that come from another node: {input: id of that node}."""
    return {name: value[0] for name, value in node["inputs"].items() if isinstance(value, list) and len(value) == 2}


def only(graph: dict, class_type: str) -> str:
    """The id of the one node of a type."""
    found = [id for id, node in graph.items() if node["class_type"] == class_type]
    if len(found) != 1:
        raise GraphError(f"{len(found) or 'no'} nodes of type {class_type} are in the graph; exactly one can be filled in")
    return found[0]


def path_to(graph: dict, id: str, name: str, types: tuple) -> list:
    """The links from an input up to the nearest node of one of these types: [(id, input), ...], the node itself is behind the last.

    Raises:
        GraphError: there is none.
    """
    paths, seen = [[(id, name)]], set()
    while paths:
        path = paths.pop(0)
        source = links(graph[path[-1][0]]).get(path[-1][1])
        if source is None or source in seen:
            continue
        seen.add(source)
        if graph[source]["class_type"] in types:
            return path
        paths += [[*path, (source, further)] for further in links(graph[source])]
    kind = graph[id]["class_type"]
    raise GraphError(f"no {' or '.join(types)} leads to input {name} of node {id} ({kind})")


def source_of(graph: dict, link: tuple) -> str:
    """The node that a link (id, input) comes from."""
    id, name = link
    return links(graph[id])[name]


def copy_path(graph: dict, path: list) -> str:
    """Copy all nodes of a path but the first, which then takes its input from the copies; returns the copy at the far end."""
    user = path[0][0]
    for _, name in path:
        source, slot = graph[user]["inputs"][name]
        copied = new_id(graph)
        graph[copied] = copy.deepcopy(graph[source])
        graph[user]["inputs"][name] = [copied, slot]
        user = copied
    return user


def new_id(graph: dict) -> str:
    """An id that no node has."""
    return str(max((int(id) for id in graph if id.isdecimal()), default=0) + 1)


def drop(graph: dict, id: str, name: str) -> None:
    """Take away an input, and the nodes that served nothing else."""
    source = links(graph[id]).get(name)
    del graph[id]["inputs"][name]
    if source in graph and not any(source in links(node).values() for node in graph.values()):
        for further in links(graph[source]):
            drop(graph, source, further)
        del graph[source]
