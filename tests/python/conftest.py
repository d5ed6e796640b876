import pytest
from qdrant_client import QdrantClient

from server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("dvse"))
    server.start()
    yield server
    assert server.stop() == 0, server.log_text()
    assert "panicked" not in server.log_text()


@pytest.fixture
def client(server):
    """The real client, on a server without collections."""
    client = QdrantClient(url=server.url, timeout=60)
    for collection in client.get_collections().collections:
        client.delete_collection(collection.name)
    yield client
    client.close()
