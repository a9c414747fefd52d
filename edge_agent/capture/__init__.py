"""Cameras to packets to the recorder; sub-streams to the watcher and its alarms."""
