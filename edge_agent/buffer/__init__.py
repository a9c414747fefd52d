"""Every durable byte: segments, index, retention, outbox, documents, exported clips."""
