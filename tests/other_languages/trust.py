"""A certificate authority of the tests', and how each language is told to trust it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc
import trustme

from tests.other_languages.programs import EXAMPLES


class Trust:
    """Keeps its files in a folder."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self._server = authority.issue_cert("localhost")
        roots, java = folder / "roots.pem", folder / "roots.p12"
        authority.cert_pem.write_to_path(roots)
        keytool = ("keytool", "-importcert", "-noprompt", "-alias", "tests", "-storepass", "changeit")
        subprocess.run((*keytool, "-file", roots, "-keystore", java), check=True, capture_output=True)
        properties = {
            "javax.net.ssl.trustStore": java,
            "javax.net.ssl.trustStorePassword": "changeit",
        }
        self.environment = {
            "SSL_CERT_FILE": str(roots),  # Go
            "NODE_EXTRA_CA_CERTS": str(roots),  # TypeScript
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots),  # Node.js, C++ and Ruby
            "LD_LIBRARY_PATH": str(EXAMPLES / "java/build"),  # Netty's TLS, for Java
            "JAVA_TOOL_OPTIONS": " ".join(f"-D{name}={value}" for name, value in properties.items()),
        }

    def server_credentials(self) -> grpc.ServerCredentials:
        """Those of a server on localhost."""
        chain = b"".join(blob.bytes() for blob in self._server.cert_chain_pems)
        return grpc.ssl_server_credentials([(self._server.private_key_pem.bytes(), chain)])
