"""Keys, age sealing, signed commands, policy, the journal and the door."""
