"""What the doctor finds on a machine: ports, cards, models, weights, devices, packages, disks; each really broken."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cogreel.cli.findings import Finding, Verdict, ok
from cogreel.v1.admin_pb2 import ModelCard

from host.devices import Gpu
from host.doctor.checks import Check, run_checks
from host.doctor.device_checks import check_devices, check_gpu
from host.doctor.machine_checks import check_data_dir, check_engines, check_environment
from host.doctor.model_checks import Model, check_model, check_rife
from host.doctor.package_checks import check_packages
from host.doctor.serving_checks import check_listening, read_cards
from host.settings import Settings
from inference.rife import fetch_rife_weights
from inference.rife.weights import WEIGHTS_FILE_NAME
from inference.small_model import SMALL_DIRECTORY
from inference.weights import model_digest
from jobs.cards import load_card
from tests.deployment import Deployment
from tests.host.diagnoses import only, told
from tests.rife_directory import RIFE_DIRECTORY
from tests.roles import Authority


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the small model, as a directory like any other, that may be broken."""
    return Path(shutil.copytree(SMALL_DIRECTORY, tmp_path / "model"))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def examined(model: str | Path, card: ModelCard, *, device: str = "cpu", deep: bool = False) -> Finding:
    settings = Settings(model=str(model), devices=device)
    return only(check_model(settings, [card], deep=deep)[1], "model")


def test_a_model_that_is_whole(model: Path) -> None:
    finding = examined(model, load_card("cogreel-small"))
    assert (finding.verdict, "complete" in finding.found) == (Verdict.OK, True)


@pytest.mark.parametrize(
    ("victim", "said"),
    [
        ("model_index.json", "model_index.json"),
        ("transformer/config.json", "transformer/config.json"),
        ("tokenizer/tokenizer.json", "no vocabulary"),
        ("vae/diffusion_pytorch_model.safetensors", "vae has no weights"),
    ],
)
def test_a_model_with_a_missing_file(model: Path, victim: str, said: str) -> None:
    (model / victim).unlink()
    finding = examined(model, load_card("cogreel-small"))
    assert (finding.verdict, said in finding.found) == (Verdict.PROBLEM, True), finding


@pytest.mark.parametrize("kept_bytes", [4, 5000])
def test_a_model_with_a_truncated_file(model: Path, kept_bytes: int) -> None:
    weights = model / "transformer/diffusion_pytorch_model.safetensors"
    os.truncate(weights, kept_bytes)
    finding = examined(model, load_card("cogreel-small"))
    assert finding.verdict is Verdict.PROBLEM
    assert "transformer/diffusion_pytorch_model.safetensors is" in finding.found


