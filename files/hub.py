"""Model hubs: what an id there names as a file, for those who write ids instead of URLs."""

from __future__ import annotations

import re

USUAL_FILE = "pytorch_lora_weights.safetensors"
"""What diffusers' training scripts call a LoRA's weights."""

_ID = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:/([\w./-]{1,500}\.safetensors))?", re.ASCII)


def url_on_hub(hub_url: str, hub_id: str) -> str | None:
    """The URL of `owner/name` or `owner/name/folder/file.safetensors` on a hub; None if it is neither.

    Of a repository alone it is `pytorch_lora_weights.safetensors`, on the branch main.
    """
    found = _ID.fullmatch(hub_id)
    if found is None or ".." in hub_id:
        return None
    return f"{hub_url.rstrip('/')}/{found[1]}/resolve/main/{found[2] or USUAL_FILE}"
