"""Floor 4: Ray Tune. The Trainable mixin, the callback, resuming and retention."""
