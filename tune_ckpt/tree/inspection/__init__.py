"""What is in a tree, whether it is whole, and how two differ; no object is built."""
