"""User objects to component trees and back: what `tune_ckpt.checkpointable` stands on."""
