"""What is written as a checkpoint is one that can be read again."""

import json

import pytest

from restore_worker import restore
from restore_worker.errors import RestoreError
from tests.cloud.checkpoint_writer import Graph, GraphNode, Header, writing
from tests.cloud.disks import digest

PROJECT = "0123456789abcdef0123456789abcdef"
SERVER = GraphNode("OS::Nova::Server", "server", "web-1")
IMAGE = GraphNode("OS::Glance::Image", "image", "ubuntu", {"server_id": "server"})
OTHER = GraphNode("OS::Nova::Server", "other", "web-2")


def header(graph: Graph) -> Header:
    return Header(PROJECT, "plan-id", "nightly", "provider-id", graph.roots)


def a_graph() -> Graph:
    graph = Graph()
    graph.add(SERVER, [IMAGE])
    graph.add(OTHER, [IMAGE._replace(extra_info={"server_id": "other"})])
    return graph


def test_children_come_first_and_what_is_added_again_stays():
    nodes, adjacency = json.loads(a_graph().text())
    assert nodes == {"0x0": list(IMAGE), "0x1": list(SERVER), "0x2": list(OTHER)}
    assert adjacency == [["0x1", ["0x0"]], ["0x2", ["0x0"]]]
    assert a_graph().roots == [SERVER, OTHER]


@pytest.mark.parametrize(
    ("total", "sizes"), [(0, []), (1, [1]), (300, [100, 100, 100]), (301, [100, 100, 100, 1])]
)
def test_bytes_are_cut_into_chunks_whatever_pieces_they_come_in(tmp_path, total, sizes):
    data = bytes(number % 251 for number in range(total))
    pieces = (data[start : start + 77] for start in range(0, total, 77))
    graph = Graph()
    graph.add(IMAGE)
    with writing(tmp_path, header(graph)) as checkpoint:
        stored = checkpoint.chunks("image", pieces, 100)
        image = {"disk_format": "raw", "container_format": "bare", "checksum": stored.checksum}
        checkpoint.metadata("image", {"image_metadata": image, "chunks_num": stored.chunks})
        checkpoint.finish(graph)
    folder = tmp_path / "karbor" / "checkpoints" / checkpoint.id / "resource-data" / "image"
    written = [(folder / f"data_{number}").read_bytes() for number in range(1, stored.chunks + 1)]
    assert [len(each) for each in written] == sizes
    assert b"".join(written) == data
    assert restore.plan("latest:nightly", bank=tmp_path).problems == ()


def test_a_checkpoint_whose_writing_breaks_cannot_be_restored(tmp_path):
    with pytest.raises(KeyError), writing(tmp_path, header(a_graph())) as checkpoint:
        raise KeyError
    with pytest.raises(RestoreError, match="'error'"):
        restore.plan(checkpoint.id, bank=tmp_path)


def test_a_digest_tells_bytes_and_their_places_apart_but_not_zeros_from_holes(tmp_path):
    def of(*written: tuple[int, bytes], size: int = 1_000_000) -> str:
        path = tmp_path / "disk"
        with path.open("wb") as file:
            for place, data in written:
                file.seek(place)
                file.write(data)
            file.truncate(size)
        return digest(path)

    assert of((70_000, b"a")) == of((0, bytes(80_000)), (70_000, b"a")) == of((70_000, b"a"), size=70_001)
    assert len({of(), of((70_000, b"a")), of((70_001, b"a")), of((70_000, b"b")), of((270_000, b"a"))}) == 5
