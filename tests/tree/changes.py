"""What a comparison found, in short."""


def changes(found):
    """The kind and the path of each change."""
    return [(item.change, item.path) for item in (*found.arrays, *found.values)]
