"""Floor 2: component folders on any storage. Knows no user objects."""
