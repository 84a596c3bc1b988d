"""The command `cogreel`. Modules of this package import only click; gRPC and rich come in when a command runs."""

from cogreel.cli.root import main

__all__ = ["main"]
