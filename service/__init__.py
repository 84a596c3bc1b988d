"""The gRPC server: authentication, the servicers, validation, errors, health and reflection."""
