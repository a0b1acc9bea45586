"""Floor 4: Ray Train V2. What its workers save together, and the controller's callback."""
