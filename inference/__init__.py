"""Workers: one supervisor, one process per device, the models and everything between a request and its MP4."""
