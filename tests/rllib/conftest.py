"""The S3 server, for the tests of RLlib's checkpoints as well."""

from tests.tree.conftest import bucket, s3, s3_server

__all__ = ["bucket", "s3", "s3_server"]
