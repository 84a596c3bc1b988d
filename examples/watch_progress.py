"""Everything that a request tells while it is made: its place in the queue, stages, steps and log lines.

For a ready-made bar, pass `on_update=cogreel.RichProgress()` or `cogreel.TqdmProgress()` instead of `show`.
"""

from cogreel import CogReel, LogUpdate, PositionUpdate, ProgressUpdate, StateUpdate, Update


def show(update: Update) -> None:
    """Print an update in a line."""
    match update:
        case StateUpdate(state=state, status=status):
            print(f"{state}, attempt {status.attempt} of {status.max_attempts}")
        case PositionUpdate(position=position):
            print(f"  {position} ahead")
        case ProgressUpdate(stage=stage, step=step, total=total, eta_s=eta_s):
            left = "" if eta_s is None else f", {eta_s:.0f} s left"
            print(f"  {stage} {step}/{total}{left}" if total else f"  {stage}")
        case LogUpdate(level=level, message=message):
            print(f"  {level}: {message}")
        case _:  # previews, and lines that have expired
            pass


with CogReel() as client:
    video = client.subscribe(prompt="A lighthouse at dusk, waves breaking on the rocks", on_update=show)
    client.download(video, "lighthouse.mp4", overwrite=True)
    print("saved lighthouse.mp4")
