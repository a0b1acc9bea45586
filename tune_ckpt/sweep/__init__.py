"""A sweep's folder or results as records: what `tune_ckpt.experiment` ranks."""
