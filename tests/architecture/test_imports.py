"""Which room may import which, and what must start without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CONTRACT = "cogreel.v1"

MAY_IMPORT: dict[str, set[str]] = {
    "cogreel": set(),
    "files": set(),
    "hosted": set(),
    "jobs": set(),
    "service": {"jobs", "files", "hosted"},
    "inference": {"jobs", "files"},
    "training": {"inference"},
    "gateway": {"cogreel", "hosted"},
    "host": {"jobs", "files", "service", "inference", "gateway", "cogreel"},
}
"""Each room with the rooms that it may import; every room may import the messages of `cogreel.v1`."""


def folder_of(room: str) -> Path:
    return ROOT / "client" / room if room == "cogreel" else ROOT / room


ROOMS = [room for room in MAY_IMPORT if folder_of(room).is_dir()]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOMS, cache_dir=None)


def room_of(module: str) -> str:
    return module.partition(".")[0]


def is_contract(module: str) -> bool:
    return module == CONTRACT or module.startswith(f"{CONTRACT}.")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_that_it_may(imports: grimp.ImportGraph, room: str) -> None:
    forbidden = [
        f"{importer} imports {imported}"
        for importer in imports.find_descendants(room) | {room}
        for imported in imports.find_modules_directly_imported_by(importer)
        if room_of(imported) not in MAY_IMPORT[room] | {room} and not is_contract(imported)
    ]
    assert not forbidden


def test_the_contract_needs_nothing_of_the_client_that_it_comes_with(imports: grimp.ImportGraph) -> None:
    needed = {
        imported
        for module in imports.find_descendants(CONTRACT)
        for imported in imports.find_modules_directly_imported_by(module)
    }
    assert needed
    assert all(is_contract(module) for module in needed)


def test_service_and_inference_do_not_meet_but_in_their_engines(imports: grimp.ImportGraph) -> None:
    for importer, imported in (("service", "inference"), ("inference", "service")):
        assert not imports.find_shortest_chains(importer, imported, as_packages=True)


@pytest.mark.parametrize("room", ROOMS)
def test_the_graph_holds_every_module_of_a_room(imports: grimp.ImportGraph, room: str) -> None:
    """A module in a folder without `__init__.py` would escape the other tests."""
    files = {path for path in folder_of(room).rglob("*.py") if path.name != "__init__.py"}
    modules = {".".join(path.relative_to(folder_of(room).parent).with_suffix("").parts) for path in files}
    assert modules <= imports.modules


@pytest.mark.parametrize(
    "module",
    [
        "cogreel.v1.queue_pb2_grpc",
        "files",
        "gateway.server",
        "host.cli",
        "host.device_process",
        "host.doctor.command",
        "host.gateway",
        "host.serve",
        "inference.loading",
        "inference.render",
        "inference.simulated",
        "inference.worker",
        "jobs.queue",
        "service.server",
    ],
)
def test_what_needs_no_model_of_torch_starts_without_torch(module: str) -> None:
    assert_starts_without(module, "torch", "diffusers", "transformers")


@pytest.mark.parametrize("module", ["host.cli", "host.doctor.command", "host.keys", "host.queues", "host.serve"])
def test_what_operators_run_beside_a_service_starts_without_anything_that_workers_need(module: str) -> None:
    assert_starts_without(module, "av", "huggingface_hub", "numpy", "PIL", "safetensors", "torch")


def assert_starts_without(module: str, *heavy: str) -> None:
    program = (
        f"import sys, {module}\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")])}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
