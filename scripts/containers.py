"""Build the images of `deploy/images`, list what is in them, and run them: NATS, S3, the service, the gateway and a
worker on a network, and one video, which a caller of the gateway gets too.

    python -m scripts.containers                  # what buildah and podman of this machine can do
    python -m scripts.containers --keep           # and leave the containers running

Each container runs as it does on Kubernetes: not as root, with a root file system that cannot be written, without
capabilities, with its credentials in files. The worker is built without torch and has the simulated device, so that no
GPU and no 5 GB of libraries are needed; its Containerfile is the same.

BUILD_ARGS in the environment are handed on to `buildah bud`, for machines where it needs more, such as
`--isolation=chroot --pull-never`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scripts.sbom import SbomError, write_sbom

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out"
IMAGES: Mapping[str, tuple[str, ...]] = {
    "service": (),
    "worker": ("--build-arg", "EXTRAS=simulated"),
    "client": (),
    "engines": (),
}
TAG = "trial"
NETWORK = "cogreel-trial"
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp:rw,mode=1777")
ENDPOINTS = json.dumps({"fal-ai/cogvideox-5b": "simulated"})
READY_WITHIN_S = 60.0
GATEWAY_ANSWERS = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"
FETCH_OVER_HTTP = """
import json, os, sys, urllib.request

address = f"http://gateway:8080/fal-ai/cogvideox-5b/requests/{sys.argv[1]}"
request = urllib.request.Request(address, headers={"Authorization": f"Key {os.environ['COGREEL_API_KEY']}"})
with urllib.request.urlopen(request, timeout=20) as answer:
    url = json.load(answer)["video"]["url"]