def test_a_model_with_a_missing_shard(model: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (model / "transformer/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00001-of-00002.safetensors is missing" in examined(model, load_card("cogreel-small")).found


def test_a_model_of_another_kind(model: Path) -> None:
    index = json.loads((model / "model_index.json").read_text()) | {"_class_name": "FluxPipeline"}
    (model / "model_index.json").write_text(json.dumps(index))
    assert "FluxPipeline" in examined(model, load_card("cogreel-small")).found


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert "no directory" in examined(tmp_path / "nowhere", load_card("cogreel-small")).found


def test_a_card_with_another_digest_and_with_the_right_one(model: Path) -> None:
    card = load_card("cogreel-small")
    card.digest = "0" * 64
    assert "digest" in examined(model, card).found
    assert examined(model, card).verdict is Verdict.PROBLEM
    card.digest = model_digest(model)
    assert examined(model, card).verdict is Verdict.OK


def test_a_card_for_another_model() -> None:
    finding = examined("small", load_card("cogvideox-5b"))
    assert (finding.verdict, "COGREEL_ENDPOINTS" in finding.remedy) == (Verdict.PROBLEM, True)
    assert examined("small", load_card("simulated"), device="simulated").verdict is Verdict.OK


def test_a_hub_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants  # noqa: PLC0415 - it reads the environment when it is imported

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    finding = examined("zai-org/CogVideoX-5b", load_card("cogvideox-5b"))
    assert (finding.verdict, "cannot be reached" in finding.found) == (Verdict.PROBLEM, True)
    assert "HTTPS_PROXY" in finding.remedy


def test_weights_of_rife_that_are_missing_or_damaged(tmp_path: Path) -> None:
    settings = Settings(devices="cpu", rife_directory=tmp_path)
    assert "cogreeld fetch-rife" in only(check_rife(settings, fetched_at_start=False), "rife").remedy
    assert only(check_rife(settings, fetched_at_start=True), "rife").verdict is Verdict.OK
    published = fetch_rife_weights(RIFE_DIRECTORY)
    content = bytearray(published.read_bytes())
    content[1000] ^= 1
    (tmp_path / WEIGHTS_FILE_NAME).write_bytes(content)
    damaged = only(check_rife(settings, fetched_at_start=False), "rife")
    assert (damaged.verdict, "SHA-256" in damaged.found) == (Verdict.PROBLEM, True)
    shutil.copy(published, tmp_path)
    assert only(check_rife(settings, fetched_at_start=False), "rife").verdict is Verdict.OK


async def test_a_port_that_another_program_has(taken_port: int) -> None:
    finding = only(await check_listening(Settings(listen=f"127.0.0.1:{taken_port}")), "listen")
    assert (finding.verdict, f":{taken_port}" in finding.remedy) == (Verdict.PROBLEM, True)


async def test_a_port_that_a_service_of_ours_has(deployment: Deployment) -> None:
    port = await deployment.service()
    finding = only(await check_listening(Settings(listen=f"127.0.0.1:{port}")), "listen")
    assert (finding.verdict, "CogReel service listens" in finding.found) == (Verdict.OK, True)


async def test_a_certificate_is_looked_at_before_the_service_starts_with_it(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("service")
    for private_key, verdict, said in (
        (key, Verdict.OK, "is free, to be reached by TLS"),
        (certificate, Verdict.PROBLEM, f"COGREEL_PRIVATE_KEY: {certificate} holds no private key in PEM"),
    ):
        settings = Settings(listen="0.0.0.0:0", certificate=certificate, private_key=private_key)
        finding = only(await check_listening(settings), "listen")
        assert finding.verdict is verdict
        assert said in finding.found


@pytest.mark.parametrize(
    ("listen", "insecure", "verdict", "said"),
    [
        ("0.0.0.0:0", False, Verdict.PROBLEM, "no TLS"),
        ("0.0.0.0:0", True, Verdict.WARNING, "without TLS"),
        ("127.0.0.1", False, Verdict.PROBLEM, "host:port"),
        ("192.0.2.1:50051", True, Verdict.PROBLEM, "EADDRNOTAVAIL"),
        ("[::1]:0", False, Verdict.OK, "free"),
    ],
)
async def test_addresses(listen: str, insecure: bool, verdict: Verdict, said: str) -> None:
    finding = only(await check_listening(Settings(listen=listen, insecure=insecure)), "listen")
    assert (finding.verdict, said in finding.found) == (verdict, True), finding


def test_cards_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"name": ""}')
    cards, found = read_cards({"good": "simulated", "bad": "cogvideox", "worse": str(tmp_path / "card.json")})
    assert list(cards) == ["good"]
    assert [finding.verdict for finding in map(told, found)] == [Verdict.PROBLEM, Verdict.PROBLEM, Verdict.OK]
    assert read_cards({})[1][0].verdict is Verdict.PROBLEM


async def test_a_gpu_that_is_not_there() -> None:
    finding = only(await check_devices(Settings(devices="cuda:99"), Model()), "devices")
    assert finding.verdict is Verdict.PROBLEM


async def test_devices_that_are_none() -> None:
    for devices in ("gpu", ""):
        assert "cuda:N" in only(await check_devices(Settings(devices=devices), Model()), "devices").remedy


async def test_a_model_too_large_for_this_machine() -> None:
    finding = only(await check_devices(Settings(devices="cpu"), Model(weights_bytes=10**15)), "devices")
    assert (finding.verdict, "fp32" in finding.found) == (Verdict.PROBLEM, True)


@pytest.mark.parametrize(
    ("index", "free", "verdict", "said"),
    [
        (0, 79, Verdict.OK, "80 GB"),
        (0, 10, Verdict.WARNING, "10 GB are free"),
        (1, 24, Verdict.PROBLEM, "needs about 34 GB"),
        (2, 0, Verdict.PROBLEM, "torch finds 2"),
    ],
)
def test_gpus_of_all_sizes(index: int, free: int, verdict: Verdict, said: str) -> None:
    gpus = [Gpu("large", free * 10**9, 80 * 10**9), Gpu("small", 24 * 10**9, 24 * 10**9)]
    finding = told(check_gpu(index, gpus, 34 * 10**9))
    assert (finding.verdict, said in finding.found) == (verdict, True), finding


def test_a_package_that_is_missing_and_one_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution's description first on the path stands for a package of another version."""
    assert only(check_packages(["worker"]), "packages").verdict is Verdict.OK
    old = tmp_path / "diffusers-0.30.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: diffusers\nVersion: 0.30.0\n")
    own = tmp_path / "cogreel_server-9.dist-info"
    own.mkdir()
    needs = ["diffusers>=0.42.1,<0.43", "no-such-package>=1", 'click>=8; extra == "other"']
    lines = ["Metadata-Version: 2.1", "Name: cogreel-server", "Version: 9", *(f"Requires-Dist: {n}" for n in needs)]
    (own / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = " ".join(told(finding).found for finding in check_packages(["worker"]))
    assert "diffusers is 0.30.0, wanted is <0.43,>=0.42.1" in said
    assert "not installed: no-such-package" in said
    assert "click" not in said


def test_variables_that_nothing_reads() -> None:
    found = check_environment(
        {"COGREEL_S3_ACESS_KEY": "x", "COGREEL_FAILPOINTS": "y", "COGREEL_ADDRESS": "z", "COGREEL_SECRETS_DIR": "/run"}
    )
    assert [finding.verdict for finding in map(told, found)] == [Verdict.WARNING, Verdict.PROBLEM]
    assert "COGREEL_S3_ACCESS_KEY" in found[0].remedy


def test_engines_that_are_missing_or_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(check_engines(), "engines").verdict is Verdict.OK
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = check_engines()
    assert [finding.verdict for finding in map(told, missing)] == [Verdict.PROBLEM, Verdict.PROBLEM]
    (tmp_path / "weed").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "weed").chmod(0o755)
    assert "does not run" in " ".join(finding.found for finding in check_engines())


def test_a_data_directory_that_others_can_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    found = check_data_dir(tmp_path, Settings())
    assert "chmod 700" in told(found[0]).remedy
    tmp_path.chmod(0o700)
    assert "data directory" in {finding.check for finding in check_data_dir(tmp_path / "later", Settings())}


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert only(check_data_dir(tmp_path / "file", Settings()), "data directory").verdict is Verdict.PROBLEM
    assert stat.S_ISREG((tmp_path / "file").stat().st_mode)


def test_a_disk_too_small_for_the_queue(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    finding = only(check_data_dir(tmp_path, Settings(queue_max_bytes=10**18)), "data directory")
    assert finding.verdict is Verdict.WARNING


async def test_a_check_that_hangs_or_breaks_does_not_keep_the_others_from_telling() -> None:
    async def hang() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def fail() -> list[Finding]:
        raise KeyError("surprise")

    async def pass_() -> list[Finding]:
        return [ok("third", "well")]

    found = await run_checks([Check("first", hang, 0.05), Check("second", fail), Check("third", pass_)])
    assert [finding.check for finding in map(told, found)] == ["first", "second", "third"]
    assert "0.05 s" in found[0].found
    assert "surprise" in found[1].found
