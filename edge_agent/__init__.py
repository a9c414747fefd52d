"""edge-agent: records a city's cameras, raises alarms, releases clips to their recipient only."""

__version__ = "0.1.0"
