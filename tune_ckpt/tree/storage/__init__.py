"""Where the bytes of a tree live: folders on disk, on any pyarrow filesystem, in a zip file."""