urllib.request.urlretrieve(url, "over-http.mp4")  # in the folder that holds the videos
"""
"""What a caller of the gateway does: ask for the output of a request, and fetch the video that it names."""
STARTED = time.monotonic()


class TrialError(Exception):
    """Something did not work; the message says what."""


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says.

    Raises:
        TrialError: it failed, unless that may be.
    """
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise TrialError(
            f"{shlex.join(command)} ended with status {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done


def build(image: str) -> None:
    """Build one image."""
    more = shlex.split(os.environ.get("BUILD_ARGS", ""))
    file = f"deploy/images/{image}.Containerfile"
    command = ("buildah", "bud", "--format", "docker", *more, *IMAGES[image], "--file", file)
    run(*command, "--tag", f"cogreel-{image}:{TAG}", str(ROOT))
    size = run("podman", "image", "inspect", "--format", "{{.Size}} {{.User}}", f"cogreel-{image}:{TAG}").stdout.split()
    say(f"built cogreel-{image}: {int(size[0]) / 1e6:.0f} MB, user {size[1]}")
    sbom = OUT / "sbom" / f"cogreel-{image}.cdx.json"
    try:
        found = write_sbom(f"cogreel-{image}:{TAG}", sbom)
    except SbomError as error:
        raise TrialError(str(error)) from error
    say(f"{sbom.relative_to(ROOT)}: {found['deb']} packages of Debian's, {found['pypi']} of Python's")


@contextmanager
def container(name: str, image: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """A container on the network, reached by its name, for the length of the block."""
    full = f"{NETWORK}-{name}"
    general = ("--detach", "--name", full, "--network", NETWORK, "--network-alias", name, "--no-healthcheck")
    run("podman", "rm", "--force", "--ignore", full)  # of a run that was killed
    run("podman", "run", *general, *HARDENED, *options, f"cogreel-{image}:{TAG}", *arguments)
    try:
        yield full
    except TrialError:
        logged = run("podman", "logs", "--tail", "30", full, check=False)
        print(f"--- {name}\n{logged.stdout}{logged.stderr}", file=sys.stderr)
        raise
    finally:
        began = time.monotonic()
        run("podman", "stop", "--time", "60", full, check=False)
        status = run("podman", "inspect", "--format", "{{.State.ExitCode}}", full, check=False).stdout.strip()
        say(f"stopped {name} in {time.monotonic() - began:.1f} s, exit status {status}")
        run("podman", "rm", "--force", full, check=False)


def until(what: str, name: str, *command: str) -> None:
    """Wait until a command succeeds in a container.

    Raises:
        TrialError: it does not in time.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    while (tried := run("podman", "exec", name, *command, check=False)).returncode != 0:
        if time.monotonic() > deadline:
            raise TrialError(f"{what} is not ready after {READY_WITHIN_S:g} s: {tried.stdout}{tried.stderr}")
        time.sleep(0.2)
    say(f"{what} is ready")


def write(folder: Path, files: Mapping[str, str]) -> str:
    """Put files into a folder, to be mounted read-only; returns its path."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return str(folder)


def trial(folder: Path, stack: ExitStack) -> None:
    """Run the parts and make one video. They are stopped when the stack is left.

    Raises:
        TrialError: something did not work.
    """
    password, access_key, secret_key = (secrets.token_hex(12) for _ in range(3))
    overlay = ROOT / "deploy/k8s/overlays/single-node"
    nats = write(
        folder / "nats",
        {
            "nats.conf": (overlay / "nats.conf").read_text(encoding="utf-8"),
            "authorization.conf": f'authorization {{ user: cogreel, password: "{password}" }}\n',
        },
    )
    identity = {
        "name": "cogreel",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    s3 = write(folder / "s3", {"identities.json": json.dumps({"identities": [identity]})})
    credentials = {
        "COGREEL_NATS_URL": f"nats://cogreel:{password}@nats:4222",
        "COGREEL_S3_ACCESS_KEY": access_key,
        "COGREEL_S3_SECRET_KEY": secret_key,
    }
    data = ("--tmpfs", "/data:rw,mode=1777")
    stack.enter_context(
        container(
            *("nats", "engines", "nats-server", "--config", "/etc/nats/nats.conf"),
            options=(*data, "--volume", f"{nats}:/etc/nats:ro", "--env", "POD_NAME=nats-0"),
        )
    )
    s3_server = (
        "weed",
        "-logtostderr=true",
        "mini",
        "-dir=/data",
        "-s3.config=/etc/s3/identities.json",
        "-s3.port=9000",
    )
    closed = ("-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-master.telemetry=false", "-webdav=false", "-admin.ui=false")
    stack.enter_context(
        container("s3", "engines", *s3_server, *closed, options=(*data, "--volume", f"{s3}:/etc/s3:ro"))
    )
    environment = {
        "COGREEL_SECRETS_DIR": "/etc/cogreel/secrets",
        "COGREEL_ENDPOINTS": ENDPOINTS,
        "COGREEL_S3_ENDPOINT": "s3:9000",
        "COGREEL_S3_PUBLIC_ENDPOINT": "s3:9000",
        "COGREEL_S3_PUBLIC_SECURE": "false",
        "COGREEL_LISTEN": "0.0.0.0:50051",
        "COGREEL_INSECURE": "true",
        "COGREEL_DEVICES": "simulated",
    }
    mounted = write(folder / "secrets", credentials)
    bounded = ("--memory=1g", *(part for setting in environment.items() for part in ("--env", "=".join(setting))))
    options = ("--volume", f"{mounted}:/etc/cogreel/secrets:ro", *bounded)
    service = stack.enter_context(container("service", "service", options=options))
    until("the service", service, "cogreeld", "health", "--service", "cogreel.v1.QueueService")
    worker = stack.enter_context(container("worker", "worker", options=options))
    until("the worker", worker, "cogreeld", "health", "127.0.0.1:50053", "--service", "cogreel.worker")
    # It is told what it is told on Kubernetes, but for the service's name: no credential of NATS or of the store.
    told = (ROOT / "deploy/k8s/base/gateway.env").read_text(encoding="utf-8").replace("cogreel-service:", "service:")
    own = write(folder / "gateway", {"gateway.env": told})
    sealing = write(folder / "gateway-secrets", {"COGREEL_GATEWAY_SECRET": secrets.token_hex(32)})
    gateway_options = (
        "--env-file",
        f"{own}/gateway.env",
        "--volume",
        f"{sealing}:/etc/cogreel/secrets:ro",
        "--memory=1g",
    )
    gateway = stack.enter_context(container("gateway", "service", "gateway", options=gateway_options))
    until("the gateway", gateway, "python", "-c", GATEWAY_ANSWERS)
    key = run("podman", "exec", service, "cogreeld", "keys", "create", "--tenant", "trial").stdout.split()[0]
    videos = folder / "videos"
    videos.mkdir()
    videos.chmod(0o777)
    calling = ("--env", "COGREEL_ADDRESS=service:50051", "--env", f"COGREEL_API_KEY={key}", "--network", NETWORK)
    call = ("podman", "run", "--rm", *calling, *HARDENED, "--volume", f"{videos}:/work")
    made = run(
        *(*call, f"cogreel-client:{TAG}"),
        *("generate", "A lighthouse at dusk", "--seed", "42", "--steps", "10", "--output", "lighthouse.mp4"),
    )
    print(made.stdout.strip())
    video = videos / "lighthouse.mp4"
    OUT.mkdir(exist_ok=True)
    shutil.copyfile(video, OUT / "containers.mp4")
    say(f"one video of {video.stat().st_size} bytes: out/containers.mp4")
    request_id = next(line.split()[1] for line in made.stdout.splitlines() if line.startswith("request "))
    run(*call, "--entrypoint", "python", f"cogreel-client:{TAG}", "-c", FETCH_OVER_HTTP, request_id)
    if (videos / "over-http.mp4").read_bytes() != video.read_bytes():
        raise TrialError("the gateway's video is another one")
    say("the same video by way of the gateway")
    written = run("podman", "exec", service, "touch", "/opt/cogreel/written", check=False)
    who = run("podman", "exec", service, "id", "-u").stdout.strip()
    say(f"the service runs as user {who}; writing to its root file system: {written.stderr.strip()}")


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="wait for Enter before everything is stopped")
    keep: bool = parser.parse_args().keep
    missing = [tool for tool in ("buildah", "podman") if shutil.which(tool) is None]
    if missing:
        print(f"not here: {', '.join(missing)}. Debian: apt-get install podman buildah", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the containers are stopped then too
    try:
        for image in IMAGES:
            build(image)
        # An error leaves the stack as one, so that each container tells what it has logged.
        with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
            Path(temporary).chmod(0o755)
            run("podman", "network", "rm", "--force", NETWORK, check=False)
            run("podman", "network", "create", NETWORK)
            stack.callback(run, "podman", "network", "rm", NETWORK, check=False)
            trial(Path(temporary), stack)
            if keep:
                input("Enter stops everything. ")
    except TrialError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    say("everything is stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
