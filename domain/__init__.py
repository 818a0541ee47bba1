"""What API and worker share: settings, tables, the job's life, events, artifacts, store and queue."""
