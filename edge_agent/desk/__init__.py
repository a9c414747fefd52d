"""The tools of the people at the centre: sign, send, watch."""
