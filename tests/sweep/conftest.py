"""The S3 server of the tests of trees."""

from tests.tree.conftest import bucket, s3, s3_server

__all__ = ["bucket", "s3", "s3_server"]
