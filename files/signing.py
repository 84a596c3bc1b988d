"""Presigned PUTs whose size, type and other headers are part of the signature (AWS Signature Version 4).

The SDK signs the host alone; what is not signed, the store does not check. The content itself stays unsigned, as it is
not known here.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from files.bucket import Bucket

_UNRESERVED = "-_.~"
_SHORTEST = timedelta(seconds=1)
_LONGEST = timedelta(days=7)


def presign_put(
    bucket: Bucket,
    key: str,
    expires: timedelta,
    *,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
) -> str:
    """A URL on the public endpoint that takes one PUT with exactly these headers, and no other. No I/O.

    Args:
        bucket: the bucket and its credentials.
        key: where the object goes.
        expires: from now, 1 s to 7 days.
        headers: what the PUT must carry, such as Content-Length; Host is added.
        query: what S3 is told by the URL, such as partNumber.

    Raises:
        ValueError: `expires` is out of range.
    """
    if not _SHORTEST <= expires <= _LONGEST:
        raise ValueError(f"presigned URLs work from 1 s to 7 days, not {expires}")
    settings = bucket.settings
    # The SDK knows how each kind of store writes its addresses.
    address = urlsplit(bucket.public_client.get_presigned_url("PUT", bucket.name, key))
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{settings.region}/s3/aws4_request"
    signed = {"host": address.netloc} | {name.lower(): value.strip() for name, value in headers.items()}
    names = ";".join(sorted(signed))
    parameters = {
        **(query or {}),
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{settings.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(int(expires.total_seconds())),
        "X-Amz-SignedHeaders": names,
    }
    encoded = "&".join(
        f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
        for name, value in sorted(parameters.items())
    )
    lines = ["PUT", address.path, encoded, *(f"{name}:{signed[name]}" for name in sorted(signed))]
    canonical = "\n".join([*lines, "", names, "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing_key = f"AWS4{settings.secret_key}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
    return f"{address.scheme}://{address.netloc}{address.path}?{encoded}&X-Amz-Signature={signature}"
