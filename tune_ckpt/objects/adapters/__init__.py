"""Objects that are components without being `Checkpointable`; one small module a backend."""
