"""Many prompts at once, and never more than three of them in the queue: others want their turn as well."""

import asyncio
from pathlib import Path

from cogreel import AsyncCogReel, CogReelError

PROMPTS = [f"A {animal} in a field of flowers" for animal in ("fox", "hare", "horse", "crane", "bear", "lynx")]
AT_ONCE = 3


async def make(client: AsyncCogReel, places: asyncio.Semaphore, prompt: str) -> Path | None:
    """Make one video; one that fails does not stop the others."""
    async with places:
        try:
            video = await client.subscribe(prompt=prompt, num_inference_steps=20)
            path = await client.download(video, f"{prompt.split()[1]}.mp4", overwrite=True)
        except CogReelError as error:
            print(f"failed: {prompt} ({error})")
            return None
    print(f"made {path}")
    return path


async def main() -> None:
    """Make them all."""
    places = asyncio.Semaphore(AT_ONCE)
    async with AsyncCogReel() as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(make(client, places, prompt)) for prompt in PROMPTS]
    made = [task.result() for task in tasks if task.result() is not None]
    print(f"{len(made)} of {len(PROMPTS)} videos")


asyncio.run(main())
