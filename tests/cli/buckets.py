"""A store of objects in this process, spoken to as S3 over loopback."""

import uuid


class Store:
    """The store for the time of a ``with`` block.

    Attributes:
        port, url: where it listens.
    """

    def __enter__(self):
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        _, self.port = self.server.get_host_and_port()
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *exception):
        self.server.stop()

    def environ(self) -> dict:
        """What a client needs to know."""
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
        return keys | {"AWS_ENDPOINT_URL": self.url}

    def bucket(self, monkeypatch) -> str:
        """A new bucket, which this process finds under s3://."""
        import s3fs

        for name, value in self.environ().items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        name = f"b{uuid.uuid4().hex}"
        s3fs.S3FileSystem().mkdir(name)
        return name

    def keys(self, bucket: str, folder: str) -> list:
        """What lies in a folder of a bucket, asked for directly."""
        import s3fs

        there = s3fs.S3FileSystem(endpoint_url=self.url, skip_instance_cache=True)
        return sorted(key.rpartition("/")[2] for key in there.find(f"{bucket}/{folder}"))
