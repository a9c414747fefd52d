"""MQTT, commands in, telemetry out, uploads, the local socket."""
